//! Recordings of real programs: made by the launcher, read by its reports.

#[path = "support/preload.rs"]
mod support;

#[allow(dead_code, reason = "only the reader is used here")]
#[path = "../src/observe/recording/mod.rs"]
mod recording;

#[path = "profile/exchanging.rs"]
mod exchanging;
#[path = "profile/fixture.rs"]
mod fixture;
#[path = "profile/following.rs"]
mod following;
#[path = "profile/formats.rs"]
mod formats;

#[path = "profile/sampled.rs"]
mod sampled;
#[path = "profile/storms.rs"]
mod storms;

use fixture::{Run, file, leak, line_of, place, report, steps_of, threads};
use recording::decode::Event;
use recording::format::Ending;
use recording::read::End;
use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

#[test]
fn a_planted_leak_is_found_to_its_line() {
    let run = Run::profile("c_leak", &leak(), &[]);
    run.succeeds();
    let text = report(&["leaks", "--limit", "1"], &run.path);
    let line = line_of("leak.c", "LEAK");
    assert!(text.contains("46.9 KiB in 1,000 blocks"), "{text}");
    let found = format!("→ leak_here  {}", place("leak.c", line));
    assert!(text.contains(&found), "{text}");
    assert!(text.contains("  main  "), "the caller, too: {text}");
}

#[test]
fn a_planted_leak_in_a_rust_program_is_found_to_its_line() {
    let run = Run::profile("rust_leak", &threads(), &[]);
    assert_eq!(run.succeeds(), "2000\n");
    let text = report(&["leaks", "--limit", "1"], &run.path);
    let line = line_of("threads.rs", "LEAK");
    assert!(
        text.contains(
            "
32.5 KiB in 100 blocks
"
        ),
        "{text}"
    );
    let found = format!("→ threads::leak_rust  {}", place("threads.rs", line));
    assert!(text.contains(&found), "{text}");
    let summary = report(&["summary"], &run.path);
    assert!(summary.contains("5 threads"), "{summary}");
}

#[test]
fn peak_total_and_temporary_are_told_apart() {
    let run = Run::profile("c_views", &leak(), &[]);
    run.succeeds();
    let rows = |words: &[&str]| report(words, &run.path);
    let peak = rows(&["table"]);
    let keep = format!("keep_here  {}", place("leak.c", line_of("leak.c", "KEEP")));
    assert!(
        peak.lines().nth(2).is_some_and(|row| row.ends_with(&keep)),
        "{peak}"
    );
    let temporary = rows(&["temporary"]);
    let once = format!(
        "free_at_once  {}",
        place("leak.c", line_of("leak.c", "TEMPORARY"))
    );
    let row = temporary.lines().find(|row| row.ends_with(&once));
    assert!(
        row.is_some_and(|row| row.contains(" 1,000 ")),
        "{temporary}"
    );
    let total = rows(&["table", "--by", "total"]);
    assert!(
        total.contains("62.5 KiB"),
        "1,000 blocks of 64 bytes: {total}"
    );
    let leaks = rows(&["table", "--by", "leaks"]);
    assert!(!leaks.contains("keep_here"), "all were freed: {leaks}");
    let tree = rows(&["tree"]);
    assert!(
        tree.contains("  main  ") && tree.contains("keep_here"),
        "{tree}"
    );
}

#[test]
fn two_recordings_are_compared() {
    let first = Run::profile("c_before", &leak(), &[]);
    let second = Run::profile("rust_after", &threads(), &[]);
    first.succeeds();
    second.succeeds();
    let text = fixture::pymalloc(&["report", "diff", "--by", "leaks"])
        .args([&first.path, &second.path])
        .output()
        .expect("runs");
    let text = String::from_utf8(text.stdout).expect("text");
    let gone = text.lines().find(|row| row.contains("leak_here"));
    assert!(gone.is_some_and(|row| row.contains("-46.9 KiB")), "{text}");
    let came = text.lines().find(|row| row.contains("threads::leak_rust"));
    assert!(came.is_some_and(|row| row.contains("+32.5 KiB")), "{text}");
}

/// Follows the events as an allocator would: no block is made where one lives, none is freed twice.
fn check_order(name: &str, run: &Run) -> usize {
    let (steps, contents) = steps_of(&run.path);
    assert_eq!(contents.end, End::Whole(Ending::Exit), "{name}");
    let mut live: HashMap<u64, u64> = HashMap::new();
    let mut unknown = 0;
    for step in &steps {
        match step.event {
            Event::Alloc {
                address,
                size,
                align,
                ..
            } => {
                assert!(address.is_multiple_of(align), "{name}: {step:?}");
                assert_eq!(live.insert(address, size), None, "{name}: {step:?}");
            }
            Event::Free { address } => unknown += usize::from(live.remove(&address).is_none()),
            Event::Resize { old, new, size, .. } => {
                unknown += usize::from(live.remove(&old).is_none());
                live.insert(new, size);
            }
            Event::Mark { .. } => {}
        }
    }
    // Only what the loader and the C library had before the recorder began.
    assert!(
        unknown < 200,
        "{name}: {unknown} frees of blocks nobody made"
    );
    steps.len()
}

