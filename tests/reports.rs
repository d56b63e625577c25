//! `PYMALLOCSTATS`: CPython's report, when CPython prints it.

#[path = "support/preload.rs"]
mod support;

use std::process::Command;

/// The reports that a program prints to standard error.
fn reports(program: &str, words: &[&str], value: &str) -> Vec<String> {
    let output = Command::new(program)
        .args(words)
        .env("LD_PRELOAD", support::preload_library())
        .env("PYTHONMALLOC", "malloc")
        .env("PYMALLOCSTATS", value)
        .output()
        .expect("runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stderr).expect("text");
    let start = "Small block threshold = 512, in 32 size classes.\n";
    let mut parts = text.split(start);
    assert_eq!(parts.next(), Some(""), "{text}");
    parts.map(|part| format!("{start}{part}")).collect()
}

/// The number behind a line's label.
fn number(report: &str, label: &str) -> u64 {
    let line = report.lines().find(|line| line.starts_with(label));
    let (_, value) = line.expect("the line").rsplit_once('=').expect("a value");
    value.trim().replace(',', "").parse().expect("a number")
}

#[test]
fn a_report_comes_before_each_arena_and_at_the_end() {
    let script = "x = [bytes(200) for i in range(50_000)]; del x";
    let all = reports("/usr/bin/python3", &["-S", "-c", script], "1");
    let obtained = |report: &String| number(report, "# arenas allocated total");
    // The first shows none, as CPython's does, and each one those that came before.
    let totals: Vec<_> = all.iter().map(obtained).collect();
    let n = totals.len() as u64 - 1;
    assert!(n >= 11, "10 MB: {totals:?}");
    // One more than arenas: the last is of the end.
    assert_eq!(totals, (0..=n).collect::<Vec<_>>());
    let last = all.last().expect("a report");
    assert_eq!(number(last, "# arenas highwater mark"), n);
    for report in &all {
        let now = number(report, "# arenas allocated current");
        assert_eq!(
            number(report, "# arenas allocated total") - number(report, "# arenas reclaimed"),
            now
        );
        // The heaps' books and blocks above 512 bytes are none of obmalloc's.
        assert!(number(report, "Total") <= now << 20, "{report}");
        assert!(report.contains("\narena map counts\n"), "{report}");
    }
}

#[test]
fn no_report_is_printed_for_ever_when_memory_is_out() {
    let script = "ulimit -v 100000; exec /usr/bin/python3 -S -c '
try:
    x = [bytes(200) for i in range(2_000_000)]
except MemoryError:
    x = None
print(1)'";
    let all = reports("/bin/bash", &["-c", script], "1");
    assert!((20..200).contains(&all.len()), "{}", all.len());
}

#[test]
fn an_empty_value_asks_for_none() {
    assert!(reports("/bin/true", &[], "").is_empty());
    assert!(!reports("/bin/true", &[], "0").is_empty(), "any other does");
}
