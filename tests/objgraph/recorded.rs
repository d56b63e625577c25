//! The recorded scenes, and the names that they give to objects.

use pymalloc::object::{Erased, Gc};
use pymalloc::observe::objgraph::{Drawing, Graph};
use pymalloc::python::{Python, Value};
use std::collections::HashMap;

const RECORDED: &str = include_str!("../data/objgraph/recorded.txt");

/// What was recorded for a scene.
pub fn recorded(scene: &str) -> &'static str {
    let title = format!("== {scene}\n");
    let (before, text) = RECORDED
        .split_once(&title)
        .unwrap_or_else(|| panic!("no scene {scene}"));
    assert!(before.is_empty() || before.ends_with('\n'));
    text.split_once("\n== ").map_or(text, |(text, _)| {
        &RECORDED[at(text)..at(text) + text.len() + 1]
    })
}

fn at(text: &str) -> usize {
    text.as_ptr().addr() - RECORDED.as_ptr().addr()
}

/// The objects of a scene, by name.
pub struct Names(HashMap<usize, &'static str>);

impl Names {
    pub fn new(objects: &[(&'static str, &Gc<Erased>)]) -> Self {
        let name = |(name, object): &(&'static str, &Gc<Erased>)| (Gc::id(object), *name);
        Self(objects.iter().map(name).collect())
    }

    pub fn of(&self, object: &Gc<Erased>) -> Option<&'static str> {
        self.0.get(&Gc::id(object)).copied()
    }

    /// A graph of this scene's objects only.
    pub fn graph(&self) -> Graph<'_> {
        Graph::new().filter(|object| self.of(object).is_some())
    }

    /// The drawing's text with names instead of identities.
    pub fn text(&self, drawing: &Drawing) -> String {
        let mut text = drawing.dot.clone();
        for (id, name) in &self.0 {
            text = text.replace(&format!("o{id}"), &format!("o_{name}"));
        }
        let mut parts = text.split("0x");
        let mut plain = parts.next().unwrap_or("").to_owned();
        for part in parts {
            plain += "0x…";
            plain += part.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        }
        plain
    }

    /// Names of a chain's objects.
    pub fn chain(&self, chain: &[Gc<Erased>]) -> String {
        let names: Vec<_> = chain.iter().filter_map(|object| self.of(object)).collect();
        assert_eq!(names.len(), chain.len());
        names.join(" ")
    }
}

/// The scene `containers` of the recorder.
pub struct Containers {
    pub one: Value,
    pub half: Value,
    pub text: Value,
    pub leaf: Value,
    pub pair: Value,
    pub table: Value,
    pub group: Value,
    pub none: Value,
    pub root: Value,
}

impl Containers {
    pub fn new(python: &Python) -> Self {
        let (one, half) = (python.int(1000), python.float(0.5));
        let text = Value::Str(python.intern("text"));
        let leaf = python.list(vec![one.clone()]);
        let pair = python.tuple(vec![leaf.clone(), one.clone()]);
        let none = python.none();
        let table = dict(
            python,
            vec![
                (python.str("leaf"), leaf.clone()),
                (python.int(3), pair.clone()),
                (python.str("not a name"), leaf.clone()),
                (python.tuple(vec![python.str("t")]), text.clone()),
                (python.str("again"), leaf.clone()),
                (python.float(2.5), none.clone()),
            ],
        );
        let group = python.set();
        if let Value::Set(set) = &group {
            set.insert(one.clone()).unwrap();
            set.insert(half.clone()).unwrap();
        }
        let root = vec![table.clone(), group.clone(), pair.clone(), leaf.clone()];
        let root = python.list(root);
        Self {
            one,
            half,
            text,
            leaf,
            pair,
            table,
            group,
            none,
            root,
        }
    }

    pub fn names(&self) -> Names {
        let Self {
            one,
            half,
            text,
            leaf,
            pair,
            table,
            group,
            none,
            root,
        } = self;
        let named = [
            ("one", one),
            ("half", half),
            ("text", text),
            ("leaf", leaf),
            ("pair", pair),
            ("table", table),
            ("group", group),
            ("none", none),
            ("root", root),
        ];
        let named = named.map(|(name, value)| (name, value.erased()));
        Names::new(&named.each_ref().map(|(name, object)| (*name, object)))
    }
}

/// A dictionary of pairs.
pub fn dict(python: &Python, pairs: Vec<(Value, Value)>) -> Value {
    let dict = python.dict();
    if let Value::Dict(dict) = &dict {
        for (key, value) in pairs {
            pymalloc::python::Dict::insert(dict, key, value).unwrap();
        }
    }
    dict
}
