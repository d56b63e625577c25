//! `report speedscope`: the JSON that speedscope.app opens, one profile per measure.

use super::named::Named;
use super::table::title;
use super::usage::{Measure, Sum};
use serde_json::{Value, json};

/// The file.
pub fn speedscope(named: &Named, name: &str) -> Value {
    let frames: Vec<Value> = named
        .frames
        .iter()
        .map(|frame| match frame.line {
            0 => json!({ "name": frame.function, "file": &*frame.module }),
            line => json!({ "name": frame.function, "file": frame.file, "line": line }),
        })
        .collect();
    let profiles: Vec<Value> = Measure::ALL
        .into_iter()
        .map(|measure| sampled(named, measure))
        .collect();
    json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": concat!("pymalloc ", env!("CARGO_PKG_VERSION")),
        "name": name,
        "activeProfileIndex": 0,
        "shared": { "frames": frames },
        "profiles": profiles,
    })
}

fn sampled(named: &Named, measure: Measure) -> Value {
    let with_sum = |stack: &&super::named::NamedStack| stack.uses.of(measure) != Sum::default();
    let stacks: Vec<_> = named.stacks.iter().filter(with_sum).collect();
    let samples: Vec<_> = stacks.iter().map(|stack| &stack.frames).collect();
    let bytes = stacks.iter().map(|stack| stack.uses.of(measure).bytes);
    json!({
        "type": "sampled",
        "name": title(measure),
        "unit": "bytes",
        "startValue": 0,
        "endValue": named.sum(measure).bytes,
        "samples": samples,
        "weights": bytes.collect::<Vec<_>>(),
    })
}
