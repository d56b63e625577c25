//! `report leaks`: what lived at the end, by the stack that made it.

use super::named::{Named, NamedStack};
use super::table::blocks;
use super::usage::{Measure, Sum};
use crate::units::bytes;
use std::fmt::Write;

/// Calls shown of each stack.
const SHOWN: usize = 12;

/// The stacks with the most bytes, at most `limit`.
pub fn leaks(named: &Named, limit: usize) -> String {
    let mut stacks: Vec<_> = named
        .stacks
        .iter()
        .map(|stack| (stack.uses.of(Measure::Leaks), stack))
        .filter(|(sum, _)| *sum != Sum::default())
        .collect();
    stacks.sort_by_key(|(sum, _)| std::cmp::Reverse(sum.bytes));
    let all = named.sum(Measure::Leaks);
    let mut text = format!(
        "live at the end: {} in {}, from {} stacks\n",
        bytes(all.bytes),
        blocks(all),
        stacks.len()
    );
    for (sum, stack) in stacks.iter().take(limit) {
        let _ = writeln!(text, "\n{} in {}", bytes(sum.bytes), blocks(*sum));
        calls(&mut text, named, stack);
    }
    if stacks.len() > limit {
        let _ = writeln!(
            text,
            "\n… and {} more stacks (--limit N)",
            stacks.len() - limit
        );
    }
    text
}

/// The calls of a stack, innermost first, without those of a language's machinery that stand between.
fn calls(text: &mut String, named: &Named, stack: &NamedStack) {
    let site = named.site(stack);
    let is_shown = |(place, number): &(usize, &u32)| {
        *place == 0 || **number == site || !named.frame(**number).is_machinery()
    };
    let shown: Vec<_> = stack
        .frames
        .iter()
        .rev()
        .enumerate()
        .filter(is_shown)
        .collect();
    for (_, number) in shown.iter().take(SHOWN) {
        let frame = named.frame(**number);
        let arrow = if **number == site { "→" } else { " " };
        let _ = writeln!(text, "  {arrow} {}  {}", frame.function, frame.place());
    }
    if shown.len() > SHOWN {
        let _ = writeln!(text, "    … {} more calls", shown.len() - SHOWN);
    }
}
