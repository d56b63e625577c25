//! What is written for other programs, read as they read it.

use crate::fixture::{Run, file, leak, pymalloc, report};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::io::Read;

fn recorded(name: &str) -> Run {
    let run = Run::profile(name, &leak(), &[]);
    run.succeeds();
    run
}

fn json(view: &str, run: &Run) -> Value {
    serde_json::from_str(&report(&[view], &run.path)).expect("JSON")
}

#[test]
fn folded_stacks_add_up_to_the_peak() {
    let run = recorded("folded");
    let text = report(&["folded"], &run.path);
    let sum: u64 = text
        .lines()
        .map(|line| {
            let (calls, number) = line.rsplit_once(' ').expect("a number");
            assert!(calls.split(';').all(|call| !call.is_empty()), "{line}");
            number.parse::<u64>().expect("a number")
        })
        .sum();
    let value = json("json", &run);
    assert_eq!(value["peak"]["bytes"], sum);
    assert!(text.contains(";main;keep_here "), "{text}");
}

#[test]
fn json_holds_every_sum() {
    let run = recorded("json");
    let value = json("json", &run);
    assert_eq!(value["format"], "pymalloc-profile 1");
    assert_eq!(value["end"], "whole");
    let stacks = value["stacks"].as_array().expect("stacks");
    for measure in ["peak", "leaks", "total", "temporary"] {
        let blocks: u64 = stacks
            .iter()
            .filter_map(|stack| stack[measure]["blocks"].as_u64())
            .sum();
        assert!(blocks >= 1000, "{measure}: {blocks}");
    }
    let live: u64 = stacks
        .iter()
        .filter_map(|stack| stack["leaks"]["bytes"].as_u64())
        .sum();
    assert_eq!(value["live"]["bytes"], live);
    let n = value["frames"].as_array().expect("frames").len() as u64;
    let calls = stacks
        .iter()
        .flat_map(|stack| stack["frames"].as_array().expect("calls"));
    assert!(
        calls
            .map(|call| call.as_u64().expect("a number"))
            .all(|call| call < n)
    );
}

#[test]
fn speedscope_gets_what_its_schema_asks_for() {
    let value = json("speedscope", &recorded("speedscope"));
    assert_eq!(
        value["$schema"],
        "https://www.speedscope.app/file-format-schema.json"
    );
    let n = value["shared"]["frames"].as_array().expect("frames").len() as u64;
    for profile in value["profiles"].as_array().expect("profiles") {
        assert_eq!(profile["type"], "sampled");
        assert_eq!(profile["unit"], "bytes");
        let samples = profile["samples"].as_array().expect("samples");
        let weights = profile["weights"].as_array().expect("weights");
        assert_eq!(samples.len(), weights.len());
        let sum: u64 = weights
            .iter()
            .map(|weight| weight.as_u64().expect("a weight"))
            .sum();
        assert_eq!(profile["endValue"], sum);
        let mut calls = samples
            .iter()
            .flat_map(|sample| sample.as_array().expect("calls"));
        assert!(calls.all(|call| call.as_u64().is_some_and(|call| call < n)));
    }
}

#[test]
fn dhat_gets_every_field_its_viewer_checks() {
    let value = json("dhat", &recorded("dhat"));
    assert_eq!(value["dhatFileVersion"], 2);
    for key in ["mode", "verb", "tu", "Mtu", "cmd"] {
        assert!(value[key].is_string(), "{key}");
    }
    for key in ["pid", "tuth", "te", "tg"] {
        assert!(value[key].is_u64(), "{key}");
    }
    assert!(value["tg"].as_u64() <= value["te"].as_u64());
    let n = value["ftbl"].as_array().expect("frames").len() as u64;
    assert_eq!(value["ftbl"][0], "[root]");
    for point in value["pps"].as_array().expect("points") {
        let number = |key: &str| point[key].as_u64().expect("a number");
        assert!(number("gb") <= number("mb") && number("mb") <= number("tb"));
        assert!(number("eb") <= number("mb") && number("ebk") <= number("tbk"));
        assert!(point["tl"].is_u64());
        let calls = point["fs"].as_array().expect("calls");
        assert!(
            calls
                .iter()
                .all(|call| call.as_u64().is_some_and(|call| 0 < call && call < n))
        );
    }
}

