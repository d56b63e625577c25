//! `report summary`: one page about a recording.

use super::named::Named;
use super::table::{blocks, percent, table};
use super::usage::{Measure, Profile, SIZE_CLASSES, Sum};
use crate::recording::format::Ending;
use crate::recording::read::End;
use crate::units::{bytes, count};
use std::fmt::Write;

/// Rows of the table of places.
const PLACES: usize = 8;

/// What was recorded and how it ended, the sums, the sizes, the threads, the greatest places.
pub fn summary(profile: &Profile, named: Option<&Named>) -> String {
    let (contents, usage) = (&profile.contents, &profile.usage);
    let mut text = String::new();
    let words = contents.tables.arguments.iter();
    let line: Vec<_> = words.map(|word| String::from_utf8_lossy(word)).collect();
    let _ = writeln!(text, "{} (process {})", line.join(" "), contents.header.pid);
    let _ = writeln!(
        text,
        "{} events in {:.3} s, {} bytes of recording ({:.1} per event); {}",
        count(usage.events),
        contents.duration_ms as f64 / 1000.0,
        count(contents.bytes),
        contents.bytes as f64 / usage.events.max(1) as f64,
        ended(contents.end)
    );
    if contents.header.sample_bytes > 0 {
        let _ = writeln!(
            text,
            "a sample of one block in {}; the sums are what it stands for",
            bytes(contents.header.sample_bytes)
        );
    }
    let total = total(profile);
    let temporary = profile_sum(profile, Measure::Temporary);
    let _ = writeln!(text);
    let _ = writeln!(
        text,
        "  high-water mark    {} in {}, after {:.3} s",
        bytes(usage.peak.live.bytes),
        blocks(usage.peak.live),
        usage.peak.time_ms as f64 / 1000.0
    );
    let _ = writeln!(
        text,
        "  allocated          {} in {}",
        bytes(total.bytes),
        blocks(total)
    );
    if contents.header.sample_bytes == 0 {
        let _ = writeln!(
            text,
            "  temporary          {} ({:.1} % of all blocks)",
            blocks(temporary),
            percent(temporary.blocks, total.blocks)
        );
    }
    let _ = writeln!(text, "  resized            {} times", count(usage.resizes));
    let _ = writeln!(
        text,
        "  live at the end    {} in {}",
        bytes(usage.live.bytes),
        blocks(usage.live)
    );
    sizes(&mut text, &usage.sizes, total);
    threads(&mut text, profile);
    if let Some(named) = named {
        let _ = write!(text, "\n{}", table(named, Measure::Peak, PLACES));
    }
    text
}

fn total(profile: &Profile) -> Sum {
    profile_sum(profile, Measure::Total)
}

fn profile_sum(profile: &Profile, measure: Measure) -> Sum {
    let mut sum = Sum::default();
    for stack in &profile.usage.stacks {
        sum.add_all(stack.of(measure));
    }
    sum
}

/// How a recording ended, in words.
pub fn ended(end: End) -> String {
    match end {
        End::Whole(Ending::Exit) => "whole".to_owned(),
        End::Whole(Ending::Limit) => "ended at its size limit".to_owned(),
        End::Whole(Ending::Stopped) => "ended by the program".to_owned(),
        End::Whole(Ending::Refused) => "ended early: the disk was full".to_owned(),
        End::Open => "without an end: the process was killed or still runs".to_owned(),
        End::Cut(rest) => format!("cut off: {rest} bytes at the end are not readable"),
        End::Damaged(rest) => format!("damaged: the last {rest} bytes are not read"),
    }
}

fn sizes(text: &mut String, sizes: &[Sum; SIZE_CLASSES], total: Sum) {
    /// Columns of the longest bar.
    const BAR: u64 = 40;
    let most = sizes.iter().map(|sum| sum.blocks).max().unwrap_or(0).max(1);
    let _ = writeln!(text, "\nblocks by size");
    for (class, sum) in sizes.iter().enumerate().filter(|(_, sum)| sum.blocks > 0) {
        let up_to = match class {
            64 => u64::MAX,
            _ => (1 << class) - 1,
        };
        let bar = "█".repeat((sum.blocks * BAR).div_ceil(most) as usize);
        let _ = writeln!(
            text,
            "  to {:>10} {:>5.1}% {:>13}  {bar}",
            bytes(up_to),
            percent(sum.blocks, total.blocks),
            count(sum.blocks)
        );
    }
}

fn threads(text: &mut String, profile: &Profile) {
    /// Threads shown.
    const SHOWN: usize = 8;
    let threads = &profile.usage.threads;
    if threads.len() < 2 {
        return;
    }
    let _ = writeln!(text, "\n{} threads", threads.len());
    let mut order: Vec<_> = threads.iter().enumerate().collect();
    order.sort_by_key(|(_, thread)| std::cmp::Reverse(thread.made.blocks));
    for (number, thread) in order.into_iter().take(SHOWN) {
        let _ = writeln!(
            text,
            "  thread {number:<4} made {:>13} ({}), freed {:>13}, {} of them another thread's",
            count(thread.made.blocks),
            bytes(thread.made.bytes),
            count(thread.freed),
            count(thread.freed_of_others)
        );
    }
}
