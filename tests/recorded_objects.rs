//! A Rust program with the crate, as it stands: it records itself when the environment says so, with or without the
//! launcher and its library, and a leak of its objects is found to the line.

#[allow(dead_code, reason = "only the reader is used here")]
#[path = "../src/observe/recording/mod.rs"]
mod recording;
#[path = "support/preload.rs"]
mod support;

use recording::format::Ending;
use recording::read::{End, read, tail_of};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const SOURCE: &str = "examples/object_leak.rs";

/// A file of this test, which is not there.
fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("recorded_objects");
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(name);
    let _ = std::fs::remove_file(&path);
    let _ = std::fs::remove_file(tail_of(&path));
    path
}

/// The example, built with debug information.
fn program() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
        let target = target.expect("a target folder").join("symbols");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--quiet", "--package", "pymalloc"])
            .args(["--example", "object_leak", "--features", "objects,symbols"])
            .arg("--target-dir")
            .arg(&target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_remove("CARGO_BUILD_TARGET")
            .status();
        assert!(status.is_ok_and(|status| status.success()));
        target.join("debug/examples/object_leak")
    };
    BUILT.get_or_init(build).clone()
}

/// The line of the example that ends so.
fn line_before(end: &str) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join(SOURCE)).expect("the example");
    let line = text.lines().position(|line| line.ends_with(end));
    // The call begins where its first line is.
    line.expect("the line") + 1 - 4
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn leaks(path: &Path) -> String {
    let mut report = Command::new(support::launcher());
    report.args(["report", "leaks"]).arg(path);
    text(report.output().expect("it runs"))
}

/// That the sessions, and where they were made, are among the leaks.
fn check(path: &Path) {
    let found = leaks(path);
    let place = format!("{SOURCE}:{}", line_before("// MADE"));
    let rows: Vec<_> = found.lines().collect();
    // A number, a flag and a handle with their header.
    let row = rows.iter().position(|row| row.ends_with(" in 500 blocks"));
    let row = row.unwrap_or_else(|| panic!("{found}"));
    assert!(rows[row].starts_with("11.7 KiB"), "{found}");
    assert!(rows[row + 1].contains("object_leak::connect"), "{found}");
    assert!(rows[row + 1].ends_with(&place), "{found}");
    assert!(rows[row + 2].contains("object_leak::main"), "{found}");
}

#[test]
fn a_program_says_where_its_objects_were_made() {
    let said = text(Command::new(program()).output().expect("it runs"));
    let place = format!("{SOURCE}\", line {}", line_before("// MADE"));
    assert!(said.starts_with("500 sessions live\n"), "{said}");
    let line = said.lines().nth(1).expect("a line");
    assert!(line.ends_with(&place), "{said}");
    assert!(said.contains("let session = Gc::new(Session {"), "{said}");
}

#[test]
fn the_environment_has_a_program_record_itself_from_its_start() {
    let path = file("itself.pmrec");
    let mut command = Command::new(program());
    command.env("PYMALLOC_RECORD", &path);
    command.env("PYMALLOC_TRACE", "8");
    text(command.output().expect("it runs"));
    check(&path);
    let contents = read(&path, |_| {}).expect("a recording");
    assert_eq!(contents.end, End::Whole(Ending::Exit));
}

#[test]
fn under_the_launcher_the_program_records_and_its_library_does_not() {
    let path = file("launched.pmrec");
    let mut command = Command::new(support::launcher());
    command.arg("profile").arg("-o").arg(&path);
    command.arg("--lib").arg(support::preload_library());
    let output = command.arg(program()).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    text(output);
    assert!(said.contains("events"), "{said}");
    assert!(!said.contains("cannot be written"), "{said}");
    check(&path);
}

#[test]
fn a_sample_is_asked_for_in_the_same_way() {
    let path = file("sampled.pmrec");
    let mut command = Command::new(program());
    command.env("PYMALLOC_RECORD", &path);
    command.env("PYMALLOC_TRACE", "8");
    command.env("PYMALLOC_RECORD_SAMPLE", "256");
    text(command.output().expect("it runs"));
    let contents = read(&path, |_| {}).expect("a recording");
    assert_eq!(contents.header.sample_bytes, 256);
    let found = leaks(&path);
    let place = format!("{SOURCE}:{}", line_before("// MADE"));
    assert!(found.contains(&place), "{found}");
}

#[test]
fn what_the_environment_says_wrongly_is_one_line() {
    let mut command = Command::new(program());
    command.env("PYMALLOC_RECORD", "/nowhere/at/all.pmrec");
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    text(output);
    assert_eq!(
        said,
        "pymalloc: PYMALLOC_RECORD: the recording cannot be written\n"
    );
}