#[test]
fn every_call_of_every_thread_is_there_in_a_possible_order() {
    let run = Run::record("rust_order", &threads(), &[]);
    assert_eq!(run.succeeds(), "2000\n");
    let n = check_order("threads", &run);
    // Each of four threads makes 5,000 texts and nearly as many vectors, and all are freed.
    assert!(n > 4 * 5000 * 2 * 19 / 10, "{n} events");
    let run = Run::record("c_order", &leak(), &[]);
    run.succeeds();
    let n = check_order("leak", &run);
    assert!((3210..3400).contains(&n), "{n} events");
}

#[test]
fn python_runs_as_ever_and_its_stacks_reach_main() {
    let script = "import json; print(sum(len(json.dumps({str(i): [i]})) for i in range(3000)))";
    let plain = Command::new("python3").args(["-c", script]).output();
    let plain = plain.expect("python3 is installed");
    let python = file_of("python3");
    let deep = ["profile", "--frames", "128"];
    let run = Run::with("python", &deep, &python, &["-c", script], |command| {
        command.env("PYTHONMALLOC", "malloc");
    });
    assert_eq!(run.succeeds().as_bytes(), plain.stdout);
    check_order("python", &run);
    let (steps, contents) = steps_of(&run.path);
    let per_event = contents.bytes as f64 / steps.len() as f64;
    assert!(per_event <= 10.0, "{per_event} bytes per event");
    let tree = report(&["folded", "--by", "total"], &run.path);
    let rooted = |line: &&str| line.starts_with("_start;") || line.starts_with("0x");
    let n = tree.lines().count();
    let reached = tree.lines().filter(rooted).count();
    assert!(
        reached * 10 > n * 9,
        "{reached} of {n} stacks reach the start"
    );
}

/// A program of the path.
fn file_of(name: &str) -> std::path::PathBuf {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {name}")])
        .output();
    let found = String::from_utf8(found.expect("sh").stdout).expect("a path");
    found.trim_end().into()
}

#[test]
fn a_program_that_dies_leaves_all_its_events() {
    let whole = Run::record("c_whole", &leak(), &[]);
    whole.succeeds();
    let n = steps_of(&whole.path).0.len();
    for signal in [libc::SIGKILL, libc::SIGSEGV, libc::SIGINT] {
        let name = format!("c_raise_{signal}");
        let run = Run::profile(&name, &leak(), &["raise", &signal.to_string()]);
        assert_eq!(run.output.status.signal(), Some(signal));
        let (steps, contents) = steps_of(&run.path);
        assert_eq!(contents.end, End::Open);
        assert!(steps.len().abs_diff(n) < 30, "{} and {n}", steps.len());
        assert!(!recording::read::tail_of(&run.path).exists(), "sealed");
        assert!(run.said("without an end: the process was killed"));
    }
    let run = Run::record("c_underscore", &leak(), &["_exit"]);
    assert_eq!(run.output.status.code(), Some(3));
    assert!(steps_of(&run.path).0.len().abs_diff(n) < 30);
}

#[test]
fn descriptors_that_the_program_closes_are_not_ours() {
    let run = Run::record("c_close", &leak(), &["close"]);
    run.succeeds();
    assert_eq!(steps_of(&run.path).1.end, End::Whole(Ending::Exit));
}

#[test]
fn a_forked_child_writes_a_recording_of_its_own_or_none() {
    let alone = Run::record("c_fork", &leak(), &["fork"]);
    alone.succeeds();
    assert_eq!(
        fixture::others(&alone.path),
        Vec::<std::path::PathBuf>::new()
    );
    check_order("parent alone", &alone);
    let run = Run::with(
        "c_follow",
        &["record", "--follow"],
        &leak(),
        &["fork"],
        |_| {},
    );
    run.succeeds();
    check_order("parent", &run);
    let others = fixture::others(&run.path);
    assert_eq!(others.len(), 1, "{others:?}");
    let (steps, contents) = steps_of(&others[0]);
    assert_eq!(contents.header.parent, steps_of(&run.path).1.header.pid);
    let made = steps
        .iter()
        .filter(|step| matches!(step.event, Event::Alloc { size, .. } if size >= 1000));
    assert_eq!(made.count(), 50);
}

