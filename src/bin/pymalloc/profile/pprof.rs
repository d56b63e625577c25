//! `report pprof`: the profile format of pprof, a gzipped protobuf message (`profile.proto`).

use super::named::Named;
use super::proto::Message;
use super::usage::Measure;
use crate::profile_proto::{function, line, location, mapping, profile, sample, value_type};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::HashMap;
use std::io::{self, Write};

/// What a sample counts: names as Go's heap profiles have them, where they have one.
const TYPES: [(&str, &str, Measure); 6] = [
    ("alloc_objects", "count", Measure::Total),
    ("alloc_space", "bytes", Measure::Total),
    ("leak_objects", "count", Measure::Leaks),
    ("leak_space", "bytes", Measure::Leaks),
    ("inuse_objects", "count", Measure::Peak),
    ("inuse_space", "bytes", Measure::Peak),
];

/// Texts by number; 0 is the empty one.
struct Texts<'a> {
    all: Vec<&'a str>,
    numbers: HashMap<&'a str, u64>,
}

impl<'a> Texts<'a> {
    fn new() -> Self {
        Self {
            all: vec![""],
            numbers: HashMap::from([("", 0)]),
        }
    }

    fn number(&mut self, text: &'a str) -> u64 {
        *self.numbers.entry(text).or_insert_with(|| {
            self.all.push(text);
            self.all.len() as u64 - 1
        })
    }
}

/// The profile, compressed. `period` is the bytes between two samples, 0 where all blocks were recorded.
///
/// # Errors
/// Never, in memory.
pub fn pprof(
    named: &Named,
    start_unix_ms: u64,
    duration_ms: u64,
    period: u64,
) -> io::Result<Vec<u8>> {
    let source = match period {
        0 => "pymalloc, a recording: every block".to_owned(),
        bytes => format!("pymalloc, a recording: one block in {bytes} bytes, on average"),
    };
    let mut texts = Texts::new();
    let mut message = Message::default();
    for (name, unit, _) in TYPES {
        let mut kind = Message::default();
        kind.number(value_type::KIND, texts.number(name));
        kind.number(value_type::UNIT, texts.number(unit));
        message.message(profile::SAMPLE_TYPE, &kind);
    }
    for stack in &named.stacks {
        let mut one = Message::default();
        // Numbers count from 1; the innermost call comes first.
        let calls = stack.frames.iter().rev();
        one.numbers(sample::LOCATIONS, calls.map(|call| u64::from(*call) + 1));
        one.numbers(
            sample::VALUES,
            TYPES.into_iter().map(|(_, unit, measure)| {
                let sum = stack.uses.of(measure);
                if unit == "bytes" {
                    sum.bytes
                } else {
                    sum.blocks
                }
            }),
        );
        message.message(profile::SAMPLE, &one);
    }
    calls(&mut message, &mut texts, named);
    const NANOS: u64 = 1_000_000;
    message.number(profile::TIME_NANOS, start_unix_ms * NANOS);
    message.number(profile::DURATION_NANOS, duration_ms * NANOS);
    let mut period_type = Message::default();
    period_type.number(value_type::KIND, texts.number("space"));
    period_type.number(value_type::UNIT, texts.number("bytes"));
    message.message(profile::PERIOD_TYPE, &period_type);
    // Go's profiles of every block say 1.
    message.number(profile::PERIOD, period.max(1));
    message.number(profile::COMMENT, texts.number(&source));
    message.number(profile::DEFAULT_SAMPLE_TYPE, texts.number("inuse_space"));
    for text in &texts.all {
        message.text(profile::STRING, text);
    }
    let mut zipped = GzEncoder::new(Vec::new(), Compression::default());
    zipped.write_all(&message.into_bytes())?;
    zipped.finish()
}

/// Mappings, functions and locations.
fn calls<'a>(message: &mut Message, texts: &mut Texts<'a>, named: &'a Named) {
    let mut mappings: HashMap<&str, u64> = HashMap::new();
    let mut functions: HashMap<(&str, &str), u64> = HashMap::new();
    for (number, frame) in (1..).zip(&named.frames) {
        let n = mappings.len() as u64 + 1;
        let map = *mappings.entry(&frame.module).or_insert_with(|| {
            let mut made = Message::default();
            made.number(mapping::ID, n);
            made.number(mapping::FILE, texts.number(&frame.module));
            for has in mapping::HAS {
                made.number(has, 1);
            }
            message.message(profile::MAPPING, &made);
            n
        });
        let n = functions.len() as u64 + 1;
        let key = (frame.function.as_str(), frame.file.as_str());
        let called = *functions.entry(key).or_insert_with(|| {
            let mut made = Message::default();
            made.number(function::ID, n);
            made.number(function::NAME, texts.number(&frame.function));
            made.number(function::SYSTEM_NAME, texts.number(&frame.function));
            made.number(function::FILE, texts.number(&frame.file));
            message.message(profile::FUNCTION, &made);
            n
        });
        let mut place = Message::default();
        place.number(line::FUNCTION, called);
        place.number(line::NUMBER, u64::from(frame.line));
        let mut call = Message::default();
        call.number(location::ID, number);
        call.number(location::MAPPING, map);
        call.message(location::LINE, &place);
        message.message(profile::LOCATION, &call);
    }
}
