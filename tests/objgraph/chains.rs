//! Chains of references, and objects by identity.

use crate::recorded::{Names, dict, recorded};
use crate::rng::{Rng, seed};
use pymalloc::object::{Erased, Gc, Slot};
use pymalloc::observe::objgraph::{
    Graph, Search, at, at_addrs, find_backref_chain, find_ref_chain, find_root_chain, show_chain,
};
use pymalloc::python::{Python, Value};
use pymalloc::{gc, impl_trace};
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

#[test]
fn chains_are_shortest_and_drawn_as_objgraph_does() {
    let python = Python::new();
    let a = python.list(vec![]);
    let b = dict(&python, vec![(python.str("to_a"), a.clone())]);
    let c = python.list(vec![b.clone(), a.clone()]);
    let d = python.tuple(vec![c.clone(), python.int(1)]);
    let other = python.list(vec![a.clone(), c.clone()]);
    let [a, b, c, d, other] = [a, b, c, d, other].map(|value| value.erased());
    let names = Names::new(&[
        ("a", &a),
        ("b", &b),
        ("c", &c),
        ("d", &d),
        ("other", &other),
    ]);
    let is = |wanted: &Gc<Erased>| {
        let id = Gc::id(wanted);
        move |object: &Gc<Erased>| Gc::id(object) == id
    };
    let forward = find_ref_chain(&d, is(&a));
    let search = Search::new().extra_ignore([Gc::id(&other)]);
    let backward = search.backrefs(&a, is(&d));
    let none = find_ref_chain(&a, is(&d));
    let short = Search::new().max_depth(1).refs(&d, is(&a));
    let at_once = find_backref_chain(&a, is(&a));
    let around = Search::new().extra_ignore([Gc::id(&b)]).refs(&d, is(&a));
    let detour = find_ref_chain(&d, is(&b));
    let mut text = String::new();
    for chain in [
        &forward, &backward, &none, &short, &at_once, &around, &detour,
    ] {
        text += &names.chain(chain);
        text += "\n";
    }
    text += &names.text(&show_chain(&backward));
    text += &names.text(&Graph::new().chain_forwards(&[&forward]));
    text += &names.text(&Graph::new().chain_forwards(&[&detour, &around, &[]]));
    assert_eq!(text, recorded("chains"));
}

#[test]
fn no_chain_is_an_empty_graph() {
    let drawing = Graph::new().chain(&[]);
    assert_eq!(drawing.n_nodes, 0);
    assert_eq!(drawing.dot.lines().count(), 3);
}

struct Node {
    next: Slot<Node>,
}
impl_trace!(struct Node { next });

fn node(next: Option<Gc<Node>>) -> Gc<Node> {
    let node = Gc::new(Node {
        next: Slot::empty(),
    });
    node.next.set(next);
    node
}

#[test]
fn chains_end_after_20_references_unless_told_otherwise() {
    let last = node(None);
    let mut first = last.clone();
    for _ in 0..25 {
        first = node(Some(first));
    }
    let (first, last) = (Gc::erase(first), Gc::erase(last));
    let is_last = |object: &Gc<Erased>| Gc::is(object, &last);
    assert_eq!(find_ref_chain(&first, is_last).len(), 1);
    assert_eq!(Search::new().max_depth(24).refs(&first, is_last).len(), 1);
    assert_eq!(Search::new().max_depth(25).refs(&first, is_last).len(), 26);
    let is_first = |object: &Gc<Erased>| Gc::is(object, &first);
    let chain = Search::new().max_depth(25).backrefs(&last, is_first);
    assert!(Gc::is(&chain[0], &first) && Gc::is(&chain[25], &last));
}

#[test]
fn a_root_chain_begins_at_what_the_program_holds() {
    let last = node(None);
    let held = node(Some(node(Some(last.clone()))));
    // A cycle beside the chain keeps nothing alive.
    let ring = node(Some(last.clone()));
    ring.next.set(Some(node(Some(ring.clone()))));
    drop(ring);
    let last = Gc::erase(last);
    let chain = find_root_chain(&last);
    assert_eq!(chain.len(), 3);
    assert!(Gc::is(&chain[0], &held) && Gc::is(&chain[2], &last));
    // With nobody but the question's own handle there is no chain.
    drop((held, chain));
    assert_eq!(find_root_chain(&last).len(), 1);
}