#[test]
fn a_program_begun_in_the_place_of_another_is_the_one_recorded() {
    let run = Run::record("c_exec", &leak(), &["exec"]);
    run.succeeds();
    let (_, contents) = steps_of(&run.path);
    assert_eq!(
        contents.tables.arguments.last().map(Vec::as_slice),
        Some(&b"second"[..])
    );
    assert_eq!(contents.end, End::Whole(Ending::Exit));
}

#[test]
fn a_limit_ends_the_recording_and_not_the_program() {
    let run = Run::with(
        "rust_limit",
        &["profile", "--limit", "128K"],
        &threads(),
        &[],
        |_| {},
    );
    assert_eq!(run.succeeds(), "2000\n");
    assert!(run.said("ended at its size limit"));
    let (_, contents) = steps_of(&run.path);
    assert_eq!(contents.end, End::Whole(Ending::Limit));
    assert!(
        (128 << 10..256 << 10).contains(&contents.bytes),
        "{}",
        contents.bytes
    );
}

#[test]
fn a_full_disk_ends_the_recording_with_one_line() {
    let path = file("full.pmrec");
    let script = format!(
        "ulimit -f 100; trap '' XFSZ; exec '{}' profile -o '{}' -- '{}'",
        support::launcher().display(),
        path.display(),
        threads().display()
    );
    let output = Command::new("bash")
        .args(["-c", &script])
        .output()
        .expect("bash");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2000\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        said.matches("the recording cannot be written").count(),
        1,
        "{said}"
    );
    let (steps, contents) = steps_of(&path);
    assert!(steps.len() > 1000, "what fitted can be read");
    assert_eq!(contents.end, End::Whole(Ending::Refused), "{said}");
}

#[test]
fn what_is_no_recording_is_neither_read_nor_replaced() {
    let path = file("precious.pmrec");
    std::fs::write(&path, "my notes\n").expect("written");
    let run = Run::record_into(&path, &leak());
    assert_eq!(run.output.status.code(), Some(1));
    assert!(run.said("is there and is no recording, so it is not replaced"));
    assert_eq!(std::fs::read_to_string(&path).expect("there"), "my notes\n");
    let report = fixture::pymalloc(&["report", "summary"])
        .arg(&path)
        .output()
        .expect("runs");
    assert_eq!(report.status.code(), Some(1));
    let said = String::from_utf8_lossy(&report.stderr);
    assert!(said.ends_with("not a pymalloc recording\n"), "{said}");
    let missing = Run::record_into(std::path::Path::new("/nonexistent/x"), &leak());
    assert_eq!(missing.output.status.code(), Some(1));
    assert!(missing.said("No such file or directory"));
}

#[test]
fn an_older_recording_is_replaced() {
    let path = file("again.pmrec");
    Run::record_into(&path, &leak()).succeeds();
    let pid = steps_of(&path).1.header.pid;
    Run::record_into(&path, &leak()).succeeds();
    assert_ne!(steps_of(&path).1.header.pid, pid);
}

#[test]
fn why_names_the_place_that_keeps_the_slots() {
    let run = Run::profile("c_why", &leak(), &[]);
    run.succeeds();
    let picture = file("arenas.svg");
    let output = fixture::pymalloc(&["why", "--at", "peak", "-o"])
        .arg(&picture)
        .arg(&run.path)
        .output()
        .expect("runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("arenas of 1 MiB"), "{text}");
    let by_place = text.split("by place").nth(1).expect("a table of places");
    assert!(
        by_place.contains("leak_here") && by_place.contains("keep_here"),
        "{text}"
    );
    let drawn = std::fs::read_to_string(picture).expect("drawn");
    assert!(drawn.starts_with("<svg") && drawn.contains("keep_here"));
}

/// The picture is whole, and the recording behind it is gone.
fn check_plot(plot: &std::path::Path) {
    let page = std::fs::read_to_string(plot).expect("drawn");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("in live blocks"));
    assert!(page.contains("arenas with a live block"));
    assert!(page.contains("load it") && page.matches("<polyline").count() == 3);
    let left = std::fs::read_dir(plot.parent().expect("a folder")).expect("the folder");
    let mut names = left.map(|entry| entry.expect("an entry").file_name());
    assert!(!names.any(|name| name.display().to_string().starts_with("over_time.dat.")));
}

