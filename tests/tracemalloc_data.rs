//! The data of `tracemalloc` on made-up traces: CPython's TestTraceback, TestSnapshot and TestFilters.

use pymalloc::observe::tracemalloc::{
    AnyFilter, DomainFilter, Filter, Frame, KeyType, LoadError, Repr, Snapshot, Statistic,
    StatisticDiff, StatisticsError, Trace, Traceback, format_size,
};
use std::path::PathBuf;
use std::sync::Arc;

/// Frames, the most recent first.
fn traceback(frames: &[(&str, u32)], total: Option<usize>) -> Traceback {
    let frames = frames.iter().map(|(file, line)| Frame::new(file, *line));
    Traceback::new(frames.collect(), total)
}

fn trace(domain: u32, size: u64, frames: &[(&str, u32)]) -> Trace {
    let traceback = Arc::new(traceback(frames, Some(frames.len().max(1))));
    Trace {
        domain,
        size,
        count: 1,
        traceback,
    }
}

fn snapshots() -> (Snapshot, Snapshot) {
    let ab = [("a.py", 2), ("b.py", 4)];
    let a5 = [("a.py", 5), ("b.py", 4)];
    let common = || vec![trace(0, 10, &ab), trace(0, 10, &ab), trace(0, 10, &ab)];
    let mut first = common();
    first.extend([
        trace(1, 2, &a5),
        trace(2, 66, &[("b.py", 1)]),
        trace(3, 7, &[("<unknown>", 0)]),
    ]);
    let mut second = common();
    second.extend([
        trace(2, 2, &a5),
        trace(2, 5000, &a5),
        trace(4, 400, &[("c.py", 578)]),
    ]);
    (Snapshot::new(first, 2), Snapshot::new(second, 2))
}

/// Place, size and count of each statistic; the place of a traceback is its most recent frame.
fn rows(statistics: &[Statistic]) -> Vec<(String, u64, u64)> {
    let row = |of: &Statistic| {
        let place = of.traceback.most_recent().map(ToString::to_string);
        (place.unwrap_or_default(), of.size, of.count)
    };
    statistics.iter().map(row).collect()
}

fn diff_rows(diffs: &[StatisticDiff]) -> Vec<(String, u64, i64, u64, i64)> {
    let row = |of: &StatisticDiff| {
        let place = of.traceback.most_recent().map(ToString::to_string);
        (
            place.unwrap_or_default(),
            of.size,
            of.size_diff,
            of.count,
            of.count_diff,
        )
    };
    diffs.iter().map(row).collect()
}

fn by(snapshot: &Snapshot, key: KeyType, cumulative: bool) -> Vec<(String, u64, u64)> {
    rows(&snapshot.statistics(key, cumulative).expect("statistics"))
}

fn row(place: &str, size: u64, count: u64) -> (String, u64, u64) {
    (place.to_owned(), size, count)
}

fn places(snapshot: &Snapshot) -> Vec<(u32, String)> {
    let place = |trace: &Trace| {
        let recent = trace.traceback.most_recent().expect("a frame");
        (trace.domain, recent.to_string())
    };
    snapshot.traces.iter().map(place).collect()
}

#[test]
fn traceback_repr() {
    let frames = [("a.py", 1), ("b.py", 2)];
    assert_eq!(traceback(&[], None).repr(), "<Traceback ()>");
    assert_eq!(
        traceback(&[], Some(0)).repr(),
        "<Traceback () total_nframe=0>"
    );
    let both = "<Traceback (<Frame filename='b.py' lineno=2>, <Frame filename='a.py' lineno=1>)";
    assert_eq!(traceback(&frames, None).repr(), format!("{both}>"));
    assert_eq!(
        traceback(&frames, Some(2)).repr(),
        format!("{both} total_nframe=2>")
    );
    let one = "<Traceback (<Frame filename='a.py' lineno=1>,)>";
    assert_eq!(traceback(&frames[..1], None).repr(), one);
}

#[test]
fn create_snapshot() {
    let snapshot = Snapshot::new(vec![trace(0, 5, &[("a.py", 2)])], 1);
    assert_eq!(snapshot.traces.len(), 1);
    let trace = &snapshot.traces[0];
    assert_eq!((trace.size, trace.traceback.total_nframe()), (5, Some(1)));
    assert_eq!(trace.traceback.frames(), [Frame::new("a.py", 2)]);
}

