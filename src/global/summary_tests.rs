//! The promises of `summary`: what is written reads back, and every broken text is named.

use super::*;
use std::format;
use std::string::String;

/// Every field different, so that a swapped pair shows; the values' widths reach the limits.
fn sample() -> Summary {
    let mut summary = Summary::EMPTY;
    summary.pid = u32::MAX;
    for (index, (_, place)) in summary.counters_mut().into_iter().enumerate() {
        *place = u64::MAX - index as u64;
    }
    for index in [0, 31, 32, 103] {
        summary.classes[index] = ClassLine {
            block_bytes: u32::MAX - index as u32,
            pools: 1 + index as u64,
            in_use: 2 + index as u64,
            available: 3 + index as u64,
        };
    }
    summary
}

fn text_of(summary: &Summary) -> String {
    let mut text = String::new();
    summary.write(&mut text).unwrap();
    text
}

/// The sample's text with line `line` replaced (`""` removes it).
fn changed(line: usize, by: &str) -> String {
    let text = text_of(&sample());
    let lines = text.lines().zip(1..);
    let lines = lines.map(|(old, n)| if n == line { by } else { old });
    lines
        .filter(|l| !l.is_empty())
        .map(|l| format!("{l}\n"))
        .collect()
}

#[test]
fn what_is_written_reads_back_equal() {
    assert_eq!(Summary::parse(&text_of(&sample())), Ok(sample()));
    assert_eq!(
        Summary::parse(&text_of(&Summary::EMPTY)),
        Ok(Summary::EMPTY)
    );
}

#[test]
fn every_key_is_the_name_of_its_field() {
    let fields = format!("{:?}", sample());
    for (key, value) in sample().counters() {
        assert!(fields.contains(&format!(" {key}: {value},")), "{key}");
    }
}

#[test]
fn the_text_is_the_one_the_module_describes() {
    let mut summary = Summary {
        pid: 7,
        heaps: 3,
        ..Summary::EMPTY
    };
    summary.classes[2] = ClassLine {
        block_bytes: 48,
        pools: 1,
        in_use: 2,
        available: 338,
    };
    let text = text_of(&summary);
    assert!(
        text.starts_with("pymalloc-summary 1\npid 7\nmapped_bytes 0\n"),
        "{text}"
    );
    assert!(
        text.ends_with("\nforeign_frees 0\nclass 2 48 1 2 338\nend\n"),
        "{text}"
    );
    assert!(text.contains("\nheaps 3\n"), "{text}");
}

#[test]
fn keys_may_come_in_any_order() {
    let text = text_of(&sample());
    let mut lines: std::vec::Vec<&str> = text.lines().collect();
    lines[1..20].reverse();
    assert_eq!(Summary::parse(&lines.join("\n")), Ok(sample()));
}

#[test]
fn a_full_buffer_is_reported_and_the_stated_size_holds_everything() {
    struct Buffer(usize);
    impl fmt::Write for Buffer {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let mut largest = sample();
    let max = ClassLine {
        block_bytes: u32::MAX,
        pools: u64::MAX,
        in_use: u64::MAX,
        available: u64::MAX,
    };
    largest.classes = [max; CLASSES];
    assert_eq!(largest.write(&mut Buffer(16 * 1024)), Ok(()));
    assert_eq!(largest.write(&mut Buffer(100)), Err(fmt::Error));
}

#[test]
fn every_cut_is_noticed() {
    let text = text_of(&sample());
    for cut in 0..text.len() - 1 {
        assert!(Summary::parse(&text[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn every_error_names_its_line_and_what_was_expected() {
    let cases = [
        (
            String::new(),
            "line 1: expected more lines up to `end`, found the end of the file",
        ),
        (
            changed(1, "%PDF-1.7"),
            "line 1: expected `pymalloc-summary 1`, found another kind of file",
        ),
        (
            changed(1, "pymalloc-summary 2"),
            "line 1: expected `pymalloc-summary 1`, found another version",
        ),
        (
            changed(1, "pymalloc-summary"),
            "line 1: expected `pymalloc-summary 1`, found another version",
        ),
        (
            changed(25, ""),
            "line 25: expected more lines up to `end`, found the end of the file",
        ),
        (
            changed(25, "end\nend"),
            "line 26: expected nothing after `end`, found another line",
        ),
        (
            changed(3, "mapped 1"),
            "line 3: expected `end`, `class` or a key of version 1",
        ),
        (
            changed(4, "mapped_bytes 1"),
            "line 4: expected `mapped_bytes` once, found it again",
        ),
        (
            changed(3, "pid 1"),
            "line 3: expected `pid` once, found it again",
        ),
        (changed(18, ""), "line 24: expected `heaps` before `end`"),
        (changed(2, ""), "line 24: expected `pid` before `end`"),
        (
            changed(2, "pid 4294967296"),
            "line 2: expected one number after `pid`",
        ),
        (
            changed(18, "heaps"),
            "line 18: expected one number after `heaps`",
        ),
        (
            changed(18, "heaps +1"),
            "line 18: expected one number after `heaps`",
        ),
        (
            changed(18, "heaps 1 2"),
            "line 18: expected one number after `heaps`",
        ),
        (
            changed(18, "heaps 18446744073709551616"),
            "line 18: expected one number after `heaps`",
        ),
        (
            changed(23, "class 31 1 1 1 1"),
            "line 23: expected classes in rising order of their index",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(
            format!("{}", Summary::parse(&text).unwrap_err()),
            message,
            "{text}"
        );
    }
    for class in [
        "class",
        "class 0 16 1 1",
        "class 0 16 1 1 1 1",
        "class 104 16 1 1 1",
        "class 0 -16 1 1 1",
    ] {
        let text = changed(21, class);
        assert_eq!(
            Summary::parse(&text),
            Err(ParseError::Class { line: 21 }),
            "{class}"
        );
    }
}
