//! With the feature `symbols`, tracebacks name the lines that somebody wrote: the example `trace_lines`, built as
//! its readers would and with optimisation.

use std::path::Path;
use std::process::Command;

const SOURCE: &str = "examples/trace_lines.rs";

/// The line of the example that holds a comment.
fn line_of(comment: &str) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join(SOURCE)).expect("the example");
    let ends = |line: &str| line.ends_with(&format!("// {comment}"));
    text.lines().position(ends).expect("the comment") + 1
}

/// What the example prints, built with these arguments besides.
fn printed(arguments: &[&str]) -> String {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("a target folder");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--package", "pymalloc"])
        .args(["--example", "trace_lines", "--features", "symbols"])
        .args(arguments)
        .arg("--target-dir")
        .arg(target.join("symbols"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("CARGO_BUILD_TARGET")
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The row of a place below a heading, without the place.
fn row<'a>(text: &'a str, heading: &str, comment: &str) -> Option<&'a str> {
    let root = env!("CARGO_MANIFEST_DIR");
    let place = format!("{root}/{SOURCE}:{}: ", line_of(comment));
    let below = text.lines().skip_while(|line| *line != heading);
    below.skip(1).find_map(|line| line.strip_prefix(&place))
}

fn check(text: &str) {
    let words = row(text, "what lives", "WORDS");
    assert!(
        words.is_some_and(|row| row.contains("count=1000")),
        "{text}"
    );
    // The table of the map may be made in the same line.
    let boxes = row(text, "what came", "BOXES");
    assert!(boxes.is_some_and(|row| row.contains("(+100")), "{text}");
    let source = "    keys.map(|n| (n, Box::new([n as u8; 300]))).collect() // BOXES";
    assert!(
        text.lines().any(|line| line == source),
        "the source, too: {text}"
    );
}

#[test]
fn tracebacks_name_lines() {
    check(&printed(&[]));
}

#[test]
fn tracebacks_name_lines_of_optimised_programs() {
    let lines = ["--config", "profile.release.debug=\"line-tables-only\""];
    check(&printed(&[&["--release"][..], &lines].concat()));
}
