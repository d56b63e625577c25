//! `report pprof`: the profile format of pprof, a gzipped protobuf message (`profile.proto`).

use super::named::Named;
use super::proto::Message;
use super::usage::Measure;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::HashMap;
use std::io::{self, Write};

/// Field numbers of `profile.proto`.
mod field {
    pub const SAMPLE_TYPE: u64 = 1;
    pub const SAMPLE: u64 = 2;
    pub const MAPPING: u64 = 3;
    pub const LOCATION: u64 = 4;
    pub const FUNCTION: u64 = 5;
    pub const STRING: u64 = 6;
    pub const TIME_NANOS: u64 = 9;
    pub const DURATION_NANOS: u64 = 10;
    pub const PERIOD_TYPE: u64 = 11;
    pub const PERIOD: u64 = 12;
    pub const DEFAULT_SAMPLE_TYPE: u64 = 14;
}

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
    let mut texts = Texts::new();
    let mut message = Message::default();
    for (name, unit, _) in TYPES {
        let mut kind = Message::default();
        kind.number(1, texts.number(name));
        kind.number(2, texts.number(unit));
        message.message(field::SAMPLE_TYPE, &kind);
    }
    for stack in &named.stacks {
        let mut sample = Message::default();
        // Numbers count from 1; the innermost call comes first.
        let calls = stack.frames.iter().rev();
        sample.numbers(1, calls.map(|call| u64::from(*call) + 1));
        sample.numbers(
            2,
            TYPES.into_iter().map(|(_, unit, measure)| {
                let sum = stack.uses.of(measure);
                if unit == "bytes" {
                    sum.bytes
                } else {
                    sum.blocks
                }
            }),
        );
        message.message(field::SAMPLE, &sample);
    }
    calls(&mut message, &mut texts, named);
    const NANOS: u64 = 1_000_000;
    message.number(field::TIME_NANOS, start_unix_ms * NANOS);
    message.number(field::DURATION_NANOS, duration_ms * NANOS);
    let mut period_type = Message::default();
    period_type.number(1, texts.number("space"));
    period_type.number(2, texts.number("bytes"));
    message.message(field::PERIOD_TYPE, &period_type);
    // Go's profiles of every block say 1.
    message.number(field::PERIOD, period.max(1));
    message.number(field::DEFAULT_SAMPLE_TYPE, texts.number("inuse_space"));
    for text in &texts.all {
        message.text(field::STRING, text);
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
        let mapping = *mappings.entry(&frame.module).or_insert_with(|| {
            let mut mapping = Message::default();
            mapping.number(1, n);
            mapping.number(5, texts.number(&frame.module));
            // Functions, files, lines and inlined calls are named.
            (7..=10).for_each(|field| mapping.number(field, 1));
            message.message(field::MAPPING, &mapping);
            n
        });
        let n = functions.len() as u64 + 1;
        let key = (frame.function.as_str(), frame.file.as_str());
        let function = *functions.entry(key).or_insert_with(|| {
            let mut function = Message::default();
            function.number(1, n);
            function.number(2, texts.number(&frame.function));
            function.number(3, texts.number(&frame.function));
            function.number(4, texts.number(&frame.file));
            message.message(field::FUNCTION, &function);
            n
        });
        let mut line = Message::default();
        line.number(1, function);
        line.number(2, u64::from(frame.line));
        let mut location = Message::default();
        location.number(1, number);
        location.number(2, mapping);
        location.message(4, &line);
        message.message(field::LOCATION, &location);
    }
}
