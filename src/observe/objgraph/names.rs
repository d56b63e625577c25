//! What objects are called: short and long names of their types.
//!
//! | object | short | long |
//! |---|---|---|
//! | value of a Rust type | `Node<String>` | `shop::Node<alloc::string::String>` |
//! | of a type with a [`View`](super::View) that says `shop::Node` | `Node` | `shop::Node` |
//! | one of Python's built-in kinds | `list` | `builtins.list` |
//! | weak reference | `ReferenceType` | `weakref.ReferenceType` |
//! | instance of a class `shop.Node` | `Node` | `shop.Node` |

use super::{python, view};
use crate::object::{Erased, Gc};
use std::collections::HashMap;

/// Which names are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Without modules: types of one name in different modules are one.
    #[default]
    Short,
    /// With them.
    Long,
}

impl Names {
    /// Names of the form `wanted` has: with a dot or `::` in it, long ones.
    pub fn like(wanted: &str) -> Self {
        match wanted.contains('.') || wanted.contains("::") {
            true => Self::Long,
            false => Self::Short,
        }
    }

    /// The name of an object's type.
    pub fn of(self, object: &Gc<Erased>) -> String {
        let long = view::type_name(object).or_else(|| python::type_name(object));
        let long = long.unwrap_or_else(|| Gc::type_name(object).to_owned());
        match self {
            Self::Long => long,
            Self::Short => without_modules(&long),
        }
    }
}

/// What decides the name of an object's type, cheaper than the name: its type, and an instance's class.
#[derive(PartialEq, Eq, Hash)]
struct Key(usize, usize);

/// Names that were asked for already.
#[derive(Default)]
pub struct Known {
    names: Names,
    known: HashMap<Key, usize>,
    /// Each name once, in the order they came.
    pub all: Vec<String>,
}

impl Known {
    /// Knows no name.
    pub fn new(names: Names) -> Self {
        Self {
            names,
            ..Self::default()
        }
    }

    /// The index of the name of an object's type in `all`.
    pub fn index(&mut self, object: &Gc<Erased>) -> usize {
        let info = object.info();
        let key = Key((&raw const *info).addr(), python::class_id(object));
        if let Some(index) = self.known.get(&key) {
            return *index;
        }
        let name = self.names.of(object);
        let same = self.all.iter().position(|known| *known == name);
        let index = same.unwrap_or_else(|| {
            self.all.push(name);
            self.all.len() - 1
        });
        self.known.insert(key, index);
        index
    }
}

/// A type's name without the modules of each type in it.
pub fn without_modules(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    // Where the path that is being read begins in `short`.
    let mut path = 0;
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("::") {
            short.truncate(path);
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        if c == '.' {
            // A module of Python's.
            short.truncate(path);
            continue;
        }
        short.push(c);
        if !(c.is_alphanumeric() || matches!(c, '_' | '{' | '}' | '#')) {
            path = short.len();
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::without_modules;

    #[test]
    fn modules_are_left_out_of_every_type_in_a_name() {
        for (long, short) in [
            ("u32", "u32"),
            ("shop::goods::Node", "Node"),
            ("shop::Node<alloc::string::String>", "Node<String>"),
            (
                "core::cell::RefCell<alloc::vec::Vec<(u8, a::B, [c::D; 3])>>",
                "RefCell<Vec<(u8, B, [D; 3])>>",
            ),
            ("&dyn core::fmt::Debug", "&dyn Debug"),
            ("a::f::{{closure}}", "{{closure}}"),
            ("builtins.list", "list"),
            ("pkg.shop.Node", "Node"),
        ] {
            assert_eq!(without_modules(long), short);
        }
    }
}
