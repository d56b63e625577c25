//! Graphs of Python's kinds, as objgraph draws them.

use crate::recorded::{Containers, Names, dict, recorded};
use pymalloc::impl_trace;
use pymalloc::object::{Erased, Gc, Weak};
use pymalloc::observe::objgraph::{Label, View, describe, is_module};
use pymalloc::python::{Class, Instance, List, Python, Tuple, Value};

fn is<T: pymalloc::object::Trace>(object: &Gc<Erased>) -> bool {
    object.downcast_ref::<T>().is_some()
}

#[test]
fn references_are_drawn_level_by_level() {
    let c = Containers::new(&Python::new());
    let names = c.names();
    let text = names.text(&names.graph().refs(&[c.root.erased()]));
    assert_eq!(text, recorded("refs_of_containers"));
}

#[test]
fn the_greys_run_to_the_greatest_depth_asked_for() {
    let c = Containers::new(&Python::new());
    let names = c.names();
    let text = names.text(&names.graph().max_depth(9).refs(&[c.root.erased()]));
    assert_eq!(text, recorded("refs_deeper_than_objects"));
}

#[test]
fn a_graph_of_depth_0_is_its_roots() {
    let c = Containers::new(&Python::new());
    let names = c.names();
    let drawing = names.graph().max_depth(0).refs(&[c.table.erased()]);
    assert_eq!(names.text(&drawing), recorded("refs_of_depth_0"));
    assert_eq!(drawing.n_nodes, 1);
}

#[test]
fn long_names_have_modules_at_nodes_and_edges() {
    let c = Containers::new(&Python::new());
    let names = c.names();
    let drawing = names.graph().long_names().refs(&[c.table.erased()]);
    assert_eq!(names.text(&drawing), recorded("refs_with_long_names"));
}

#[test]
fn several_roots_are_drawn_in_red_in_one_graph() {
    let c = Containers::new(&Python::new());
    let names = c.names();
    let roots = [&c.pair, &c.group, &c.one].map(Value::erased);
    let text = names.text(&names.graph().refs(&roots));
    assert_eq!(text, recorded("refs_of_two_roots"));
}

#[test]
fn filter_and_extra_ignore_leave_objects_out() {
    let c = Containers::new(&Python::new());
    let names = c.names();
    let graph = names.graph().extra_ignore([c.group.id()]);
    let graph = graph.filter(|o| names.of(o).is_some() && Gc::id(o) != c.leaf.id());
    let text = names.text(&graph.refs(&[c.root.erased()]));
    assert_eq!(text, recorded("refs_without_some"));
}

#[test]
fn highlighted_objects_are_blue() {
    let c = Containers::new(&Python::new());
    let names = c.names();
    let graph = names
        .graph()
        .highlight(|o| is::<List>(o) || is::<pymalloc::python::Int>(o));
    let text = names.text(&graph.refs(&[c.root.erased()]));
    assert_eq!(text, recorded("refs_highlighted"));
}

#[test]
fn extra_info_is_a_third_line() {
    let c = Containers::new(&Python::new());
    let names = c.names();
    let graph = names
        .graph()
        .extra_info(|o| format!("\"{}\"\\", names.of(o).unwrap()));
    let text = names.text(&graph.refs(&[c.pair.erased()]));
    assert_eq!(text, recorded("refs_with_extra_info"));
}

#[test]
fn extra_attributes_follow_the_label_in_order() {
    let c = Containers::new(&Python::new());
    let names = c.names();
    let attributes = |o: &Gc<Erased>| {
        if is::<pymalloc::python::Int>(o) {
            return Vec::new();
        }
        let tooltip = format!("the \"{}\"", names.of(o).unwrap());
        let shape = is::<List>(o).then(|| "oval".to_owned());
        vec![
            ("tooltip".to_owned(), Some(tooltip)),
            ("shape".to_owned(), shape),
            ("penwidth".to_owned(), Some("2".to_owned())),
        ]
    };
    let graph = names.graph().extra_node_attrs(attributes);
    let text = names.text(&graph.refs(&[c.pair.erased()]));
    assert_eq!(text, recorded("refs_with_attributes"));
}

