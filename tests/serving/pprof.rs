//! A reader of pprof's profiles, by the numbers of `profile.proto`.

#![allow(dead_code, reason = "each test binary uses the part it needs")]

use flate2::read::GzDecoder;
use std::collections::HashMap;
use std::io::Read;

/// A field: its number, and its value or bytes.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = bytes.split_first().expect("a byte");
        *bytes = rest;
        value |= u64::from(byte & 127) << shift;
        shift += 7;
        if byte < 128 {
            return value;
        }
    }
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)),
            2 => {
                let len = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(len);
                bytes = rest;
                Value::Bytes(value)
            }
            kind => panic!("kind {kind}"),
        };
        found.push((key >> 3, value));
    }
    found
}

/// The numbers of a message, by their fields.
fn numbers(bytes: &[u8]) -> HashMap<u64, u64> {
    let all = fields(bytes).into_iter();
    all.filter_map(|(field, value)| match value {
        Value::Number(number) => Some((field, number)),
        Value::Bytes(_) => None,
    })
    .collect()
}

fn packed(mut bytes: &[u8]) -> Vec<u64> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        found.push(varint(&mut bytes));
    }
    found
}

/// A call of a stack.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The function that is written there; those that it was inlined into are `outer`.
    pub function: String,
    /// Its source and line, when the profile has them.
    pub source: String,
    pub line: u64,
    pub outer: Vec<String>,
    /// Whether the profile says that its mapping needs no names from elsewhere.
    pub is_named: bool,
    /// File, and the call's place in it in bytes.
    pub file: String,
    pub offset: u64,
    pub build_id: String,
}

/// One stack, innermost call first, with what the types count.
#[derive(Debug)]
pub struct Sample {
    pub calls: Vec<Call>,
    pub values: Vec<u64>,
    /// The label `domain`; 0 without one.
    pub domain: u64,
}

/// A profile.
#[derive(Debug)]
pub struct Profile {
    pub types: Vec<(String, String)>,
    pub samples: Vec<Sample>,
    pub period: u64,
    pub comment: String,
}

impl Profile {
    /// Reads one; every reference leads somewhere.
    pub fn read(gzip: &[u8]) -> Self {
        let mut bytes = Vec::new();
        GzDecoder::new(gzip).read_to_end(&mut bytes).expect("gzip");
        let mut texts = Vec::new();
        let (mut mappings, mut functions) = (HashMap::new(), HashMap::new());
        let all = fields(&bytes);
        for (field, value) in &all {
            let Value::Bytes(inner) = value else { continue };
            match field {
                3 => {
                    let mapping = numbers(inner);
                    assert!(mappings.insert(mapping[&1], mapping).is_none());
                }
                5 => {
                    let function = numbers(inner);
                    assert!(functions.insert(function[&1], function).is_none());
                }
                6 => texts.push(String::from_utf8_lossy(inner).into_owned()),
                _ => {}
            }
        }
        assert_eq!(texts[0], "");
        let text = |number: Option<&u64>| texts[number.copied().unwrap_or(0) as usize].clone();
        let mut calls = HashMap::new();
        for (_, value) in all.iter().filter(|(field, _)| *field == 4) {
            let Value::Bytes(inner) = value else { panic!() };
            let own = numbers(inner);
            let mut call = Call::default();
            if let Some(mapping) = own.get(&2).map(|id| &mappings[id]) {
                let get = |field| mapping.get(&field).copied().unwrap_or(0);
                assert!((get(2)..get(3)).contains(&own[&3]));
                call.file = text(mapping.get(&5));
                call.build_id = text(mapping.get(&6));
                call.offset = own[&3] - get(2) + get(4);
                call.is_named = (7..=10).all(|field| get(field) == 1);
            }
            for (field, value) in fields(inner) {
                if let (4, Value::Bytes(line)) = (field, value) {
                    let line = numbers(line);
                    let function = &functions[&line[&1]];
                    let name = text(function.get(&2));
                    if !call.function.is_empty() {
                        call.outer.push(name);
                        continue;
                    }
                    call.function = name;
                    call.source = text(function.get(&4));
                    call.line = line.get(&2).copied().unwrap_or(0);
                }
            }
            assert!(calls.insert(own[&1], call).is_none());
        }
        let mut profile = Self {
            types: Vec::new(),
            samples: Vec::new(),
            period: 0,
            comment: String::new(),
        };
        for (field, value) in &all {
            match (field, value) {
                (1, Value::Bytes(inner)) => {
                    let kind = numbers(inner);
                    profile.types.push((text(kind.get(&1)), text(kind.get(&2))));
                }
                (2, Value::Bytes(inner)) => {
                    let mut sample = Sample {
                        calls: Vec::new(),
                        values: Vec::new(),
                        domain: 0,
                    };
                    for (field, value) in fields(inner) {
                        let Value::Bytes(value) = value else { panic!() };
                        match field {
                            1 => {
                                sample.calls =
                                    packed(value).iter().map(|id| calls[id].clone()).collect()
                            }
                            2 => sample.values = packed(value),
                            3 => {
                                let label = numbers(value);
                                assert_eq!(text(label.get(&1)), "domain");
                                sample.domain = label[&3];
                            }
                            other => panic!("field {other}"),
                        }
                    }
                    profile.samples.push(sample);
                }
                (12, Value::Number(period)) => profile.period = *period,
                (13, Value::Number(number)) => profile.comment = text(Some(number)),
                (1..=14, _) => {}
                (other, _) => panic!("field {other}"),
            }
        }
        profile
    }

    /// The sum of one type over the stacks with a call of `function`.
    pub fn sum(&self, kind: &str, function: &str) -> u64 {
        let index = self.types.iter().position(|(name, _)| name == kind);
        let index = index.expect("the type");
        let has = |sample: &&Sample| sample.calls.iter().any(|call| call.function == function);
        self.samples
            .iter()
            .filter(has)
            .map(|sample| sample.values[index])
            .sum()
    }
}