#[test]
fn a_picture_that_cannot_be_made_is_known_before_the_program_runs() {
    let ran = file("ran");
    let refused = |plot: &str| {
        let output = fixture::pymalloc(&["mem", "-o"])
            .args([&file("refused.dat"), std::path::Path::new("--plot")])
            .arg(file(plot))
            .args(["--", "touch"])
            .arg(&ran)
            .output()
            .expect("runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!ran.exists(), "{plot}: it ran");
        String::from_utf8(output.stderr).expect("text")
    };
    let said = refused("plot.pdf");
    assert!(said.ends_with("plot.pdf: pictures are .svg, .png or .html, by the file's ending\n"));
    // This launcher is built without the feature.
    let said = refused("plot.png");
    assert!(said.contains("build it with '--features png'"), "{said}");
    let said = refused("no/such/folder/plot.svg");
    assert!(said.contains("plot.svg: cannot write: "), "{said}");
    let recording = Run::profile("refused", &leak(), &[]);
    recording.succeeds();
    for view in [&["why"][..], &["report", "flamegraph"]] {
        let output = fixture::pymalloc(view)
            .arg("-o")
            .args([&file("refused.pdf"), &recording.path])
            .output()
            .expect("runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!file("refused.pdf").exists());
    }
}

#[test]
fn memory_over_time_is_written_as_mprof_reads_it() {
    let (data, plot) = (file("over_time.dat"), file("over_time.html"));
    let output = fixture::pymalloc(&["mem", "--blocks", "--interval", "0.01", "-o"])
        .arg(&data)
        .arg("--plot")
        .arg(&plot)
        .args(["--", "python3", "-c"])
        .arg(concat!(
            "import ctypes, time\n",
            "mark = ctypes.CDLL(None).pymalloc_mark\n",
            "mark(1, b'load it'); x = [bytes(1000) for i in range(20000)]; time.sleep(0.1)\n",
            "mark(1, b'inner'); time.sleep(0.05); mark(2, b'inner'); mark(2, b'load it')\n",
            "mark(1, b'never ends')\n",
        ))
        .env("PYTHONMALLOC", "malloc")
        .output()
        .expect("runs");
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(&data).expect("written");
    let mut lines = text.lines();
    assert!(
        lines
            .next()
            .is_some_and(|line| line.starts_with("CMDLINE python3 -c "))
    );
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let samples: Vec<(f64, f64)> = text
        .lines()
        .filter(|line| line.starts_with("MEM "))
        .map(|line| {
            (
                words(line)[1].parse().expect("MiB"),
                words(line)[2].parse().expect("s"),
            )
        })
        .collect();
    assert!(samples.len() > 10, "{text}");
    assert!(samples.is_sorted_by(|a, b| a.1 <= b.1), "{text}");
    let most = samples.iter().map(|sample| sample.0).fold(0.0, f64::max);
    assert!((19.0..200.0).contains(&most), "20 MB are there: {most}");
    let parts: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("FUNC "))
        .map(words)
        .collect();
    assert_eq!(parts.len(), 2, "{text}");
    assert_eq!((parts[0][1].as_str(), parts[0][6].as_str()), ("inner", "1"));
    assert_eq!(
        (parts[1][1].as_str(), parts[1][6].as_str()),
        ("load_it", "0")
    );
    let number = |part: &[String], field: usize| part[field].parse::<f64>().expect("a number");
    assert!(
        number(&parts[1], 3) <= number(&parts[0], 3),
        "it began before"
    );
    assert!(
        number(&parts[1], 4) > number(&parts[1], 2) + 15.0,
        "it grew: {text}"
    );
    check_plot(&plot);
}

#[test]
fn why_explains_a_planted_fragmentation() {
    let options = ["-O1", "-g", "-fno-inline", "-fno-builtin"];
    let program = fixture::built_with("fragments", "fragments.c", &options);
    let run = Run::profile("c_fragments", &program, &[]);
    run.succeeds();
    let output = fixture::pymalloc(&["why"])
        .arg(&run.path)
        .output()
        .expect("runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let by_place = text.split("by place").nth(1).expect("a table of places");
    let first = by_place.lines().nth(2).expect("a row");
    let place = format!(
        "keep_session  {}",
        place("fragments.c", line_of("fragments.c", "SESSION"))
    );
    assert!(first.ends_with(&place), "{text}");
    // Live, unit, blocks, slots, alone, would return, unit, arenas: 1,334 blocks of 112 bytes in 20 MiB.
    let words: Vec<&str> = first.split_whitespace().collect();
    let number = |word: &str| word.replace(',', "").parse::<f64>().expect("a number");
    assert_eq!(words[2], "1,334", "{first}");
    let (slots, alone) = (number(words[3]), number(words[4]));
    assert!(slots > 1200.0 && alone > slots * 0.98, "{first}");
    assert!(number(words[5]) > 18.0 && words[6] == "MiB", "{first}");
    assert!(
        !by_place.contains("handle_request"),
        "all were freed: {text}"
    );
    let arenas = text
        .lines()
        .find(|line| line.trim_start().starts_with("arenas of"));
    let arenas = arenas.expect("the arenas");
    assert!(
        arenas.contains("moved together:        1,"),
        "one arena would do: {arenas}"
    );
}