#[test]
fn filter_traces() {
    let (snapshot, _) = snapshots();
    let exclude: AnyFilter = Filter::new(false, "b.py").into();
    let kept = places(&snapshot.filter_traces(&[exclude]));
    let expected = [
        (0, "a.py:2"),
        (0, "a.py:2"),
        (0, "a.py:2"),
        (1, "a.py:5"),
        (3, "<unknown>:0"),
    ];
    assert_eq!(
        kept,
        expected.map(|(domain, place)| (domain, place.to_owned()))
    );
    assert_eq!(snapshot.traces.len(), 6, "the original is as it was");
    let lines = [
        Filter::new(true, "a.py").with_lineno(2).into(),
        Filter::new(true, "a.py").with_lineno(5).into(),
    ];
    let kept = places(&snapshot.filter_traces(&lines));
    assert_eq!(kept.len(), 4);
    assert!(kept.iter().all(|(_, place)| place.starts_with("a.py")));
    assert_eq!(snapshot.filter_traces(&[]), snapshot, "no filter, a copy");
}

#[test]
fn filter_traces_domain() {
    let (snapshot, _) = snapshots();
    let inclusive = Filter::new(true, "a.py").with_domain(1);
    let kept = places(&snapshot.filter_traces(&[inclusive.into()]));
    assert_eq!(kept, [(1, "a.py:5".to_owned())]);
    let exclusive = Filter::new(false, "a.py").with_domain(1);
    let kept = places(&snapshot.filter_traces(&[exclusive.into()]));
    assert_eq!(kept.len(), 5);
    assert!(!kept.iter().any(|(domain, _)| *domain == 1));
}

#[test]
fn filter_traces_domain_filter() {
    let (snapshot, _) = snapshots();
    let kept = |filter| places(&snapshot.filter_traces(&[AnyFilter::from(filter)]));
    let without = kept(DomainFilter::new(false, 3));
    assert_eq!(without.len(), 5);
    assert!(!without.iter().any(|(domain, _)| *domain == 3));
    assert_eq!(
        kept(DomainFilter::new(true, 3)),
        [(3, "<unknown>:0".to_owned())]
    );
}

#[test]
fn snapshot_group_by_line() {
    let (first, second) = snapshots();
    let expected = [
        row("b.py:1", 66, 1),
        row("a.py:2", 30, 3),
        row("<unknown>:0", 7, 1),
        row("a.py:5", 2, 1),
    ];
    assert_eq!(by(&first, KeyType::Lineno, false), expected);
    let expected = [
        row("a.py:5", 5002, 2),
        row("c.py:578", 400, 1),
        row("a.py:2", 30, 3),
    ];
    assert_eq!(by(&second, KeyType::Lineno, false), expected);
    let diffs = second
        .compare_to(&first, KeyType::Lineno, false)
        .expect("diffs");
    let expected = [
        ("a.py:5", 5002, 5000, 2, 1),
        ("c.py:578", 400, 400, 1, 1),
        ("b.py:1", 0, -66, 0, -1),
        ("<unknown>:0", 0, -7, 0, -1),
        ("a.py:2", 30, 0, 3, 0),
    ];
    let expected = expected.map(|(place, a, b, c, d)| (place.to_owned(), a, b, c, d));
    assert_eq!(diff_rows(&diffs), expected);
}

#[test]
fn snapshot_group_by_file() {
    let (first, second) = snapshots();
    let expected = [
        row("b.py:0", 66, 1),
        row("a.py:0", 32, 4),
        row("<unknown>:0", 7, 1),
    ];
    assert_eq!(by(&first, KeyType::Filename, false), expected);
    let expected = [row("a.py:0", 5032, 5), row("c.py:0", 400, 1)];
    assert_eq!(by(&second, KeyType::Filename, false), expected);
    let diffs = second
        .compare_to(&first, KeyType::Filename, false)
        .expect("diffs");
    let expected = [
        ("a.py:0", 5032, 5000, 5, 1),
        ("c.py:0", 400, 400, 1, 1),
        ("b.py:0", 0, -66, 0, -1),
        ("<unknown>:0", 0, -7, 0, -1),
    ];
    let expected = expected.map(|(place, a, b, c, d)| (place.to_owned(), a, b, c, d));
    assert_eq!(diff_rows(&diffs), expected);
}

