//! Roots, dominators and retained bytes, beside a model that takes the object out and walks.

use crate::rng::{Rng, seed};
use pymalloc::impl_trace;
use pymalloc::object::Gc;
use pymalloc::observe::objgraph::{Names, Retained, Roots};
use pymalloc::python::{Class, Instance, Python, Value};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

struct Node {
    to: RefCell<Vec<Gc<Node>>>,
    extra: Vec<u8>,
}
impl_trace!(struct Node { to, extra });

fn node(extra: usize) -> Gc<Node> {
    Gc::new(Node {
        to: RefCell::default(),
        extra: vec![0; extra],
    })
}

fn link(from: &Gc<Node>, to: &Gc<Node>) {
    from.to.borrow_mut().push(to.clone());
}

#[test]
fn an_object_retains_what_is_reached_through_it_only() {
    // root -> a -> (b, c) -> d, and c -> e.
    let [root, a, b, c, d, e] = [0, 10, 20, 30, 40, 50].map(node);
    for (from, to) in [
        (&root, &a),
        (&a, &b),
        (&a, &c),
        (&b, &d),
        (&c, &d),
        (&c, &e),
    ] {
        link(from, to);
    }
    let size = |node: &Gc<Node>| Gc::size_of(node) as u64;
    let [sa, sb, sc, sd, se] = [&a, &b, &c, &d, &e].map(size);
    let ids = [&a, &b, &c, &d, &e].map(Gc::id);
    let all = [&a, &b, &c, &d, &e].map(Gc::erased);
    drop((a, b, c, d, e));
    let retained = Retained::compute(Names::Short, &all);
    let [ra, rb, rc, rd, re] = all.each_ref().map(|object| retained.of(object).unwrap());
    assert_eq!(ra, sa + sb + sc + sd + se);
    assert_eq!((rb, rc, rd, re), (sb, sc + se, sd, se));
    let dominators = all.each_ref().map(|object| retained.dominator(object));
    let [ia, _, ic, _, _] = ids;
    let wanted = [Some(Gc::id(&root)), Some(ia), Some(ia), Some(ia), Some(ic)];
    assert_eq!(dominators, wanted);
    assert_eq!(retained.dominator(&Gc::erased(&root)), None);
    assert_eq!(retained.total_bytes(), size(&root) + ra);
    let largest = retained.largest(2);
    assert_eq!(largest[0].id, Gc::id(&root));
    assert_eq!(
        (largest[1].id, largest[1].bytes, largest[1].retained_bytes),
        (ia, sa, ra)
    );
}

#[test]
fn what_the_program_holds_is_retained_by_nobody_else() {
    let (owner, held) = (node(0), node(100));
    link(&owner, &held);
    let own = Gc::size_of(&owner) as u64;
    let before = Retained::compute(Names::Short, &[]);
    assert_eq!(before.of(&Gc::erased(&owner)), Some(own));
    let held = Gc::erase(held);
    let after = Retained::compute(Names::Short, std::slice::from_ref(&held));
    assert_eq!(
        after.of(&Gc::erased(&owner)),
        Some(own + Gc::size_of(&held) as u64)
    );
    // Made later: not known.
    assert_eq!(after.of(&Gc::erase(node(1))), None);
}

#[test]
fn roots_are_held_from_outside() {
    let (owner, inner, held) = (node(0), node(0), node(0));
    link(&owner, &inner);
    link(&inner, &owner);
    link(&owner, &held);
    let inner = Gc::erase(inner);
    let roots = Roots::find(std::slice::from_ref(&inner));
    assert!(roots.contains(&Gc::erased(&owner)) && roots.contains(&Gc::erased(&held)));
    assert!(!roots.contains(&inner));
    assert_eq!((roots.len(), roots.is_empty()), (2, false));
    assert!(Roots::find(&[]).contains(&inner));
}