/// Fields of a protobuf message: number, and value or bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = bytes.split_first().expect("a byte");
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = varint(&mut bytes);
        match key & 7 {
            0 => found.push((key >> 3, value, &[][..])),
            2 => {
                let (inner, rest) = bytes.split_at(value as usize);
                bytes = rest;
                found.push((key >> 3, value, inner));
            }
            other => panic!("wire type {other}"),
        }
    }
    found
}

/// The numbers packed into a field.
fn packed(message: &[u8], field: u64) -> Vec<u64> {
    let fields = fields(message);
    let found = fields.iter().find(|(number, ..)| *number == field);
    let mut bytes = found.expect("packed").2;
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let last = bytes.iter().position(|byte| byte & 0x80 == 0);
        let end = last.expect("an end") + 1;
        let number = bytes[..end].iter().rev();
        values.push(number.fold(0u64, |sum, byte| sum << 7 | u64::from(byte & 0x7f)));
        bytes = &bytes[end..];
    }
    values
}

#[test]
fn pprof_gets_a_profile_without_a_loose_end() {
    let run = recorded("pprof");
    let path = file("heap.pb.gz");
    let line = pymalloc(&["report", "pprof", "-o"])
        .arg(&path)
        .arg(&run.path)
        .status();
    assert!(line.expect("runs").success());
    let mut bytes = Vec::new();
    let zipped = std::fs::File::open(path).expect("written");
    GzDecoder::new(zipped)
        .read_to_end(&mut bytes)
        .expect("gzip");
    let all = fields(&bytes);
    let of = |number: u64| {
        all.iter()
            .filter(move |(field, ..)| *field == number)
            .map(|(_, _, inner)| *inner)
    };
    let texts: Vec<&str> = of(6)
        .map(|text| std::str::from_utf8(text).expect("UTF-8"))
        .collect();
    assert_eq!(texts[0], "");
    assert!(texts.contains(&"leak_here") && texts.contains(&"inuse_space"));
    let number = |inner: &[u8], field: u64| {
        fields(inner)
            .iter()
            .find(|(number, ..)| *number == field)
            .map_or(0, |(_, value, _)| *value)
    };
    let locations: Vec<u64> = of(4).map(|location| number(location, 1)).collect();
    let functions: Vec<u64> = of(5).map(|function| number(function, 1)).collect();
    assert!(of(4).all(|location| {
        let fields = fields(location);
        let line = fields
            .iter()
            .find(|(field, ..)| *field == 4)
            .expect("a line")
            .2;
        functions.contains(&number(line, 1))
    }));
    let n_types = of(1).count();
    assert_eq!(n_types, 6);
    let mut in_use = 0;
    for sample in of(2) {
        let packed = |field: u64| packed(sample, field);
        assert!(
            packed(1)
                .iter()
                .all(|location| locations.contains(location))
        );
        assert_eq!(packed(2).len(), n_types);
        in_use += packed(2)[5];
    }
    let value = json("json", &run);
    assert_eq!(value["peak"]["bytes"], in_use);
}

#[test]
fn the_flame_graph_is_one_page_with_every_call() {
    let run = recorded("flame");
    let page = report(&["flamegraph"], &run.path);
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert!(page.contains("<svg") && page.contains("keep_here"));
    for loading in ["src=\"http", "href=\"http", "<link", "@import", "url(http"] {
        assert!(!page.contains(loading), "the page loads nothing: {loading}");
    }
    let empty = fixture_without_leaks();
    assert!(empty.contains("nothing to draw"), "{empty}");
}

/// What is said of a flame graph of nothing.
fn fixture_without_leaks() -> String {
    let run = Run::profile("true", std::path::Path::new("/bin/true"), &[]);
    let line = pymalloc(&["report", "flamegraph", "--by", "temporary", "--within", "1"]);
    let mut line = line;
    let output = line.arg(&run.path).output().expect("runs");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
