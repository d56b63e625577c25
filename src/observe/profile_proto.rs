//! `profile.proto`, the format that pprof reads: its field numbers, and protobuf's encoding of them. Shared with the
//! launcher, so it names nothing of this crate.
//!
//! ```text
//! Profile ─┬─ sample_type ─ ValueType        Sample ─┬─ location ids, innermost first
//!          ├─ sample ─────── Sample                  ├─ values, one for each sample_type
//!          ├─ mapping ────── Mapping                 └─ label ─ Label
//!          ├─ location ───── Location ─ line ─ Line ─► Function
//!          ├─ function ───── Function
//!          └─ string_table; texts elsewhere are numbers in it, and number 0 is the empty one
//! ```

/// Fields of `Profile`.
pub mod profile {
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
    pub const COMMENT: u64 = 13;
    pub const DEFAULT_SAMPLE_TYPE: u64 = 14;
}

/// Fields of `ValueType`.
pub mod value_type {
    pub const KIND: u64 = 1;
    pub const UNIT: u64 = 2;
}

/// Fields of `Sample`.
pub mod sample {
    pub const LOCATIONS: u64 = 1;
    pub const VALUES: u64 = 2;
    pub const LABEL: u64 = 3;
}

/// Fields of `Label`.
pub mod label {
    pub const KEY: u64 = 1;
    pub const NUMBER: u64 = 3;
}

/// Fields of `Mapping`.
pub mod mapping {
    pub const ID: u64 = 1;
    pub const START: u64 = 2;
    pub const LIMIT: u64 = 3;
    pub const OFFSET: u64 = 4;
    pub const FILE: u64 = 5;
    pub const BUILD_ID: u64 = 6;
    /// What is named already: functions, files, lines, inlined calls. Readers name the rest themselves.
    pub const HAS: [u64; 4] = [7, 8, 9, 10];
}

/// Fields of `Location`.
pub mod location {
    pub const ID: u64 = 1;
    pub const MAPPING: u64 = 2;
    pub const ADDRESS: u64 = 3;
    pub const LINE: u64 = 4;
}

/// Fields of `Line`: the innermost inlined call comes first.
pub mod line {
    pub const FUNCTION: u64 = 1;
    pub const NUMBER: u64 = 2;
}

/// Fields of `Function`.
pub mod function {
    pub const ID: u64 = 1;
    pub const NAME: u64 = 2;
    /// As the linker knows it.
    pub const SYSTEM_NAME: u64 = 3;
    pub const FILE: u64 = 4;
}

/// Bytes follow, their number before them.
const LENGTH: u64 = 2;

/// Where an encoded message goes. What finds no memory is the sink's to remember.
pub trait Sink {
    /// Adds bytes at the end.
    fn add(&mut self, bytes: &[u8]);
}

/// A number by itself.
pub fn varint(out: &mut impl Sink, mut value: u64) {
    // Seven bits each.
    let mut bytes = [0; 10];
    let mut n = 0;
    while value >= 0x80 {
        bytes[n] = value as u8 | 0x80;
        value >>= 7;
        n += 1;
    }
    bytes[n] = value as u8;
    out.add(&bytes[..=n]);
}

/// A field with a number; protobuf leaves out 0.
pub fn number(out: &mut impl Sink, field: u64, value: u64) {
    if value != 0 {
        varint(out, field << 3);
        varint(out, value);
    }
}

/// A field with bytes: a text, a message, or numbers one after another.
pub fn bytes(out: &mut impl Sink, field: u64, value: &[u8]) {
    varint(out, field << 3 | LENGTH);
    varint(out, value.len() as u64);
    out.add(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Text(Vec<u8>);

    impl Sink for Text {
        fn add(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }

    #[test]
    fn the_examples_of_protobufs_documentation() {
        let mut message = Text(Vec::new());
        number(&mut message, 1, 150);
        bytes(&mut message, 2, b"testing");
        let mut packed = Text(Vec::new());
        for value in [3, 270, 86942] {
            varint(&mut packed, value);
        }
        bytes(&mut message, 6, &packed.0);
        number(&mut message, 7, 0);
        let expected = [
            &[0x08, 0x96, 0x01][..],
            b"\x12\x07testing",
            &[0x32, 0x06, 0x03, 0x8e, 0x02, 0x9e, 0xa7, 0x05],
        ];
        assert_eq!(message.0, expected.concat());
        let mut longest = Text(Vec::new());
        varint(&mut longest, u64::MAX);
        assert_eq!(longest.0.len(), 10);
    }
}
