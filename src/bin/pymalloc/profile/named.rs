//! The stacks of a profile with names in the place of addresses.

use super::symbols::{Frame, Symbols};
use super::usage::{Measure, Profile, StackUse, Sum, Usage};
use crate::recording::tables::Tables;
use std::collections::HashMap;

/// A stack by the numbers of its calls.
#[derive(Clone, Debug)]
pub struct NamedStack {
    /// Its numbers in the recording: stacks that differ only in what has no name are one.
    pub numbers: Vec<u32>,
    /// Indices into [`Named::frames`], outermost first.
    pub frames: Vec<u32>,
    /// What it asked for.
    pub uses: StackUse,
}

/// All stacks that asked for anything.
#[derive(Debug, Default)]
pub struct Named {
    /// Each call once.
    pub frames: Vec<Frame>,
    /// The stacks, in the order they were met.
    pub stacks: Vec<NamedStack>,
}

/// What is shown for blocks without a stack.
pub const NO_STACK: &str = "(no stack)";

impl Named {
    /// Looks every address up. Slow: debug information is read here.
    pub fn new(profile: &Profile) -> Self {
        let tables = &profile.contents.tables;
        Self::of(&profile.usage, tables, &mut Symbols::default())
    }

    /// As [`Named::new`], of what was read so far, with names that are known already.
    pub fn of(usage: &Usage, tables: &Tables, symbols: &mut Symbols) -> Self {
        let mut named = Self::default();
        let mut numbers = HashMap::new();
        let mut places: HashMap<Vec<u32>, usize> = HashMap::new();
        for (number, uses) in (0..).zip(&usage.stacks) {
            if uses.of(Measure::Total) == Sum::default() {
                continue;
            }
            let mut calls = symbols.stack(tables, number);
            if calls.is_empty() {
                calls.push(Frame {
                    function: NO_STACK.to_owned(),
                    file: String::new(),
                    line: 0,
                    module: "".into(),
                });
            }
            let mut number_of = |call: Frame| {
                *numbers.entry(call).or_insert_with_key(|call| {
                    named.frames.push(call.clone());
                    named.frames.len() as u32 - 1
                })
            };
            let frames: Vec<u32> = calls.into_iter().map(&mut number_of).collect();
            let place = *places.entry(frames).or_insert_with_key(|frames| {
                named.stacks.push(NamedStack {
                    numbers: Vec::new(),
                    frames: frames.clone(),
                    uses: StackUse::default(),
                });
                named.stacks.len() - 1
            });
            let stack = &mut named.stacks[place];
            stack.numbers.push(number);
            stack.uses.add_all(uses);
        }
        named
    }

    /// The call of that number.
    pub fn frame(&self, number: u32) -> &Frame {
        &self.frames[number as usize]
    }

    /// The call that a reader looks for: the innermost one that is not a language's machinery and has a line,
    /// else the innermost that is not machinery, else the innermost.
    pub fn site(&self, stack: &NamedStack) -> u32 {
        let own = |number: &&u32| !self.frame(**number).is_machinery();
        let with_line = |number: &&u32| own(number) && self.frame(**number).line > 0;
        let inward = || stack.frames.iter().rev();
        let found = inward().find(with_line).or_else(|| inward().find(own));
        *found.or(stack.frames.last()).unwrap_or(&0)
    }

    /// Sums by site, the greatest first.
    pub fn by_site(&self, measure: Measure) -> Vec<(u32, Sum)> {
        let mut sums: HashMap<u32, Sum> = HashMap::new();
        for stack in &self.stacks {
            let sum = sums.entry(self.site(stack)).or_default();
            sum.add_all(stack.uses.of(measure));
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.retain(|(_, sum)| *sum != Sum::default());
        sums.sort_by_key(|(number, sum)| (std::cmp::Reverse((sum.bytes, sum.blocks)), *number));
        sums
    }

    /// The sum of all stacks.
    pub fn sum(&self, measure: Measure) -> Sum {
        let mut sum = Sum::default();
        for stack in &self.stacks {
            sum.add_all(stack.uses.of(measure));
        }
        sum
    }
}
