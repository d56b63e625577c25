//! Samples stand for what was not sampled, at the place where it was allocated.

use crate::fixture::{Run, built_with, line_of, pymalloc, report};
use serde_json::Value;
use std::collections::HashMap;

/// Blocks and bytes by the line of `sampled.c` that made them.
fn by_line(profile: &Value, measure: &str) -> HashMap<u64, (f64, f64)> {
    let frames = profile["frames"].as_array().expect("frames");
    let mut sums: HashMap<u64, (f64, f64)> = HashMap::new();
    for stack in profile["stacks"].as_array().expect("stacks") {
        let calls = stack["frames"].as_array().expect("calls");
        let frame = |number: &Value| &frames[number.as_u64().expect("a number") as usize];
        let own = |call: &&Value| {
            call["file"]
                .as_str()
                .is_some_and(|f| f.ends_with("sampled.c"))
        };
        let Some(call) = calls.iter().rev().map(frame).find(own) else {
            continue;
        };
        let sum = sums
            .entry(call["line"].as_u64().expect("a line"))
            .or_default();
        sum.0 += stack[measure]["blocks"].as_f64().expect("blocks");
        sum.1 += stack[measure]["bytes"].as_f64().expect("bytes");
    }
    sums
}

#[test]
fn a_sample_stands_for_the_whole() {
    let options = ["-O1", "-g", "-fno-inline", "-fno-builtin", "-pthread"];
    let program = built_with("sampled", "sampled.c", &options);
    let words = ["profile", "--sample", "64K"];
    let run = Run::with("sampled", &words, &program, &[], |_| {});
    run.succeeds();
    let profile: Value = serde_json::from_str(&report(&["json"], &run.path)).expect("JSON");
    let (live, total) = (by_line(&profile, "leaks"), by_line(&profile, "total"));
    let at = |sums: &HashMap<u64, (f64, f64)>, comment: &str| {
        let line = line_of("sampled.c", comment) as u64;
        sums.get(&line).copied().unwrap_or_default()
    };
    let about = |found: f64, expected: f64, part: f64| {
        assert!(
            (found / expected - 1.0).abs() < part,
            "{found} for {expected}"
        );
    };
    // 9.6 MB in 146 samples, 60 MB in 940, 96 MB in 1,460: five standard deviations.
    about(at(&live, "SMALL").0, 200_000.0, 0.42);
    about(at(&live, "SMALL").1, 9.6e6, 0.42);
    about(at(&live, "LARGE").1, 60e6, 0.17);
    // 18 MB in 290; `calloc` asks the heap each time, whatever the list has.
    about(at(&live, "CLEARED").1, 18e6, 0.3);
    about(at(&total, "CHURN").0, 2e6, 0.14);
    about(at(&total, "HUGE").0, 200_000.0, 0.03);
    // What is freed is seen to be, but for what waits in two threads' buffers.
    assert!(
        at(&live, "CHURN").0 <= 2.0 * 1366.0,
        "{:?}",
        at(&live, "CHURN")
    );
    assert!(at(&live, "HUGE").0 <= 2.0, "{:?}", at(&live, "HUGE"));
    assert!(profile["events"].as_u64().is_some_and(|n| n < 3_000_000));
}

#[test]
fn what_needs_every_block_says_so() {
    let program = crate::fixture::leak();
    let words = ["profile", "--sample", "1K"];
    let run = Run::with("sampled_why", &words, &program, &[], |_| {});
    run.succeeds();
    let text = report(&["summary"], &run.path);
    assert!(text.contains("a sample of one block in 1.0 KiB"), "{text}");
    for line in [&["why"][..], &["report", "temporary"]] {
        let output = pymalloc(line).arg(&run.path).output().expect("runs");
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("made without --sample"), "{said}");
    }
}
