//! Which values are one object, how many references there are, and which a collection looks at.

use crate::cpython::compare;
use pymalloc::gc;
use pymalloc::object::Gc;
use pymalloc::python::{Class, Dict, Instance, Integer, List, Python, Value};

#[test]
fn ints_are_shared_where_cpython_shares_them() {
    let python = Python::new();
    let shared = |n: i64| {
        // Results of arithmetic are the shared objects, too.
        let sum = &Integer::from(n + 1000) - &Integer::from(1000);
        let same = python.int(n).is(&python.int(sum));
        format!("{n} {}", python.bool(same))
    };
    let ours: Vec<_> = (-300..600).map(shared).collect();
    compare(
        "for n in range(-300, 600): print(n, int(str(n)) is n + 1000 - 1000)\n",
        &ours,
    );
}

#[test]
fn characters_are_shared_to_u_00ff() {
    let python = Python::new();
    let same = |c: u32| {
        let text = char::from_u32(c).unwrap().to_string();
        python
            .bool(python.str(&text).is(&python.str(&text)))
            .to_string()
    };
    let ours: Vec<_> = (0..600).map(same).collect();
    // Two texts at once: a dead one's place would be used again.
    compare(
        "for n in range(600):\n a, b = chr(n), chr(n)\n print(a is b)\n",
        &ours,
    );
}

#[test]
fn empty_and_one_byte_objects_are_shared_and_floats_and_lists_are_not() {
    let python = Python::new();
    let makers: [(&str, &dyn Fn() -> Value); 12] = [
        ("tuple([])", &|| python.tuple(vec![])),
        ("tuple([1])", &|| python.tuple(vec![python.int(1)])),
        ("bytes(0)", &|| python.bytes(b"")),
        ("bytes([200])", &|| python.bytes(&[200])),
        ("bytes([1, 2])", &|| python.bytes(&[1, 2])),
        ("str()", &|| python.str("")),
        ("float('1')", &|| python.float(1.0)),
        ("list()", &|| python.list(vec![])),
        ("dict()", &|| python.dict()),
        ("set()", &|| python.set()),
        ("bool(0)", &|| python.bool(false)),
        ("None", &|| python.none()),
    ];
    let (mut program, mut ours) = (String::new(), Vec::new());
    for (text, make) in makers {
        program.push_str(&format!("a, b = {text}, {text}\nprint(a is b)\n"));
        let (a, b) = (make(), make());
        ours.push(python.bool(a.is(&b)).to_string());
    }
    compare(&program, &ours);
}

#[test]
fn interned_texts_are_one_object_as_long_as_they_are_used() {
    let python = Python::new();
    let a = python.intern("a name");
    assert!(Gc::is(&a, &python.intern("a name")));
    assert_eq!(Gc::strong_count(&a), 1); // being interned keeps nothing alive
    let others: Vec<_> = (0..1000)
        .map(|n| python.intern(&format!("name {n}")))
        .collect();
    assert!(others.iter().enumerate().all(|(n, other)| {
        Gc::is(other, &python.intern(&format!("name {n}"))) && Gc::strong_count(other) == 1
    }));
    drop(others);
    let again = python.intern("name 1");
    assert_eq!(Gc::strong_count(&again), 1);
    assert!(Gc::is(&a, &python.intern("a name")));
    assert_eq!(
        Gc::getrefcount(&python.intern("x")),
        Gc::getrefcount(&python.intern("x"))
    );
    assert!(Gc::is_immortal(&python.intern("x"))); // a shared character
}

#[test]
fn references_are_counted_as_in_cpython() {
    let python = Python::new();
    let mut ours = Vec::new();
    let a = python.list(vec![python.int(1), python.int(2)]);
    let mut say = |value: &Value| ours.push(value.getrefcount().to_string());
    say(&a);
    let b = a.clone();
    say(&a);
    let holder = python.list(vec![a.clone(), a.clone()]);
    say(&a);
    let dict = Dict::new();
    Dict::insert(&dict, python.str("key"), a.clone()).unwrap();
    say(&a);
    let tuple = python.tuple(vec![a.clone()]);
    say(&a);
    Dict::insert(&dict, python.str("key"), python.none()).unwrap();
    drop((b, tuple));
    say(&a);
    drop(holder);
    say(&a);
    compare(
        "def say(): print(getrefcount(a))\na = [1, 2]\nsay()\nb = a\nsay()\nholder = [a, a]\nsay()\nd = {'key': a}\n\
         say()\nt = (a,)\nsay()\nd['key'] = None\ndel b, t\nsay()\ndel holder\nsay()\n",
        &ours,
    );
}

