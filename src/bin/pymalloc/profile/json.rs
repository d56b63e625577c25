//! `report json`: everything a recording says, for programs.

use super::named::Named;
use super::summary::ended;
use super::usage::{Measure, Moment, Profile, Sum};
use serde_json::{Map, Value, json};

/// The whole profile.
pub fn json(profile: &Profile, named: &Named) -> Value {
    let (contents, usage) = (&profile.contents, &profile.usage);
    let words = contents.tables.arguments.iter();
    let frames = named.frames.iter().map(|frame| {
        json!({
            "function": frame.function,
            "file": frame.file,
            "line": frame.line,
            "module": &*frame.module,
        })
    });
    let stacks = named.stacks.iter().map(|stack| {
        let sums = Measure::ALL.into_iter();
        let mut value: Map<String, Value> = sums
            .map(|measure| (measure.name().to_owned(), sum(stack.uses.of(measure))))
            .collect();
        value.insert("frames".to_owned(), json!(stack.frames));
        Value::Object(value)
    });
    let threads = usage.threads.iter().map(|thread| {
        json!({
            "made": sum(thread.made),
            "freed": thread.freed,
            "freed_of_others": thread.freed_of_others,
        })
    });
    let marks = usage.marks.iter().map(|mark| {
        json!({
            "kind": format!("{:?}", mark.kind).to_lowercase(),
            "name": contents.tables.marks.get(mark.name as usize),
            "thread": mark.thread,
            "at": moment(mark.moment),
        })
    });
    json!({
        "format": "pymalloc-profile 1",
        "command": words.map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>(),
        "program": String::from_utf8_lossy(&contents.tables.program),
        "sample_bytes": contents.header.sample_bytes,
        "pid": contents.header.pid,
        "start_unix_ms": contents.header.start_unix_ms,
        "duration_ms": contents.duration_ms,
        "events": usage.events,
        "recording_bytes": contents.bytes,
        "end": ended(contents.end),
        "peak": moment(usage.peak),
        "live": sum(usage.live),
        "resizes": usage.resizes,
        "unknown_frees": usage.unknown_frees,
        "sizes": usage.sizes.iter().map(|of| sum(*of)).collect::<Vec<_>>(),
        "threads": threads.collect::<Vec<_>>(),
        "marks": marks.collect::<Vec<_>>(),
        "timeline": usage.timeline.iter().map(|at| moment(*at)).collect::<Vec<_>>(),
        "frames": frames.collect::<Vec<_>>(),
        "stacks": stacks.collect::<Vec<_>>(),
    })
}

fn sum(sum: Sum) -> Value {
    json!({ "blocks": sum.blocks, "bytes": sum.bytes })
}

fn moment(moment: Moment) -> Value {
    json!({
        "time_ms": moment.time_ms,
        "blocks": moment.live.blocks,
        "bytes": moment.live.bytes,
        "arenas": moment.arenas,
    })
}
