//! Calls as a tree, and `report tree`.

use super::named::Named;
use super::table::{blocks, percent, title};
use super::usage::{Measure, Sum};
use crate::units::bytes;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A call and what was asked for below it.
#[derive(Debug, Default)]
pub struct Node {
    /// Its own sum and that of all calls it made.
    pub sum: Sum,
    /// The part that no call below has.
    pub own: Sum,
    /// Calls made from here.
    pub children: BTreeMap<u32, Node>,
}

impl Node {
    /// The tree of all stacks, its root being no call.
    pub fn root(named: &Named, measure: Measure) -> Self {
        let mut root = Self::default();
        for stack in &named.stacks {
            let sum = stack.uses.of(measure);
            if sum != Sum::default() {
                root.add(&stack.frames, sum);
            }
        }
        root
    }

    fn add(&mut self, frames: &[u32], sum: Sum) {
        let mut node = self;
        node.sum.add_all(sum);
        for frame in frames {
            node = node.children.entry(*frame).or_default();
            node.sum.add_all(sum);
        }
        node.own.add_all(sum);
    }

    /// The calls from here, the greatest first.
    pub fn by_size(&self) -> Vec<(u32, &Node)> {
        let mut children: Vec<_> = self
            .children
            .iter()
            .map(|(call, node)| (*call, node))
            .collect();
        children.sort_by_key(|(call, node)| (std::cmp::Reverse(node.sum.bytes), *call));
        children
    }
}

/// The tree as text: calls below `least` percent of all are left out.
pub fn tree(named: &Named, measure: Measure, least: f64) -> String {
    let root = Node::root(named, measure);
    let mut text = format!(
        "{}: {} in {}\n",
        title(measure),
        bytes(root.sum.bytes),
        blocks(root.sum)
    );
    // Not by recursion: a stack may be as deep as it likes.
    let mut open: Vec<(u32, &Node, String)> = Vec::new();
    push(&mut open, &root, "", root.sum.bytes, least);
    while let Some((call, node, indent)) = open.pop() {
        let frame = named.frame(call);
        let _ = writeln!(
            text,
            "{:>11} {:>5.1}%  {indent}{}  {}",
            bytes(node.sum.bytes),
            percent(node.sum.bytes, root.sum.bytes),
            frame.function,
            frame.place()
        );
        // A call that only passes on does not move its callee to the right.
        let passes = node.children.len() == 1 && node.own == Sum::default();
        let indent = if passes { indent } else { indent + "  " };
        push(&mut open, node, &indent, root.sum.bytes, least);
    }
    text
}

/// Puts the calls from `node` on the pile, so that the greatest is taken first.
fn push<'a>(
    open: &mut Vec<(u32, &'a Node, String)>,
    node: &'a Node,
    indent: &str,
    all: u64,
    least: f64,
) {
    for (call, child) in node.by_size().into_iter().rev() {
        if percent(child.sum.bytes, all) >= least {
            open.push((call, child, indent.to_owned()));
        }
    }
}