/// Fifteen names with numbers.
macro_rules! numbered {
    ($name:literal) => {
        [
            concat!($name, 0),
            concat!($name, 1),
            concat!($name, 2),
            concat!($name, 3),
            concat!($name, 4),
            concat!($name, 5),
            concat!($name, 6),
            concat!($name, 7),
            concat!($name, 8),
            concat!($name, 9),
            concat!($name, 10),
            concat!($name, 11),
            concat!($name, 12),
            concat!($name, 13),
            concat!($name, 14),
        ]
    };
}

fn named(name: &'static str, object: &Value, many: &[&'static str], objects: &[Value]) -> Names {
    let objects: Vec<_> = objects.iter().map(Value::erased).collect();
    let mut all: Vec<_> = many.iter().copied().zip(&objects).collect();
    let object = object.erased();
    all.push((name, &object));
    Names::new(&all)
}

#[test]
fn of_too_many_references_the_rest_is_a_number() {
    let python = Python::new();
    let items: Vec<_> = (0..15).map(|n| python.list(vec![python.int(n)])).collect();
    let mut all = vec![items[0].clone()];
    all.extend(items.iter().cloned());
    let many = python.list(all);
    let names = named("many", &many, &numbered!("item"), &items);
    let mut text = names.text(&names.graph().refs(&[many.erased()]));
    let graph = names.graph().too_many(3).max_depth(1);
    text += &names.text(&graph.refs(&[many.erased()]));
    assert_eq!(text, recorded("refs_too_many"));
}

#[test]
fn of_too_many_backreferences_the_rest_is_a_number() {
    let python = Python::new();
    let leaf = python.list(vec![]);
    let holders: Vec<_> = (0..14).map(|_| python.list(vec![leaf.clone()])).collect();
    let names = named("leaf", &leaf, &numbered!("holder"), &holders);
    let mut text = names.text(&names.graph().backrefs(&[leaf.erased()]));
    let graph = names.graph().too_many(3).max_depth(9);
    text += &names.text(&graph.backrefs(&[leaf.erased()]));
    assert_eq!(text, recorded("backrefs_too_many"));
}

#[test]
fn backreferences_are_drawn_from_whoever_refers() {
    let python = Python::new();
    let a = python.list(vec![]);
    let b = dict(&python, vec![(python.str("to_a"), a.clone())]);
    let c = python.tuple(vec![b.clone(), python.int(1)]);
    let d = python.list(vec![c.clone()]);
    let objects = [&a, &b, &c, &d].map(Value::erased);
    let [x, y, z, w] = objects.each_ref();
    let names = Names::new(&[("a", x), ("b", y), ("c", z), ("d", w)]);
    let mut text = names.text(&names.graph().backrefs(&[a.erased()]));
    text += &names.text(&names.graph().max_depth(2).backrefs(&[a.erased()]));
    assert_eq!(text, recorded("backrefs_of_a_chain"));
}

#[test]
fn a_cycle_is_drawn_once_around() {
    let python = Python::new();
    let a = List::display(vec![]);
    let b = dict(&python, vec![(python.str("back"), Value::List(a.clone()))]);
    a.append(b.clone());
    let (a, b) = (Gc::erase(a), b.erased());
    let names = Names::new(&[("a", &a), ("b", &b)]);
    let roots = [a.clone()];
    let mut text = names.text(&names.graph().refs(&roots));
    text += &names.text(&names.graph().backrefs(&roots));
    assert_eq!(text, recorded("a_cycle"));
}

