//! Recording under what breaks profilers: libraries that come and go while threads allocate, forks, signals.

use crate::fixture::{built_with, file, pymalloc};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Seconds after which a run counts as hung.
const LIMIT: u64 = 120;

fn survives(command: &mut Command) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let start = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if start.elapsed() > Duration::from_secs(LIMIT) {
            let _ = child.kill();
            panic!("hung for {LIMIT} s");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"survived\n", "{output:?}");
}

#[test]
fn libraries_that_come_and_go_forks_and_threads_are_recorded_without_a_hang() {
    let storm = built_with("storm", "storm.c", &["-O1", "-pthread", "-ldl"]);
    let library = ["-O1", "-shared", "-fPIC"];
    let one = built_with("one.so", "plugin.c", &library);
    let two = built_with("two.so", "plugin.c", &library);
    for (name, words) in [
        ("storm_profile", &["profile"][..]),
        ("storm_follow", &["profile", "--follow", "--frames", "128"]),
        ("storm_record", &["record"]),
        ("storm_sample", &["profile", "--sample", "4K", "--follow"]),
    ] {
        let path = file(&format!("{name}.pmrec"));
        let mut command = pymalloc(words);
        command
            .arg("-o")
            .arg(&path)
            .arg("--")
            .args([&storm, &one, &two]);
        survives(&mut command);
        let contents = crate::recording::read::read(&path, |_| {}).expect("a recording");
        assert!(
            contents.events > 10_000,
            "{name}: {} events",
            contents.events
        );
        crate::fixture::report(&["summary"], &path);
    }
}