#[test]
fn snapshot_group_by_traceback() {
    let (first, second) = snapshots();
    let statistics = first
        .statistics(KeyType::Traceback, false)
        .expect("statistics");
    assert_eq!(statistics[1].traceback.frames().len(), 2, "all frames");
    let expected = [
        row("b.py:1", 66, 1),
        row("a.py:2", 30, 3),
        row("<unknown>:0", 7, 1),
        row("a.py:5", 2, 1),
    ];
    assert_eq!(rows(&statistics), expected);
    let diffs = second
        .compare_to(&first, KeyType::Traceback, false)
        .expect("diffs");
    assert_eq!(
        diff_rows(&diffs)[0],
        ("a.py:5".to_owned(), 5002, 5000, 2, 1)
    );
    let error = first
        .statistics(KeyType::Traceback, true)
        .expect_err("refused");
    assert_eq!(error, StatisticsError::CumulativeTraceback);
    assert!(second.compare_to(&first, KeyType::Traceback, true).is_err());
}

#[test]
fn snapshot_group_by_cumulative_file() {
    let (first, _) = snapshots();
    let expected = [
        row("b.py:0", 98, 5),
        row("a.py:0", 32, 4),
        row("<unknown>:0", 7, 1),
    ];
    assert_eq!(by(&first, KeyType::Filename, true), expected);
}

#[test]
fn snapshot_group_by_cumulative_line() {
    let (first, _) = snapshots();
    let expected = [
        row("b.py:1", 66, 1),
        row("b.py:4", 32, 4),
        row("a.py:2", 30, 3),
        row("<unknown>:0", 7, 1),
        row("a.py:5", 2, 1),
    ];
    assert_eq!(by(&first, KeyType::Lineno, true), expected);
}

#[test]
fn trace_format() {
    let (first, _) = snapshots();
    assert_eq!(first.traces[0].to_string(), "b.py:4: 10 B");
    assert_eq!(first.traces[0].traceback.to_string(), "b.py:4");
    assert_eq!(first.traces[0].traceback.frames()[0].to_string(), "b.py:4");
}

#[test]
fn statistic_format() {
    let (first, second) = snapshots();
    let statistics = first
        .statistics(KeyType::Lineno, false)
        .expect("statistics");
    assert_eq!(
        statistics[0].to_string(),
        "b.py:1: size=66 B, count=1, average=66 B"
    );
    let diffs = second
        .compare_to(&first, KeyType::Lineno, false)
        .expect("diffs");
    let expected = "a.py:5: size=5002 B (+5000 B), count=2 (+1), average=2501 B";
    assert_eq!(diffs[0].to_string(), expected);
    let gone = "b.py:1: size=0 B (-66 B), count=0 (-1)";
    assert_eq!(diffs[2].to_string(), gone, "no average of nothing");
}

#[test]
fn slices() {
    let (first, _) = snapshots();
    let frames = first.traces[0].traceback.frames();
    assert_eq!(
        frames[..2],
        [Frame::new("b.py", 4), Frame::new("a.py", 2)],
        "oldest first"
    );
}

#[test]
fn format_traceback() {
    let (first, _) = snapshots();
    let traceback = &first.traces[0].traceback;
    let (a, b) = ("  File \"a.py\", line 2", "  File \"b.py\", line 4");
    assert_eq!(traceback.format(None, false), [b, a]);
    assert_eq!(traceback.format(Some(1), false), [a]);
    assert_eq!(traceback.format(Some(-1), false), [b]);
    assert_eq!(traceback.format(None, true), [a, b]);
    assert_eq!(traceback.format(Some(1), true), [a]);
    assert_eq!(traceback.format(Some(-1), true), [b]);
    assert_eq!(traceback.format(Some(9), false), [b, a]);
    assert_eq!(traceback.format(Some(-9), false), [""; 0]);
}

#[test]
fn format_shows_the_source_line() {
    let here = line!();
    let traceback = traceback(&[(file!(), here)], None);
    let lines = traceback.format(None, false);
    assert_eq!(lines[1], "    let here = line!();");
}

#[test]
fn sizes_are_written_as_pythons() {
    let cases = [
        (0, "0 B"),
        (10239, "10239 B"),
        (10240, "10.0 KiB"),
        (102_399, "100.0 KiB"),
        (102_400, "100 KiB"),
        (10_485_759, "10240 KiB"),
        (10_485_760, "10.0 MiB"),
        (1_000_000_000_000, "931 GiB"),
        (10_000_000_000_000_000, "9095 TiB"),
    ];
    for (size, text) in cases {
        assert_eq!(format_size(size, false), text);
        assert_eq!(format_size(size, true), format!("+{text}"));
        if size > 0 {
            assert_eq!(format_size(-size, true), format!("-{text}"));
        }
    }
}