#[test]
fn nodes_show_the_beginning_of_the_repr_or_the_number_of_items() {
    let python = Python::new();
    let set = python.set();
    if let Value::Set(set) = &set {
        set.insert(python.int(1)).unwrap();
        set.insert(python.int(2)).unwrap();
    }
    let huge: pymalloc::python::Integer = format!("1{}", "0".repeat(60)).parse().unwrap();
    let values = [
        ("none", python.none()),
        ("true", python.bool(true)),
        ("int", python.int(12345)),
        ("float", python.float(1.5)),
        ("huge", python.int(huge)),
        ("str", python.str("a \"quoted\"\n\\ text")),
        ("long", python.str(&"x".repeat(100))),
        ("bytes", python.bytes(b"\x00\xff'")),
        ("nul", python.str("a\0b")),
        ("empty", python.tuple(vec![])),
        ("set", set),
        ("dict", dict(&python, vec![(python.int(1), python.int(2))])),
    ];
    let objects: Vec<_> = values.iter().map(|(_, value)| value.erased()).collect();
    let named: Vec<_> = values.iter().map(|(name, _)| *name).zip(&objects).collect();
    let names = Names::new(&named);
    let text = names.text(&names.graph().max_depth(0).refs(&objects));
    assert_eq!(text, recorded("reprs"));
}

#[test]
fn instances_show_their_class_and_whether_it_has_a_finalizer() {
    let python = Python::new();
    let node = Class::new("__main__.Node");
    let closing = Class::with_finalizer("shop.goods.Closing", |_| {});
    let (a, b) = (Instance::new(&node), Instance::new(&closing));
    let child = python.list(vec![]);
    a.set(&python.intern("child"), child.clone());
    a.set(&python.intern("other"), Value::Instance(b.clone()));
    b.set(&python.intern("child"), child.clone());
    let (a, b, child) = (Gc::erase(a), Gc::erase(b), child.erased());
    let (node, closing) = (Gc::erase(node), Gc::erase(closing));
    let names = Names::new(&[
        ("a", &a),
        ("b", &b),
        ("child", &child),
        ("Node", &node),
        ("Closing", &closing),
    ]);
    let mut text = names.text(&names.graph().refs(std::slice::from_ref(&a)));
    text += &names.text(&names.graph().long_names().refs(std::slice::from_ref(&b)));
    assert_eq!(text, recorded("instances"));
}

struct Mute;
impl_trace!(leaf Mute);

#[test]
fn a_repr_that_fails_is_unrepresentable() {
    type Write<'a> = &'a mut dyn std::fmt::Write;
    let fail = |_: &Gc<Mute>, _: Write| Err(std::fmt::Error);
    let panic = |_: &Gc<Mute>, _: Write| panic!("no text");
    let a = Gc::erase(Gc::new(Mute));
    let names = Names::new(&[("a", &a)]);
    for view in [
        View::<Mute>::new().repr(fail),
        View::<Mute>::new().repr(panic),
    ] {
        describe(view.name("__main__.Mute"));
        let drawing = names.graph().refs(std::slice::from_ref(&a));
        assert_eq!(names.text(&drawing), recorded("failing_repr"));
    }
}

struct Shown;
impl_trace!(leaf Shown);

#[test]
fn a_repr_of_the_programs_own_is_cut_at_40_characters() {
    let repr =
        |_: &Gc<Shown>, out: &mut dyn std::fmt::Write| write!(out, "<shown> {}", "é".repeat(60));
    describe(View::<Shown>::new().repr(repr));
    let a = Gc::erase(Gc::new(Shown));
    let names = Names::new(&[("a", &a)]);
    let drawing = names.graph().refs(std::slice::from_ref(&a));
    assert_eq!(names.text(&drawing), recorded("shown_reprs"));
}

#[test]
fn weak_references_say_what_they_refer_to() {
    let [a, gone] = ["__main__.A", "__main__.B"].map(|name| Instance::new(&Class::new(name)));
    let (live, dead) = (Weak::from(&a), Weak::from(&gone));
    drop(gone);
    let [live, dead] = [live, dead].map(|weak| weak.as_object().unwrap());
    let a = Gc::erase(a);
    let names = Names::new(&[("a", &a), ("live", &live), ("dead", &dead)]);
    let mut text = names.text(&names.graph().refs(&[live.clone(), dead.clone()]));
    text += &names.text(&names.graph().long_names().refs(std::slice::from_ref(&live)));
    assert_eq!(text, recorded("weak_references"));
}

/// Python's module, as a program that has modules would have it.
struct Module {
    name: &'static str,
    names: Value,
}
impl_trace!(struct Module { name, names });

