//! Counting by type, growth, new objects, and those that nothing refers to.

use crate::recorded::recorded;
use pymalloc::impl_trace;
use pymalloc::object::{Erased, Gc, Slot};
use pymalloc::observe::objgraph::{self, Census, Grown, Growth, NewIds, NewIdsRow, SortBy};
use pymalloc::python::{Class, Instance, Python, Value};
use std::collections::{BTreeMap, HashMap, HashSet};

struct Farm {
    classes: [Gc<Class>; 3],
    me: Gc<pymalloc::python::Str>,
}

impl Farm {
    fn new(python: &Python) -> Self {
        Self {
            classes: ["farm.Apple", "farm.Pear", "garden.trees.Fig"].map(Class::new),
            me: python.intern("self"),
        }
    }

    /// So many instances of a class.
    fn some(&self, class: usize, n: usize) -> Vec<Gc<Instance>> {
        let one = |_| Instance::new(&self.classes[class]);
        (0..n).map(one).collect()
    }

    /// 300 apples, 200 pears, 7 figs, each in a cycle.
    fn fruit(&self) -> Vec<Gc<Instance>> {
        let kinds = [(0, 300), (1, 200), (2, 7)].into_iter();
        let fruit: Vec<_> = kinds.flat_map(|(class, n)| self.some(class, n)).collect();
        for one in &fruit {
            one.set(&self.me, Value::Instance(one.clone()));
        }
        fruit
    }

    fn is_fruit(&self, object: &Gc<Erased>) -> bool {
        let instance = object.downcast_ref::<Instance>();
        instance.is_some_and(|one| self.classes.iter().any(|class| Gc::is(class, one.class())))
    }
}

fn erased(objects: &[Gc<Instance>]) -> Vec<Gc<Erased>> {
    objects.iter().map(Gc::erased).collect()
}

/// As Python prints tuples in a list.
fn shown(rows: &[(String, usize)]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|(name, n)| format!("('{name}', {n})"))
        .collect();
    format!("[{}]\n", rows.join(", "))
}

fn sorted(stats: HashMap<String, usize>) -> Vec<(String, usize)> {
    stats
        .into_iter()
        .collect::<BTreeMap<_, _>>()
        .into_iter()
        .collect()
}

#[test]
fn objects_are_counted_by_short_and_long_names_of_their_types() {
    let python = Python::new();
    let farm = Farm::new(&python);
    let kept = farm.fruit();
    let kept = erased(&kept);
    let others = [
        python.int(1),
        python.str("text"),
        python.tuple(vec![]),
        python.list(vec![]),
        python.dict(),
    ];
    let mixed: Vec<_> = kept
        .iter()
        .cloned()
        .chain(others.iter().map(Value::erased))
        .collect();
    let is_fig = |object: &Gc<Erased>| {
        let instance = object.downcast_ref::<Instance>();
        instance.is_some_and(|one| one.class().name().ends_with("Fig"))
    };
    let numbers = [
        objgraph::count("Apple"),
        objgraph::count("farm.Apple"),
        objgraph::count("Figs"),
        objgraph::count("trees.Fig"),
        objgraph::count("garden.trees.Fig"),
        Census::of(&kept[..400]).count("Fig"),
        Census::of(&mixed).count("int"),
        Census::of(&mixed).count("builtins.list"),
        objgraph::by_type("Pear").len(),
        objgraph::by_type("farm.Pear").len(),
        Census::of(&mixed).by_type("tuple").len(),
    ];
    let mut text: String = numbers.iter().map(|n| format!("{n}\n")).collect();
    text += &shown(&sorted(Census::of(&mixed).typestats()));
    text += &shown(&sorted(Census::of(&mixed).long_names().typestats()));
    let figs = Census::new().filter(is_fig).typestats();
    assert_eq!(figs.len(), 1);
    text += &format!("{{'Fig': {}}}\n", figs["Fig"]);
    let of_kept = || Census::of(&kept);
    text += &shown(&of_kept().most_common_types(Some(2)));
    text += &shown(&of_kept().most_common_types(None));
    text += &shown(&of_kept().most_common_types(Some(0)));
    text += &shown(&of_kept().long_names().most_common_types(Some(1)));
    text += &shown(&of_kept().filter(is_fig).most_common_types(Some(5)));
    of_kept()
        .show_most_common_types(Some(10), &mut text)
        .unwrap();
    of_kept()
        .long_names()
        .show_most_common_types(Some(2), &mut text)
        .unwrap();
    assert_eq!(text, recorded("counting"));
}

