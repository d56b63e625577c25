//! What does a JSON document cost as a tree of values: parsed, changed, printed, dropped?

use super::text;
use crate::worker::meter::Meter;
use serde_json::Value;
use std::hint::black_box;

/// Records per document.
const RECORDS: usize = 2_000;

fn document(source: &str) -> Value {
    let mut value: Value = serde_json::from_str(source).expect("the generated document is JSON");
    for record in value.as_array_mut().expect("a list of records") {
        let name = format!("{} renamed", record["name"].as_str().expect("a name"));
        record["name"] = name.into();
        record["place"]
            .as_object_mut()
            .expect("a place")
            .remove("note");
    }
    black_box(value.to_string());
    value
}

fn documents(source: &str, n: u64) {
    // The last two stay live, as in a program that compares versions.
    let mut last = [Value::Null, Value::Null];
    for i in 0..n as usize {
        last[i % 2] = document(source);
    }
    black_box(last);
}

pub fn run(m: &mut Meter) -> Result<(), String> {
    let source = text::json(RECORDS);
    let n = m.pick(12, 120);
    m.time(n, || documents(source.as_str(), n));
    let live = document(source.as_str());
    m.live();
    drop(live);
    Ok(())
}

/// The same in all threads at once.
pub fn threads(m: &mut Meter) -> Result<(), String> {
    let source = text::json(RECORDS);
    let (n, threads) = (m.pick(8, 80), m.threads());
    m.time(n * threads as u64, || {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| documents(source.as_str(), n));
            }
        });
    });
    Ok(())
}
