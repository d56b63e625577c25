//! With the feature `symbols`, a served heap profile has files, lines and inlined calls: the example `serve`, built as
//! its readers would and with optimisation.

#[path = "serving/client.rs"]
mod client;
#[path = "serving/pprof.rs"]
mod pprof;

use client::asked;
use pprof::Profile;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SOURCE: &str = "examples/serve.rs";

/// The line of the example that ends so.
fn line_of(comment: &str) -> u64 {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join(SOURCE)).expect("the example");
    let line = text.lines().position(|line| line.ends_with(comment));
    line.expect("the comment") as u64 + 1
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example at work, and where it serves.
fn example() -> (Running, String) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("a target folder")
        .join("symbols");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "pymalloc"])
        .args(["--example", "serve", "--features", "symbols"])
        // As `trace_lines.rs` builds, which shares what is built.
        .args(["--config", "profile.release.debug=\"line-tables-only\""])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("CARGO_BUILD_TARGET")
        .status()
        .expect("cargo runs");
    assert!(status.success());
    let mut child = Command::new(target.join("release/examples/serve"))
        .args(["127.0.0.1:0", "60"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("text");
    let place = line.trim().strip_prefix("serving at ");
    let place = place.expect("a place").to_owned();
    (Running(child), place)
}

#[test]
fn a_leak_is_found_to_its_line_without_the_programs_files() {
    let (running, place) = example();
    let begin = Instant::now();
    let line = line_of("// LEAK");
    let found = loop {
        let (head, body) = asked(&place, "GET /debug/pprof/heap");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let profile = Profile::read(&body);
        let is_leak = |sample: &&pprof::Sample| sample.calls[0].function.ends_with("leak_here");
        if let Some(leak) = profile.samples.iter().find(is_leak) {
            break leak.calls.clone();
        }
        let patience = Duration::from_secs(30);
        assert!(begin.elapsed() < patience, "no leak in {profile:?}");
        std::thread::sleep(Duration::from_millis(100));
    };
    // The innermost call is the line that somebody wrote, not the vector's or the allocator's.
    let leak = &found[0];
    assert!(leak.source.ends_with(SOURCE), "{leak:?}");
    assert_eq!(leak.line, line, "{leak:?}");
    assert!(leak.is_named && leak.build_id.len() >= 16, "{leak:?}");
    assert_eq!(leak.function, "serve::leak_here");
    // Who called it is known, too, inlined into a function of the standard library as it is.
    let caller = &found[1];
    assert!(
        caller.source.ends_with(SOURCE) && !caller.outer.is_empty(),
        "{caller:?}"
    );
    assert_eq!(caller.line, line_of("// CALL"), "{caller:?}");
    // Asking again gives the same names, and takes no memory.
    let live = |text: &str| client::metric(text, "block_bytes");
    let before = live(&client::metrics(&place));
    for _ in 0..20 {
        asked(&place, "GET /debug/pprof/heap");
    }
    let after = live(&client::metrics(&place));
    // The two threads work and leak meanwhile, some 20 KB in 20 ms.
    assert!(after < before + (4 << 20), "{before} {after}");
    drop(running);
}