#[test]
fn the_short_functions_look_at_everything_tracked() {
    let kept = [3, 2].map(|n| (0..n).map(|_| node()).collect::<Vec<_>>());
    let other = Gc::new(Other(Slot::empty()));
    assert_eq!(objgraph::typestats()["Node"], 5);
    assert_eq!(
        objgraph::most_common_types(Some(1)),
        [("Node".to_owned(), 5)]
    );
    let mut text = String::new();
    objgraph::show_most_common_types(Some(10), &mut text).unwrap();
    assert_eq!(text, "Node  5\nOther 1\n");
    assert!(other.0.is_empty());
    drop((kept, other));
    // No object, no line, where objgraph fails.
    text.clear();
    objgraph::show_most_common_types(Some(3), &mut text).unwrap();
    assert_eq!(text, "");
}

struct Node(Slot<Node>);
impl_trace!(struct Node(next));

fn node() -> Gc<Node> {
    Gc::new(Node(Slot::empty()))
}

struct Other(Slot<Node>);
impl_trace!(struct Other(node));

/// As Python prints what grew.
fn grown(rows: &[Grown]) -> String {
    let row = |row: &Grown| format!("('{}', {}, {})", row.name, row.count, row.delta);
    let rows: Vec<_> = rows.iter().map(row).collect();
    format!("[{}]\n", rows.join(", "))
}

#[test]
fn growth_is_what_exceeds_the_earlier_peak() {
    let python = Python::new();
    let farm = Farm::new(&python);
    let mine = || Census::new().filter(|object| farm.is_fruit(object));
    let mut peaks = Growth::new();
    let mut kept = farm.fruit();
    let mut text = grown(&peaks.update(&mine(), Some(10)));
    text += &grown(&peaks.update(&mine(), Some(10)));
    kept.truncate(100);
    text += &grown(&peaks.update(&mine(), Some(10)));
    kept = farm.fruit();
    kept.extend(farm.fruit().drain(..303));
    text += &grown(&peaks.update(&mine(), Some(1)));
    kept.extend(farm.fruit());
    peaks.show(&mine(), Some(10), &mut text).unwrap();
    peaks.show(&mine(), Some(10), &mut text).unwrap();
    Growth::new()
        .show(&mine().long_names(), Some(1), &mut text)
        .unwrap();
    assert_eq!(text, recorded("growing"));
}

#[test]
fn the_threads_peaks_are_kept_between_calls() {
    let mut kept: Vec<_> = (0..5).map(|_| node()).collect();
    assert_eq!(grown(&objgraph::growth(None)), "[('Node', 5, 5)]\n");
    assert_eq!(objgraph::growth(None), []);
    kept.extend([node(), node()]);
    // Garbage is collected first.
    let ring = node();
    ring.0.set(Some(ring.clone()));
    drop(ring);
    let mut text = String::new();
    objgraph::show_growth(Some(10), &mut text).unwrap();
    assert_eq!(text, "Node        7        +2\n");
    // Another thread's are its own.
    std::thread::spawn(|| assert_eq!(objgraph::growth(None), []))
        .join()
        .unwrap();
}

