//! `report table`, `temporary` and `diff`: one row per place in the source.

use super::named::Named;
use super::usage::{Measure, Sum};
use crate::units::{bytes, count};
use std::collections::HashMap;
use std::fmt::Write;

/// The places with the greatest sums, at most `limit`.
pub fn table(named: &Named, measure: Measure, limit: usize) -> String {
    let all = named.sum(measure);
    let rows = named.by_site(measure);
    let mut text = String::new();
    let title = title(measure);
    let _ = writeln!(text, "{title}: {} in {}", bytes(all.bytes), blocks(all));
    let _ = writeln!(text, "{:>11} {:>6} {:>11}  place", "bytes", "", "blocks");
    for (number, sum) in rows.iter().take(limit) {
        let frame = named.frame(*number);
        let _ = writeln!(
            text,
            "{:>11} {:>5.1}% {:>11}  {}  {}",
            bytes(sum.bytes),
            percent(sum.bytes, all.bytes),
            count(sum.blocks),
            frame.function,
            frame.place()
        );
    }
    rest(&mut text, rows.len(), limit);
    text
}

/// What a measure is called above its rows.
pub fn title(measure: Measure) -> &'static str {
    match measure {
        Measure::Peak => "live at the high-water mark",
        Measure::Leaks => "live at the end",
        Measure::Total => "allocated in total",
        Measure::Temporary => "allocated and freed soon after",
    }
}

fn rest(text: &mut String, n: usize, limit: usize) {
    if n > limit {
        let _ = writeln!(text, "… and {} more places (--limit N)", n - limit);
    }
}

/// `1 block`, `2,000 blocks`.
pub fn blocks(sum: Sum) -> String {
    let plural = if sum.blocks == 1 { "" } else { "s" };
    format!("{} block{plural}", count(sum.blocks))
}

/// `part` of `whole` in percent; 0 of nothing.
pub fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        _ => 100.0 * part as f64 / whole as f64,
    }
}

/// How the sums of two recordings differ, the greatest difference first.
pub fn diff(old: &Named, new: &Named, measure: Measure, limit: usize) -> String {
    let key = |named: &Named, number: u32| {
        let frame = named.frame(number);
        (frame.function.clone(), frame.place())
    };
    let mut rows: HashMap<(String, String), (Sum, Sum)> = HashMap::new();
    for (number, sum) in old.by_site(measure) {
        rows.entry(key(old, number)).or_default().0.add_all(sum);
    }
    for (number, sum) in new.by_site(measure) {
        rows.entry(key(new, number)).or_default().1.add_all(sum);
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.retain(|(_, (before, after))| before != after);
    rows.sort_by(|(left, l), (right, r)| {
        let weight = |(before, after): &(Sum, Sum)| after.bytes.abs_diff(before.bytes);
        weight(r).cmp(&weight(l)).then(left.cmp(right))
    });
    let (before, after) = (old.sum(measure), new.sum(measure));
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}: {} before, {} after ({})",
        title(measure),
        bytes(before.bytes),
        bytes(after.bytes),
        change(before.bytes, after.bytes, bytes)
    );
    let _ = writeln!(
        text,
        "{:>12} {:>12} {:>11}  place",
        "change", "blocks", "now"
    );
    for ((function, place), (before, after)) in rows.iter().take(limit) {
        let _ = writeln!(
            text,
            "{:>12} {:>12} {:>11}  {function}  {place}",
            change(before.bytes, after.bytes, bytes),
            change(before.blocks, after.blocks, count),
            bytes(after.bytes)
        );
    }
    rest(&mut text, rows.len(), limit);
    text
}

/// A difference with its sign.
fn change(before: u64, after: u64, show: impl Fn(u64) -> String) -> String {
    let sign = if after < before { '-' } else { '+' };
    format!("{sign}{}", show(after.abs_diff(before)))
}
