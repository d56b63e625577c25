//! What events refer to: stacks, modules, names.
//!
//! Each log numbers what it defines on its own. Here the same stack of two logs is one, and so is the same module.

use std::collections::HashMap;

/// Executable memory and the file behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Module {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// Where in the file `start` stands, in bytes.
    pub file_offset: u64,
    /// The file; empty for memory without one.
    pub path: Vec<u8>,
}

impl Module {
    fn holds(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }
}

/// A frame, the one outside it, and the module that held it (I4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    parent: u32,
    frame: u64,
    module: Option<u32>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Node `n` is at `n - 1`.
    nodes: Vec<Node>,
    node_numbers: HashMap<Node, u32>,
    /// Modules in the order of their definition.
    pub modules: Vec<Module>,
    module_numbers: HashMap<Module, u32>,
    /// Path of the executable.
    pub program: Vec<u8>,
    /// The command line.
    pub arguments: Vec<Vec<u8>>,
    /// Names of marks.
    pub marks: Vec<String>,
}

impl Tables {
    /// Number of nodes; stacks are numbered from 1 to it.
    pub fn n_nodes(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// Frames of a stack, innermost first, each with the number of its node: addresses to which calls return.
    /// None for stack 0.
    pub fn stack(&self, number: u32) -> impl Iterator<Item = (u32, u64)> {
        let node = |number: u32| Some((number, *self.get(number)?));
        // A parent is defined before its child, so the way ends.
        std::iter::successors(node(number), move |(_, inner)| node(inner.parent))
            .map(|(number, node)| (number, node.frame))
    }

    /// The module of node `number`, if it holds `address`, and its place among all.
    pub fn module_of(&self, address: u64, number: u32) -> Option<(usize, &Module)> {
        let index = self.get(number)?.module? as usize;
        let module = self.modules.get(index)?;
        module.holds(address).then_some((index, module))
    }

    fn get(&self, number: u32) -> Option<&Node> {
        self.nodes.get((number as usize).checked_sub(1)?)
    }

    /// The frame of a node; 0 at the root.
    pub(super) fn frame(&self, number: u32) -> u64 {
        self.get(number).map_or(0, |node| node.frame)
    }

    /// The node of `frame` below `parent`, by a log that has defined `modules`.
    pub(super) fn node(&mut self, parent: u32, frame: u64, modules: &[u32]) -> u32 {
        let holds = |number: &&u32| {
            let module = self.modules.get(**number as usize);
            module.is_some_and(|module| module.holds(frame))
        };
        let module = modules.iter().rev().find(holds).copied();
        let node = Node {
            parent,
            frame,
            module,
        };
        *self.node_numbers.entry(node).or_insert_with(|| {
            self.nodes.push(node);
            self.nodes.len() as u32
        })
    }

    /// The place of a module.
    pub(super) fn module(&mut self, start: u64, end: u64, file_offset: u64, path: Vec<u8>) -> u32 {
        let module = Module {
            start,
            end,
            file_offset,
            path,
        };
        *self
            .module_numbers
            .entry(module)
            .or_insert_with_key(|module| {
                self.modules.push(module.clone());
                self.modules.len() as u32 - 1
            })
    }

    pub(super) fn mark(&mut self, name: &[u8]) -> u32 {
        let name = String::from_utf8_lossy(name);
        let known = self.marks.iter().position(|mark| *mark == name);
        known.unwrap_or_else(|| {
            self.marks.push(name.into_owned());
            self.marks.len() - 1
        }) as u32
    }
}