#[test]
fn a_type_retains_what_goes_with_all_its_objects() {
    // Two instances share a list: neither retains it, both together do.
    let python = Python::new();
    let class = Class::new("Order");
    let shared = python.list((0..100).map(|n| python.int(1000 + n)).collect());
    let orders = [Instance::new(&class), Instance::new(&class)];
    let name = python.intern("goods");
    for order in &orders {
        order.set(&name, shared.clone());
    }
    let goods = Gc::deep_size_of(&shared.erased()) as u64;
    drop(shared);
    let retained = Retained::compute(Names::Short, &[]);
    let alone = retained.of(&Gc::erased(&orders[0])).unwrap();
    assert_eq!(alone, Gc::size_of(&orders[0]) as u64);
    let rows = retained.by_type();
    let row = rows.iter().find(|row| row.type_name == "Order").unwrap();
    assert_eq!((row.n_objects, row.bytes), (2, 2 * alone));
    assert_eq!(row.retained_bytes, 2 * alone + goods);
    let list = rows.iter().find(|row| row.type_name == "list").unwrap();
    assert_eq!(list.retained_bytes, goods);
    let mut text = String::new();
    retained.show_by_type(Some(1), &mut text).unwrap();
    let largest = &rows[0];
    let line = format!(
        "{:5}{:13}{:13}{:13}",
        largest.type_name, largest.n_objects, largest.bytes, largest.retained_bytes
    );
    assert_eq!(
        text.lines().nth(1).map(str::trim_end),
        Some(line.as_str()),
        "{text}"
    );
}

#[test]
fn keys_that_are_texts_count_as_held_by_their_dictionary() {
    let python = Python::new();
    let dict = pymalloc::python::Dict::new();
    let key = python.str("a rather long key that is nobody else's");
    let key_bytes = Gc::size_of(&key.erased()) as u64;
    pymalloc::python::Dict::insert(&dict, key, Value::Dict(pymalloc::python::Dict::new())).unwrap();
    let retained = Retained::compute(Names::Short, &[]);
    let own = Gc::size_of(&dict) as u64;
    let of_dict = retained.of(&Gc::erased(&dict)).unwrap();
    assert!(of_dict >= own + key_bytes, "{of_dict} {own} {key_bytes}");
}

/// Bytes and targets of each object, by identity.
type Model = HashMap<usize, (u64, Vec<usize>)>;

/// Bytes reached from `roots` by a walk that goes around `without`, and what is reached.
fn reached(model: &Model, roots: &[usize], without: Option<usize>) -> (u64, HashSet<usize>) {
    let mut seen = HashSet::new();
    let mut left = roots.to_vec();
    let mut bytes = 0;
    while let Some(id) = left.pop() {
        if Some(id) != without && seen.insert(id) {
            bytes += model[&id].0;
            left.extend(&model[&id].1);
        }
    }
    (bytes, seen)
}

#[test]
fn random_graphs_retain_what_the_model_says() {
    let mut random = Rng::new(seed("retained"));
    for graph in 0..100 {
        let n = 2 + random.below(60);
        let all: Vec<_> = (0..n).map(|_| node(random.below(100))).collect();
        for _ in 0..random.below(3 * n) {
            link(&all[random.below(n)], &all[random.below(n)]);
        }
        let held: Vec<_> = all[..1 + random.below(3).min(n - 1)].to_vec();
        let roots: Vec<_> = held.iter().map(Gc::id).collect();
        let entry = |node: &Gc<Node>| {
            let targets = node.to.borrow().iter().map(Gc::id).collect();
            (Gc::id(node), (Gc::size_of(node) as u64, targets))
        };
        let model: Model = all.iter().map(entry).collect();
        let own: Vec<_> = all.into_iter().map(Gc::erase).collect();
        let retained = Retained::compute(Names::Short, &own);
        let (total, live) = reached(&model, &roots, None);
        assert_eq!(retained.total_bytes(), total, "graph {graph}");
        for object in &own {
            let id = Gc::id(object);
            let wanted = live
                .contains(&id)
                .then(|| total - reached(&model, &roots, Some(id)).0);
            assert_eq!(retained.of(object), wanted, "graph {graph}");
        }
    }
}
