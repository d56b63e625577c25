//! `report leaks`: what lived at the end, by the stack that made it.

use super::named::Named;
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
        let site = named.site(stack);
        for number in stack.frames.iter().rev().take(SHOWN) {
            let frame = named.frame(*number);
            let arrow = if *number == site { "→" } else { " " };
            let _ = writeln!(text, "  {arrow} {}  {}", frame.function, frame.place());
        }
        if stack.frames.len() > SHOWN {
            let _ = writeln!(text, "    … {} more calls", stack.frames.len() - SHOWN);
        }
    }
    if stacks.len() > limit {
        let _ = writeln!(text, "\n… and {} more stacks (--limit N)", stacks.len() - limit);
    }
    text
}
