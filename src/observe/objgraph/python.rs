//! What the object graph knows of Python's built-in kinds: names, reprs, labels, as in objgraph 3.7 on CPython
//! 3.11.

use super::view::{Label, SHORT_REPR, cut};
use crate::gc;
use crate::object::{Erased, Gc};
use crate::python::{Class, Dict, Instance, Value};
use core::fmt::Write;

/// Python's name of the type with its module; `None` when it is a type of Rust's.
pub fn type_name(object: &Gc<Erased>) -> Option<String> {
    if let Some(instance) = object.downcast_ref::<Instance>() {
        return Some(instance.class().name().to_owned());
    }
    if object.downcast_ref::<Class>().is_some() {
        return Some("builtins.type".to_owned());
    }
    if gc::referent_of_weak(object).is_some() {
        return Some("weakref.ReferenceType".to_owned());
    }
    Some(format!("builtins.{}", Value::of(object)?.kind()))
}

/// The identity of an instance's class; 0 for other objects.
pub fn class_id(object: &Gc<Erased>) -> usize {
    let instance = object.downcast_ref::<Instance>();
    instance.map_or(0, |instance| Gc::id(instance.class()))
}

/// How many items for a container, the name of a class, else the beginning of Python's `repr`.
pub fn repr(object: &Gc<Erased>) -> Option<String> {
    if let Some(class) = object.downcast_ref::<Class>() {
        return Some(super::names::without_modules(class.name()));
    }
    if let Some(referent) = gc::referent_of_weak(object) {
        return Some(weak_repr(object, referent));
    }
    let value = Value::of(object)?;
    let n_items = match &value {
        Value::Tuple(tuple) => tuple.items().len(),
        Value::List(list) => list.len(),
        Value::Dict(dict) => dict.len(),
        Value::Set(set) => set.len(),
        _ => return cut(SHORT_REPR, |out| write!(out, "{value}")).ok(),
    };
    Some(format!("{n_items} items"))
}

/// CPython's `weakref.__repr__`.
fn weak_repr(object: &Gc<Erased>, referent: Option<Gc<Erased>>) -> String {
    let mut repr = format!("<weakref at {:#x}; ", Gc::id(object));
    repr += &referent.map_or("dead>".to_owned(), |referent| {
        let name = super::Names::Short.of(&referent);
        format!("to '{name}' at {:#x}>", Gc::id(&referent))
    });
    repr.chars().take(SHORT_REPR).collect()
}

/// Whether an instance's class has a `__del__`; `None` when it is no instance.
pub fn has_finalizer(object: &Gc<Erased>) -> Option<bool> {
    let instance = object.downcast_ref::<Instance>()?;
    Some(instance.class().has_finalizer())
}

/// Whether what the object refers to is labelled by `label`, and not by the fields of a Rust type.
pub fn is_python(object: &Gc<Erased>) -> bool {
    object.downcast_ref::<Instance>().is_some() || Value::of(object).is_some()
}

/// The label of an edge from a dictionary: the first key of `target`.
///
/// Items of lists, tuples and sets have none, and neither have attributes: CPython 3.11 keeps them beside the
/// instance, where objgraph sees no name.
pub fn label(source: &Gc<Erased>, target: &Gc<Erased>, names: super::Names) -> Option<Label> {
    let dict = source.downcast_ref::<Dict>()?;
    let pairs = dict.to_vec();
    let (key, _) = pairs
        .iter()
        .find(|(_, value)| value.id() == Gc::id(target))?;
    Some(match key {
        Value::Str(text) if is_identifier(text.as_str()) => Label::name(text.as_str()),
        _ => {
            let key = key.erased();
            let repr = super::view::short_repr(&key);
            Label::text(format!("{}\n{repr}", names.of(&key)))
        }
    })
}

/// An ASCII identifier, as objgraph's pattern has it: a newline may follow.
fn is_identifier(text: &str) -> bool {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let mut chars = text.chars();
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    chars.next().is_some_and(is_start) && chars.all(|c| is_start(c) || c.is_ascii_digit())
}

/// Calls `f` on what the object owns and tracing does not report: keys that are texts.
pub fn for_each_untraced(object: &Gc<Erased>, mut f: impl FnMut(&Gc<Erased>)) {
    let mut key = |key: &Value| f(&key.erased());
    if let Some(dict) = object.downcast_ref::<Dict>() {
        dict.for_each_untraced_key(&mut key);
    }
    if let Some(instance) = object.downcast_ref::<Instance>() {
        instance.for_each_untraced_key(&mut key);
    }
}