#[test]
fn new_objects_are_those_whose_identity_was_not_there() {
    let python = Python::new();
    let farm = Farm::new(&python);
    // Without references to themselves: those that are dropped go at once.
    let some = |class: usize, n: usize| -> Vec<_> {
        (0..n)
            .map(|_| Instance::new(&farm.classes[class]))
            .collect()
    };
    let (mut apples, mut pears, mut figs) = (some(0, 30_000), some(1, 25_000), some(2, 20_000));
    let mut state = NewIds::new();
    let new = state.update();
    let mut text: String = ["Apple", "Pear", "Fig"]
        .map(|name| format!("{}\n", new[name].len()))
        .concat();
    // Apples that go last, so that no pear comes to lie where one was.
    pears.extend(some(1, 2000));
    figs.extend(some(2, 3000));
    apples.truncate(29_000);
    state.update();
    let new = state.last().clone();
    text += &format!(
        "{} {} {}\n",
        new["Apple"].len(),
        new["Pear"].len(),
        new["Fig"].len()
    );
    let found: HashSet<_> = objgraph::at_addrs(&new["Pear"])
        .iter()
        .map(Gc::id)
        .collect();
    let wanted: HashSet<_> = pears[25_000..].iter().map(Gc::id).collect();
    text += &format!(
        "{} {}\n",
        found.len(),
        if found == wanted { "True" } else { "False" }
    );
    for (sort_by, limit) in [
        (SortBy::Old, 3),
        (SortBy::Current, 3),
        (SortBy::New, 2),
        (SortBy::Deltas, 2),
    ] {
        state.show(Some(limit), sort_by, &mut text).unwrap();
    }
    assert_eq!(text, recorded("new_ids"));
}

#[test]
fn a_type_whose_objects_are_all_gone_is_a_row_once() {
    let kept = [node(), node(), node()];
    let mut state = NewIds::new();
    state.update();
    drop(kept);
    assert_eq!(state.update()["Node"].len(), 0);
    let row = NewIdsRow {
        name: "Node".to_owned(),
        old: 3,
        current: 0,
        new: 0,
    };
    assert_eq!(row.delta(), -3);
    assert_eq!(state.rows(SortBy::Deltas), [row]);
    assert!(state.update().is_empty());
    let mut text = String::new();
    state.show(None, SortBy::Deltas, &mut text).unwrap();
    assert_eq!(text, "");
}

#[test]
fn names_of_new_objects_may_become_long() {
    let kept = node();
    let mut state = NewIds::new();
    state.update();
    state.set_names(objgraph::Names::Long);
    let new = state.update();
    let long = std::any::type_name::<Node>();
    assert_eq!(new[long], HashSet::from([Gc::id(&kept)]));
    assert_eq!(new["Node"].len(), 0);
}

#[test]
fn the_threads_new_objects_are_kept_between_calls() {
    let mut kept = vec![node(), node(), node()];
    let mut text = String::new();
    let new = objgraph::get_new_ids(Some(0), SortBy::Deltas, &mut text).unwrap();
    assert_eq!((new["Node"].len(), text.as_str()), (3, ""));
    kept.push(node());
    let new = objgraph::get_new_ids(None, SortBy::Deltas, &mut text).unwrap();
    assert_eq!(new["Node"], HashSet::from([Gc::id(&kept[3])]));
    assert_eq!(new, objgraph::last_new_ids());
    let line = "=".repeat(56);
    let table = format!(
        "{line}\nType      Old_ids  Current_ids      New_ids Count_Deltas\n{line}\n\
         Node            3            4           +1           +1\n{line}\n"
    );
    assert_eq!(text, table);
}

#[test]
fn objects_nobody_refers_to_are_held_from_outside_or_leaked() {
    let python = Python::new();
    let apple = Class::new("farm.Apple");
    let (held, inner) = (Instance::new(&apple), Instance::new(&apple));
    held.set(&python.intern("inner"), Value::Instance(inner.clone()));
    inner.set(&python.intern("self"), Value::Instance(inner.clone()));
    let objects = [Gc::erased(&held), Gc::erased(&inner)];
    let found = Census::of(&objects).leaking();
    let names: Vec<_> = found
        .iter()
        .map(|object| {
            if Gc::is(object, &held) {
                "'held'"
            } else {
                "'inner'"
            }
        })
        .collect();
    assert_eq!(format!("[{}]\n", names.join(", ")), recorded("leaking"));
}

#[test]
fn leaked_objects_are_found_among_all() {
    let held = node();
    held.0.set(Some(node()));
    std::mem::forget(node());
    let found = objgraph::get_leaking_objects();
    assert_eq!(found.len(), 2);
    assert!(found.iter().any(|object| Gc::is(object, &held)));
}
