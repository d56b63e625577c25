//! `pymalloc live`: a recording in the terminal, again and again.

use crate::args::Live;
use crate::failure::Failure;
use crate::follow::Watched;
use crate::profile::table::{blocks, percent};
use crate::profile::usage::{Measure, Moment};
use crate::units::{bytes, count};
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Columns of the curve.
const COLUMNS: usize = 60;

/// Clears the screen and goes to its first place.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Shows the recording until it ends.
pub fn live(options: &Live) -> Result<i32, Failure> {
    let mut watched = Watched::open(&options.file)?;
    loop {
        let is_over = watched.is_over();
        watched.poll()?;
        let page = page(&mut watched, options.limit);
        let clear = if options.once { "" } else { CLEAR };
        let mut out = io::stdout().lock();
        let written = write!(out, "{clear}{page}").and_then(|()| out.flush());
        written.map_err(Failure::Output)?;
        if options.once || is_over {
            return Ok(0);
        }
        std::thread::sleep(options.interval);
    }
}

/// One page about now.
fn page(watched: &mut Watched, limit: usize) -> String {
    let named = watched.named();
    let usage = &watched.usage;
    let resident = match watched.resident_bytes() {
        Some(resident) => format!("{} resident", bytes(resident)),
        None => "ended".to_owned(),
    };
    let mut text = format!(
        "{} (process {})\n{:.1} s, {} events; {resident}\n\n",
        watched.command_line(),
        watched.follower.header().pid,
        watched.follower.merged().time_ms() as f64 / 1000.0,
        count(usage.events)
    );
    let arenas = usage.timeline.last().map_or(0, |moment| moment.arenas);
    let _ = writeln!(
        text,
        "live {} in {}, in {} arenas; at most {}",
        bytes(usage.live.bytes),
        blocks(usage.live),
        count(arenas),
        bytes(usage.peak.live.bytes)
    );
    let _ = writeln!(text, "{}\n", curve(&usage.timeline));
    let _ = writeln!(text, "{:>11} {:>6} {:>11}  place", "live now", "", "blocks");
    for (number, sum) in named.by_site(Measure::Leaks).iter().take(limit) {
        let frame = named.frame(*number);
        let _ = writeln!(
            text,
            "{:>11} {:>5.1}% {:>11}  {}  {}",
            bytes(sum.bytes),
            percent(sum.bytes, usage.live.bytes),
            count(sum.blocks),
            frame.function,
            frame.place()
        );
    }
    text
}

/// Live bytes over time, in one line: the most of each part.
fn curve(timeline: &[Moment]) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let end = timeline.last().map_or(0, |moment| moment.time_ms) + 1;
    let mut most = [0; COLUMNS];
    for moment in timeline {
        let column = (moment.time_ms * COLUMNS as u64 / end) as usize;
        most[column] = moment.live.bytes.max(most[column]);
    }
    // A part without an event is as the one before.
    for column in 1..COLUMNS {
        if most[column] == 0 {
            most[column] = most[column - 1];
        }
    }
    let greatest = most.iter().max().copied().unwrap_or(0).max(1);
    let bar = |bytes: &u64| BARS[(bytes * 8).div_ceil(greatest) as usize];
    most.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::usage::Sum;

    #[test]
    fn the_curve_fills_its_line() {
        let moment = |time_ms, bytes| Moment {
            time_ms,
            live: Sum { blocks: 1, bytes },
            arenas: 1,
        };
        let drawn = curve(&[moment(0, 50), moment(599, 100)]);
        assert_eq!(drawn.chars().count(), COLUMNS);
        assert!(drawn.starts_with('▄') && drawn.ends_with('█'), "{drawn}");
        assert_eq!(curve(&[]).trim(), "");
    }
}