#[test]
fn a_freed_place_is_used_again() {
    let python = Python::new();
    let class = Class::new("A");
    let (mut a, mut same) = (python.instance(&class), 0);
    for _ in 0..100 {
        let id = a.id();
        drop(a);
        a = python.instance(&class);
        same += i32::from(a.id() == id);
    }
    compare(
        "class A: pass\nn = 0\na = A()\nfor _ in range(100):\n i = id(a)\n del a\n a = A()\n n += id(a) == i\nprint(n)\n",
        &[same.to_string()],
    );
}

#[test]
fn collections_look_at_what_cpython_tracks() {
    let python = Python::new();
    let int = || python.int(1);
    let list = || python.list(vec![]);
    let dict = |value: Value| {
        let dict = Dict::new();
        Dict::insert(&dict, int(), value).unwrap();
        Value::Dict(dict)
    };
    let values = [
        ("1", int()),
        ("1.5", python.float(1.5)),
        ("str(12)", python.str("12")),
        ("()", python.tuple(vec![])),
        (
            "tuple([1, 's'])",
            python.tuple(vec![int(), python.str("s")]),
        ),
        ("tuple([1, []])", python.tuple(vec![int(), list()])),
        (
            "tuple([tuple([1])])",
            python.tuple(vec![python.tuple(vec![int()])]),
        ),
        ("tuple([{}])", python.tuple(vec![python.dict()])),
        ("[]", list()),
        ("[1]", python.list(vec![int()])),
        ("{}", python.dict()),
        ("{1: 1}", dict(int())),
        ("{1: []}", dict(list())),
        ("{1: tuple([1])}", dict(python.tuple(vec![int()]))),
        ("set()", python.set()),
        ("A()", python.instance(&Class::new("A"))),
    ];
    let (mut program, mut ours) = (String::from("class A: pass\n"), Vec::new());
    for (text, value) in values {
        // CPython takes tuples out at the next collections, one level each.
        program.push_str(&format!(
            "x = {text}\ngc.collect(); gc.collect()\nprint(gc.is_tracked(x))\n"
        ));
        ours.push(python.bool(value.is_tracked()).to_string());
    }
    compare(&program, &ours);
}

#[test]
fn dead_objects_of_a_free_list_are_not_counted_again() {
    let python = Python::new();
    let mut ours = Vec::new();
    for make in [
        |python: &Python| python.list(vec![]),
        |python: &Python| python.tuple(vec![python.int(1), python.int(2)]),
    ] {
        gc::collect();
        let before = gc::get_count().0;
        for _ in 0..3 {
            let mut values: Vec<_> = (0..100).map(|_| make(&python)).collect();
            ours.push((gc::get_count().0 - before).to_string());
            values.clear();
            ours.push((gc::get_count().0 - before).to_string());
        }
    }
    compare(
        "one, at, r = 1, 0, [0] * 12\nfor f in (lambda: [], lambda: (one, one)):\n a = [None] * 100\n gc.collect()\n \
         gc.get_count()\n c = gc.get_count()[0]\n for _ in range(3):\n  for i in range(100): a[i] = f()\n  \
         r[at] = gc.get_count()[0] - c\n  for i in range(100): a[i] = None\n  \
         r[at + 1] = gc.get_count()[0] - c\n  at += 2\nfor n in r: print(n)\n",
        &ours,
    );
}

#[test]
fn values_in_a_cycle_are_found_by_the_collector() {
    let python = Python::new();
    gc::collect();
    let (list, dict) = (List::display(vec![]), Dict::new());
    let instance = Instance::new(&Class::new("A"));
    list.append(Value::Dict(dict.clone()));
    instance.set(&python.intern("list"), Value::List(list.clone()));
    let tuple = python.tuple(vec![Value::Instance(instance.clone())]);
    Dict::insert(&dict, python.str("tuple"), tuple.clone()).unwrap();
    drop((list, dict, instance, tuple));
    assert_eq!(gc::collect(), 4);
    assert_eq!(gc::collect(), 0);
}
