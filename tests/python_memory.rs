//! The example `python_memory` beside CPython 3.11, which runs the snippets of the document it shows: every
//! `label => value` of one is said by the other.

use std::process::Command;

#[path = "../examples/python_memory.rs"]
mod example;

fn facts(text: &str) -> Vec<(&str, &str)> {
    let facts = text.lines().filter_map(|line| line.split_once(" => "));
    facts.map(|(label, value)| (label.trim(), value)).collect()
}

/// What CPython says of the snippets.
fn cpython() -> String {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/python_memory");
    let output = Command::new("python3.11")
        .args([
            "-I",
            &format!("{data}/check.py"),
            &format!("{data}/snippets.txt"),
        ])
        .output()
        .expect("python3.11 is there");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_example_says_what_cpython_says() {
    let mut ours = String::new();
    example::show(&mut ours).unwrap();
    let theirs = cpython();
    let (ours, theirs) = (facts(&ours), facts(&theirs));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.len() > 70, "{} facts", ours.len());
}