#[test]
fn objects_are_found_by_identity() {
    let (a, b) = (node(None), node(None));
    assert!(at(Gc::id(&a)).is_some_and(|found| Gc::is(&found, &a)));
    assert!(at(Gc::id(&a) + 1).is_none());
    let mut found = at_addrs(&[Gc::id(&b), Gc::id(&a), 8].into());
    found.sort_by_key(Gc::id);
    assert_eq!(found.len(), 2);
    assert!(Gc::id(&found[0]) == Gc::id(&a).min(Gc::id(&b)));
    // Leaves are not tracked, and so are not found.
    let leaf = Python::new().int(1000);
    assert!(at(leaf.id()).is_none());
    assert!(matches!(leaf, Value::Int(_)));
}

#[test]
fn the_example_finds_why_a_closed_session_is_alive() {
    let mut text = String::new();
    let drawing = crate::example::story(&mut text).unwrap();
    let last = text.lines().last().unwrap();
    let way = "Server -> Hub -> Listener -> Session";
    assert!(last.ends_with(way), "{text}");
    assert!(text.contains("\nSession                  0            3           +3           +3\n"));
    assert_eq!(drawing.n_nodes, 9);
}

struct Many {
    to: RefCell<Vec<Gc<Many>>>,
}
impl_trace!(struct Many { to });

/// A random graph: its objects.
fn random_graph(random: &mut Rng) -> Vec<Gc<Many>> {
    let n = 2 + random.below(40);
    let all: Vec<_> = (0..n)
        .map(|_| {
            Gc::new(Many {
                to: RefCell::default(),
            })
        })
        .collect();
    for _ in 0..random.below(3 * n) {
        let target = all[random.below(n)].clone();
        all[random.below(n)].to.borrow_mut().push(target);
    }
    all
}

/// References from the first object to each, by a walk in levels.
fn distances(all: &[Gc<Many>]) -> HashMap<usize, usize> {
    let mut distances = HashMap::from([(Gc::id(&all[0]), 0)]);
    let mut level = vec![all[0].clone()];
    for distance in 1.. {
        let mut next = Vec::new();
        for target in level.iter().flat_map(|object| object.to.borrow().clone()) {
            if let Entry::Vacant(entry) = distances.entry(Gc::id(&target)) {
                entry.insert(distance);
                next.push(target);
            }
        }
        if next.is_empty() {
            break;
        }
        level = next;
    }
    distances
}

#[test]
fn edges_drawn_are_those_of_the_gc_module_and_chains_are_shortest() {
    let mut random = Rng::new(seed("objgraph"));
    for _ in 0..50 {
        let all = random_graph(&mut random);
        let graph = Graph::new().max_depth(1).too_many(usize::MAX);
        for one in &all {
            let one = Gc::erased(one);
            let id = Gc::id(&one);
            let edges = |dot: &str| dot.lines().filter(|line| line.contains(" -> ")).count();
            let refs = graph.refs(std::slice::from_ref(&one)).dot;
            let referents = gc::get_referents(&[&one]);
            assert_eq!(edges(&refs), referents.len());
            for target in referents {
                let edge = format!("o{id} -> o{} [label=\"to\",weight=2]", Gc::id(&target));
                assert!(refs.contains(&edge));
            }
            let backrefs = graph.backrefs(std::slice::from_ref(&one)).dot;
            let referrers = gc::get_referrers(&[&one]);
            assert_eq!(edges(&backrefs), referrers.len());
            for source in referrers {
                assert!(backrefs.contains(&format!("o{} -> o{id} ", Gc::id(&source))));
            }
        }
        let distances = distances(&all);
        let first = Gc::erased(&all[0]);
        for one in &all {
            let one = Gc::erased(one);
            let known = distances.get(&Gc::id(&one));
            let length = known.map_or(1, |distance| distance + 1);
            let search = Search::new().max_depth(100);
            let there = search.refs(&first, |object| Gc::is(object, &one));
            let back = search.backrefs(&one, |object| Gc::is(object, &first));
            for chain in [&there, &back] {
                assert_eq!(chain.len(), length);
                let is_link = |pair: &[Gc<Erased>]| {
                    let from = pair[0].downcast_ref::<Many>().unwrap();
                    from.to.borrow().iter().any(|to| Gc::is(to, &pair[1]))
                };
                assert!(chain.windows(2).all(is_link));
            }
        }
        all.iter().for_each(|one| one.to.borrow_mut().clear());
    }
}
