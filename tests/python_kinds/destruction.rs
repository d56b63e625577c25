//! In which order values die, and how deep they may be nested.

use crate::cpython::compare;
use pymalloc::gc;
use pymalloc::object::Gc;
use pymalloc::python::{Class, Dict, Instance, List, Python, Value};
use std::cell::RefCell;
use std::rc::Rc;

/// Instances that note their number when they die.
struct Noisy {
    python: Python,
    class: Gc<Class>,
    log: Rc<RefCell<Vec<String>>>,
}

impl Noisy {
    fn new() -> Self {
        let log = Rc::new(RefCell::new(Vec::new()));
        let (python, noted) = (Python::new(), log.clone());
        let name = python.intern("n");
        let class = Class::with_finalizer("D", move |instance| {
            let number = instance.get(&name).expect("each has a number");
            noted.borrow_mut().push(number.to_string());
        });
        Self { python, class, log }
    }

    fn make(&self, n: i64) -> Value {
        let instance = Instance::new(&self.class);
        instance.set(&self.python.intern("n"), self.python.int(n));
        Value::Instance(instance)
    }

    fn some(&self, n: i64) -> Vec<Value> {
        (0..n).map(|n| self.make(n)).collect()
    }
}

/// The same in Python.
const CLASS: &str = "class D:\n def __init__(self, n): self.n = n\n def __del__(self): print(self.n)\n\
def some(n): return [D(i) for i in range(n)]\n";

#[test]
fn values_die_in_the_order_of_cpython() {
    let noisy = Noisy::new();
    let python = &noisy.python;
    drop(python.list(noisy.some(4)));
    drop(python.tuple(noisy.some(4)));
    let list = List::display(noisy.some(9));
    list.delete(2, 6);
    list.clear();
    let dict = Dict::new();
    for n in 0..4 {
        let key = noisy.make(10 * n);
        Dict::insert(&dict, key, noisy.make(10 * n + 1)).unwrap();
    }
    drop(dict);
    let holder = Instance::new(&noisy.class);
    holder.set(&python.intern("n"), python.int(100));
    for n in 0..4 {
        holder.set(&python.intern(&format!("a{n}")), noisy.make(n));
    }
    drop(holder);
    let replaced = List::display(vec![noisy.make(1)]);
    drop(replaced.set(0, noisy.make(2)));
    drop(replaced);
    let program = "a = some(4)\ndel a\na = tuple(D(i) for i in range(4))\ndel a\na = some(9)\ndel a[2:6]\na.clear()\n\
        d = {}\nfor n in range(4): d[D(10 * n)] = D(10 * n + 1)\ndel d\n\
        h = D(100)\nfor n in range(4): setattr(h, f'a{n}', D(n))\ndel h\na = [D(1)]\na[0] = D(2)\ndel a\n";
    compare(&format!("{CLASS}{program}"), &noisy.log.borrow());
}

#[test]
fn a_finalizer_may_look_at_the_container_it_is_dropped_from() {
    let (python, list) = (Python::new(), List::display(vec![]));
    let (weak, seen) = (Gc::clone(&list), Rc::new(RefCell::new(Vec::new())));
    let noted = seen.clone();
    let class = Class::with_finalizer("Looks", move |_| {
        noted.borrow_mut().push(weak.len());
        weak.append(Value::List(List::display(vec![])));
    });
    list.append(python.instance(&class));
    list.append(python.int(1));
    drop(list.set(0, python.none()));
    list.append(python.instance(&class));
    drop(list.pop());
    list.append(python.instance(&class));
    list.delete(0, 99);
    assert_eq!(*seen.borrow(), [2, 3, 0]);
    assert_eq!(list.len(), 1);
    list.clear();
}

#[test]
fn a_resurrected_instance_is_finalized_once() {
    let saved = Rc::new(RefCell::new(Vec::new()));
    let keep = saved.clone();
    let class = Class::with_finalizer("Phoenix", move |this| keep.borrow_mut().push(this.clone()));
    drop(Instance::new(&class));
    assert_eq!(saved.borrow().len(), 1);
    saved.take();
    assert_eq!(saved.borrow().len(), 0);
    let cycle = Instance::new(&class);
    let python = Python::new();
    cycle.set(&python.intern("me"), Value::Instance(cycle.clone()));
    drop(cycle);
    assert_eq!(gc::collect(), 0); // found, and saved
    assert_eq!(saved.borrow().len(), 1);
    saved.take();
    assert_eq!(gc::collect(), 1);
}

#[test]
fn deep_nests_die_on_a_small_stack() {
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    let deep = || {
        let python = Python::new();
        let class = Class::new("A");
        let name = python.intern("next");
        let mut nest = python.list(vec![]);
        for n in 0..1_000_000 {
            nest = match n % 5 {
                0 => python.list(vec![nest]),
                1 => python.tuple(vec![nest]),
                2 => {
                    let dict = Dict::new();
                    Dict::insert(&dict, python.int(n), nest).unwrap();
                    Value::Dict(dict)
                }
                3 => {
                    let instance = Instance::new(&class);
                    instance.set(&name, nest);
                    Value::Instance(instance)
                }
                _ => python.list(vec![python.int(n), nest]),
            };
        }
        drop(nest);
        assert_eq!(gc::collect(), 0);
    };
    thread.spawn(deep).unwrap().join().unwrap();
}
