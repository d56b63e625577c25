//! `report dhat`: version 2 of the JSON that Valgrind's `dh_view.html` opens. Its times are in microseconds.

use super::named::Named;
use super::usage::{Measure, Profile};
use serde_json::{Value, json};

/// Microseconds in a millisecond.
const US: u64 = 1000;

/// The file.
pub fn dhat(profile: &Profile, named: &Named) -> Value {
    let (contents, usage) = (&profile.contents, &profile.usage);
    let points: Vec<Value> = named
        .stacks
        .iter()
        .map(|stack| {
            let uses = &stack.uses;
            let (total, peak) = (uses.of(Measure::Total), uses.of(Measure::Peak));
            let end = uses.of(Measure::Leaks);
            // The innermost call comes first; the table's first entry is the root.
            let frames = stack.frames.iter().rev().map(|call| call + 1);
            json!({
                "tb": total.bytes, "tbk": total.blocks,
                "tl": uses.lifetimes_ms * US,
                "mb": uses.most.bytes, "mbk": uses.most.blocks,
                "gb": peak.bytes, "gbk": peak.blocks,
                "eb": end.bytes, "ebk": end.blocks,
                "fs": frames.collect::<Vec<_>>(),
            })
        })
        .collect();
    let mut table = vec!["[root]".to_owned()];
    table.extend(
        named
            .frames
            .iter()
            .map(|frame| format!("{} ({})", frame.function, frame.place())),
    );
    let words = contents.tables.arguments.iter();
    let line: Vec<_> = words.map(|word| String::from_utf8_lossy(word)).collect();
    json!({
        "dhatFileVersion": 2,
        "mode": "heap",
        "verb": "Allocated",
        "bklt": true,
        "bkacc": false,
        "tu": "µs",
        "Mtu": "s",
        "tuth": 10,
        "cmd": line.join(" "),
        "pid": contents.header.pid,
        "tg": usage.peak.time_ms * US,
        "te": contents.duration_ms * US,
        "pps": points,
        "ftbl": table,
    })
}