#[test]
fn filter_attributes() {
    let filter = Filter::new(true, "abc");
    assert!(filter.inclusive);
    assert_eq!(filter.filename_pattern(), "abc");
    assert_eq!(
        (filter.lineno, filter.all_frames, filter.domain),
        (None, false, None)
    );
    let filter = Filter::new(false, "test.py")
        .with_lineno(123)
        .with_all_frames()
        .with_domain(7);
    assert_eq!(
        (filter.lineno, filter.all_frames, filter.domain),
        (Some(123), true, Some(7))
    );
    assert_eq!(DomainFilter::new(true, 5).domain(), 5);
}

#[test]
fn filter_match() {
    let cases = [
        (true, None, [true, true, false]),
        (false, None, [false, false, true]),
        (true, Some(5), [false, true, false]),
        (false, Some(5), [true, false, true]),
        (true, Some(0), [false, false, false]),
        (false, Some(0), [true, true, true]),
    ];
    for (inclusive, lineno, expected) in cases {
        let mut filter = Filter::new(inclusive, "abc");
        filter.lineno = lineno;
        let found = [("abc", 10), ("abc", 5), ("12356", 5)];
        let found = found.map(|(file, line)| filter.matches_frame(file, line));
        assert_eq!(found, expected, "{inclusive} {lineno:?}");
    }
    let zero = Filter::new(true, "abc").with_lineno(0);
    assert!(zero.matches_frame("abc", 0), "0 is a line of its own");
}

#[test]
fn filter_match_filename() {
    let matches = |pattern, name| Filter::new(true, pattern).matches_frame(name, 1);
    for (pattern, name, expected) in [
        ("abc", "abc", true),
        ("abc", "12356", false),
        ("abc", "", false),
        ("", "", true),
        ("", "filename", false),
        ("*", "filename", true),
        ("a*c", "abbbc", true),
        ("a*c", "abcdx", false),
        ("a*c*e", "abcdddef", false),
        ("a*c*e", "abcdde", true),
        ("abc", "ABC", false),
        ("a.pyc", "a.py", true),
        ("a.py", "a.pyc", true),
        ("a.pyo", "a.py", false),
        ("a.py", "a.pyo", false),
        (r"a\b", "a/b", false),
        ("a/b", r"a\b", false),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        let other = Filter::new(false, pattern).matches_frame(name, 1);
        assert_eq!(other, !expected, "{pattern} {name}");
    }
}

#[test]
fn filter_match_trace() {
    let first = traceback(&[("a.py", 2), ("b.py", 4)], None);
    let second = traceback(&[("b.py", 4), ("b.py", 5)], None);
    let unknown = traceback(&[("<unknown>", 0)], None);
    let check = |filter: Filter, expected: [bool; 3]| {
        let found = [&first, &second, &unknown].map(|of| filter.matches_traceback(of));
        assert_eq!(found, expected, "{filter:?}");
    };
    check(
        Filter::new(true, "b.py").with_all_frames(),
        [true, true, false],
    );
    check(Filter::new(true, "b.py"), [false, true, false]);
    check(
        Filter::new(false, "b.py").with_all_frames(),
        [false, false, true],
    );
    check(Filter::new(false, "b.py"), [true, false, true]);
    check(Filter::new(false, "<unknown>"), [true, true, false]);
    check(Filter::new(true, "*"), [true, true, true]);
    check(Filter::new(true, "*").with_all_frames(), [true, true, true]);
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn a_snapshot_comes_back_from_its_file() {
    let (mut first, _) = snapshots();
    first
        .traces
        .push(trace(9, 1, &[("odd \\ name\nwith a line feed", 7)]));
    first.traces.push(Trace {
        domain: 0,
        size: 3,
        count: 7,
        traceback: Arc::new(traceback(&[("x y.rs", 1)], None)),
    });
    let path = file("snapshot");
    first.dump(&path).expect("written");
    let read = Snapshot::load(&path).expect("a snapshot");
    assert_eq!(read, first);
    for (read, written) in read.traces.iter().zip(&first.traces) {
        assert_eq!(
            read.traceback.total_nframe(),
            written.traceback.total_nframe()
        );
    }
    assert!(Arc::ptr_eq(
        &read.traces[0].traceback,
        &read.traces[1].traceback
    ));
    let text = std::fs::read_to_string(&path).expect("text");
    for end in 0..text.len() - 1 {
        if text.is_char_boundary(end) {
            std::fs::write(&path, &text[..end]).expect("written");
            assert!(Snapshot::load(&path).is_err(), "cut at {end}");
        }
    }
    std::fs::write(&path, "#!/bin/sh\n").expect("written");
    assert!(matches!(Snapshot::load(&path), Err(LoadError::Foreign)));
    assert!(matches!(
        Snapshot::load(&file("none")),
        Err(LoadError::Io(_))
    ));
}