#[test]
fn modules_are_green_and_end_graphs_of_backreferences() {
    let python = Python::new();
    let view = View::<Module>::new().name("builtins.module").module();
    let view = view.repr(|module, out| out.write_str(module.name));
    describe(view.label(|module, target| {
        (module.names.id() == Gc::id(target)).then(|| Label::attribute("__dict__"))
    }));
    let target = python.list(vec![]);
    let others = [
        "__name__",
        "__doc__",
        "__package__",
        "__loader__",
        "__spec__",
    ];
    let mut pairs: Vec<_> = others.map(|name| (python.str(name), python.none())).into();
    pairs.push((python.str("target"), target.clone()));
    let table = dict(&python, pairs);
    let (target, table_object) = (target.erased(), table.erased());
    let module = Gc::new(Module {
        name: "shop",
        names: table,
    });
    // What refers to the module: a value of Rust's, like everything that Python's list could be.
    let holder = Gc::new(Holder(Gc::erased(&module)));
    describe(
        View::<Holder>::new()
            .name("builtins.list")
            .label(|_, _| None)
            .repr(|_, out| out.write_str("1 items")),
    );
    let (module, holder) = (Gc::erase(module), Gc::erase(holder));
    let names = Names::new(&[
        ("target", &target),
        ("names", &table_object),
        ("module", &module),
        ("holder", &holder),
    ]);
    let mut text = names.text(&names.graph().backrefs(std::slice::from_ref(&target)));
    text += &names.text(&names.graph().refs(std::slice::from_ref(&holder)));
    // Not asked here: a module that is not registered. Whether one is is the view's to say.
    for object in [&module, &target] {
        text += if is_module(object) {
            "True\n"
        } else {
            "False\n"
        };
    }
    text += "False\n";
    assert_eq!(text, recorded("modules"));
}

struct Holder(Gc<Erased>);
impl_trace!(struct Holder(held));

#[test]
fn nodes_show_how_many_handles_there_are() {
    let Containers { leaf, root, .. } = Containers::new(&Python::new());
    // The other handles of the scene are gone.
    let mut all = vec![("root", root.erased()), ("leaf", leaf.erased())];
    if let Value::List(list) = &root {
        let items = list.to_vec();
        let items = ["table", "group", "pair"].into_iter().zip(&items);
        all.extend(items.map(|(name, value)| (name, value.erased())));
    }
    let named: Vec<_> = all.iter().map(|(name, object)| (*name, object)).collect();
    let names = Names::new(&named);
    drop(all);
    let is_container = |o: &Gc<Erased>| {
        let is_tuple = || {
            o.clone()
                .downcast_tail::<_, _>()
                .is_ok_and(|_: Gc<Tuple>| true)
        };
        is::<List>(o)
            || is::<pymalloc::python::Dict>(o)
            || is::<pymalloc::python::Set>(o)
            || is_tuple()
    };
    let mine = |o: &Gc<Erased>| names.of(o).is_some() && is_container(o);
    let graph = names.graph().refcounts().filter(mine);
    let mut text = names.text(&graph.refs(&[root.erased()]));
    text += &names.text(&graph.max_depth(0).backrefs(&[leaf.erased()]));
    assert_eq!(text, recorded("refcounts_of_containers"));
}

#[test]
fn culled_objects_are_drawn_and_end_the_graph() {
    let python = Python::new();
    let a = python.list(vec![]);
    let b = python.list(vec![a.clone()]);
    let c = python.list(vec![b.clone()]);
    let objects = [&a, &b, &c].map(Value::erased);
    let [x, y, z] = objects.each_ref();
    let names = Names::new(&[("a", x), ("b", y), ("c", z)]);
    for drawing in [
        names
            .graph()
            .cull(|o| Gc::id(o) == b.id())
            .refs(&[c.erased()]),
        names
            .graph()
            .cull(|o| Gc::id(o) == b.id())
            .backrefs(&[a.erased()]),
    ] {
        assert_eq!(drawing.n_nodes, 2, "{}", names.text(&drawing));
    }
}
