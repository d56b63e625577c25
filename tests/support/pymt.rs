//! Reads the allocation recordings (`*.pymt.gz`) made from CPython 3.11.7.
//!
//! One gzip member holds, little-endian and without gaps:
//!
//! ```text
//! 0        48         48+M              …+N, padded to 4     …+4W              …+544C
//! | header | metadata | opcodes, 1 byte | operands, 4 bytes  | checkpoints, 544 bytes |
//!           JSON, M    N of them          W of them            C of them
//! ```
//!
//! [`Recording::parse`] checks everything that can be wrong in a file before it returns: the layout,
//! each operand, and that each key freed or resized is live at that record. Hence
//! [`Recording::records`] cannot fail, and whatever a replay reports is the allocator's doing.
//!
//! Invariants of a parsed recording:
//! * `I1` operands are exactly those the opcodes consume, in record order;
//! * `I2` arena ordinals are obtained as 0, 1, 2, … and released at most once, while mapped;
//! * `I3` an arena record is followed, after at most one other arena record, by the call it belongs to;
//! * `I4` a key is created only while it is dead and its arena mapped, and used only while it is live;
//! * `I5` checkpoints appear as 0, 1, 2, … and each states the number of calls before it.

mod check;
mod keys;

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use check::Checker;
pub use keys::KeyMap;

/// Bytes of the fixed header.
const HEADER_BYTES: usize = 48;
/// Bytes of one checkpoint.
const CHECKPOINT_BYTES: usize = 544;
/// The null pointer where a key is expected.
const NULL_KEY: u32 = u32::MAX;
/// Bytes of an arena in every recording.
pub const ARENA_BYTES: u64 = 1 << 20;
/// Bytes of a pool in every recording.
pub const POOL_BYTES: u64 = 1 << 14;
/// Arena bases are stated modulo this number of bytes.
pub const BASE_MODULUS: u64 = 1 << 21;

/// Name of a live block, and the place the recorded allocator gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub u32);

impl Key {
    /// Arena ordinal and offset from the arena's base in units of 16 bytes; `None` for a RAW block.
    pub fn place(self) -> Option<(u32, u32)> {
        (self.0 >> 31 == 0).then_some((self.0 >> 16, self.0 & 0xFFFF))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place() {
            Some((ordinal, sixteenth)) => write!(f, "arena {ordinal} + {:#x}", sixteenth * 16),
            None => write!(f, "RAW block {}", self.0 & 0x7FFF_FFFF),
        }
    }
}

/// One event of a recording. Sizes are bytes. The domain bit (MEM or OBJ) is dropped: both feed the
/// same heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    Malloc {
        size: u32,
        key: Key,
    },
    Calloc {
        total: u32,
        key: Key,
    },
    /// `old` is `None` for the null pointer.
    Realloc {
        old: Option<Key>,
        size: u32,
        key: Key,
    },
    Free {
        key: Key,
    },
    /// Happens inside the next call; `excess` is the base modulo 2 MiB, in bytes.
    ArenaObtained {
        ordinal: u32,
        excess: u32,
    },
    /// Happens inside the next call.
    ArenaReleased {
        ordinal: u32,
    },
    /// Index into [`Recording::checkpoints`].
    Checkpoint {
        index: u32,
    },
}

/// The interpreter's own statistics at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// `auto`, `empty`, `initialized`, `finalized`, or a name the program gave.
    pub label: String,
    /// Allocator calls completed before it.
    pub calls: u64,
    /// In file order; see `Statistics::from_checkpoint` for their names.
    pub values: [u64; 15],
    /// Per class: pools, blocks in use, available blocks.
    pub classes: [[u32; 3]; 32],
}

impl Checkpoint {
    /// Middle and bottom nodes of the interpreter's address map (they depend on addresses).
    pub fn map_nodes(&self) -> (u64, u64) {
        (self.values[11], self.values[12])
    }
}

/// Where arena bases lie modulo 2 MiB (metadata field `arena_base_excess`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExcessRule {
    /// This many bytes for every arena; `aligned` is 0.
    Fixed(u32),
    /// 0, 4096, 8192, 12288, repeating.
    Cycle,
}

impl ExcessRule {
    /// Bytes between a multiple of 2 MiB and the base of arena `ordinal`.
    pub fn excess(self, ordinal: u32) -> u32 {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Cycle => ordinal % 4 * 4096,
        }
    }

    /// The metadata has the number of bytes as a JSON string; a JSON number is accepted too.
    fn from_json(value: &serde_json::Value) -> Option<Self> {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        match text.as_str() {
            "aligned" => Some(Self::Fixed(0)),
            "cycle" => Some(Self::Cycle),
            // A larger excess would push the arena's end out of its 2 MiB reservation.
            number => number
                .parse()
                .ok()
                .filter(|&bytes| u64::from(bytes) <= ARENA_BYTES)
                .map(Self::Fixed),
        }
    }
}

/// Why a file is not a recording.
#[derive(Debug)]
pub enum Error {
    /// The file cannot be read.
    Io(PathBuf, std::io::Error),
    /// The bytes are not a complete gzip member.
    Gzip(std::io::Error),
    /// The first eight bytes are not `PYMTRC01`.
    Magic([u8; 8]),
    /// Fewer bytes than the header promises, up to the end of the named part.
    Truncated {
        part: &'static str,
        needed: u64,
        have: u64,
    },
    /// More bytes than the header promises.
    Trailing { expected: u64, have: u64 },
    /// A header or metadata field says something impossible.
    Header(String),
    /// A record with an unknown kind or an impossible operand; records count from 0.
    Record { record: u64, problem: String },
    /// A record frees or resizes a key that names no live block.
    ForeignKey { record: u64, key: Key },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Gzip(error) => write!(f, "not a complete gzip member: {error}"),
            Self::Magic(found) => {
                write!(
                    f,
                    "bad magic: expected \"PYMTRC01\", found \"{}\"",
                    found.escape_ascii()
                )
            }
            Self::Truncated { part, needed, have } => {
                write!(
                    f,
                    "truncated: the {part} end at byte {needed}, the data at byte {have}"
                )
            }
            Self::Trailing { expected, have } => {
                write!(
                    f,
                    "trailing bytes: the last part ends at byte {expected}, the data at byte {have}"
                )
            }
            Self::Header(problem) => write!(f, "bad header: {problem}"),
            Self::Record { record, problem } => write!(f, "record {record}: {problem}"),
            Self::ForeignKey { record, key } => {
                write!(
                    f,
                    "record {record}: foreign key {:#010x} ({key}) names no live block",
                    key.0
                )
            }
        }
    }
}

impl std::error::Error for Error {}

/// A recording that passed every check of this module.
#[derive(Debug)]
pub struct Recording {
    /// Metadata field `name`.
    pub name: String,
    /// Metadata field `python`: the interpreter it was made from.
    pub python: String,
    /// Where to put arenas.
    pub excess_rule: ExcessRule,
    /// Number of malloc, calloc, realloc and free records.
    pub calls: u64,
    /// Number of arenas ever obtained.
    pub arenas: u32,
    pub checkpoints: Vec<Checkpoint>,
    opcodes: Vec<u8>,
    operands: Vec<u32>,
}

impl Recording {
    /// Reads one `*.pymt.gz`.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let gzip = std::fs::read(path).map_err(|error| Error::Io(path.to_owned(), error))?;
        let mut data = Vec::new();
        flate2::read::GzDecoder::new(gzip.as_slice())
            .read_to_end(&mut data)
            .map_err(Error::Gzip)?;
        Self::parse(&data)
    }

    /// Reads and checks a decompressed recording.
    ///
    /// # Errors
    /// Any [`Error`] but `Io` and `Gzip`.
    pub fn parse(data: &[u8]) -> Result<Self, Error> {
        let mut rest = Parts { data, at: 0 };
        let header = rest.take("header", HEADER_BYTES as u64)?;
        let magic: [u8; 8] = header[..8]
            .try_into()
            .expect("the header is longer than eight bytes");
        if magic != *b"PYMTRC01" {
            return Err(Error::Magic(magic));
        }
        if u32_at(header, 8) != 0 {
            return Err(Error::Header(format!(
                "unknown flags {:#x}",
                u32_at(header, 8)
            )));
        }
        let [n_records, n_operands, calls] = [16, 24, 32].map(|at| u64_at(header, at));
        let [n_metadata, n_checkpoints, arenas] = [12, 40, 44].map(|at| u32_at(header, at));
        let metadata = rest.take("metadata", n_metadata.into())?;
        let (name, python, excess_rule) = parse_metadata(metadata)?;
        let padded = n_records.checked_next_multiple_of(4).unwrap_or(u64::MAX);
        let opcodes = rest.take("opcodes", padded)?[..n_records as usize].to_vec();
        let operands = rest.take("operands", n_operands.saturating_mul(4))?;
        let operands: Vec<u32> = operands
            .chunks_exact(4)
            .map(|word| u32_at(word, 0))
            .collect();
        let checkpoints = rest.take(
            "checkpoints",
            u64::from(n_checkpoints) * CHECKPOINT_BYTES as u64,
        )?;
        let checkpoints: Vec<_> = checkpoints
            .chunks_exact(CHECKPOINT_BYTES)
            .map(parse_checkpoint)
            .collect();
        if rest.at != data.len() {
            return Err(Error::Trailing {
                expected: rest.at as u64,
                have: data.len() as u64,
            });
        }
        check_operand_count(&opcodes, operands.len())?;
        let recording = Self {
            name,
            python,
            excess_rule,
            calls,
            arenas,
            checkpoints,
            opcodes,
            operands,
        };
        Checker::new(&recording).check()?;
        Ok(recording)
    }

    /// All records in order.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let mut operands = self.operands.iter().copied();
        // `check_operand_count` made sure that each record finds its operands (I1).
        let mut word = move || operands.next().expect("operands were counted when parsing");
        self.opcodes.iter().map(move |opcode| match opcode & 0xF {
            1 => Record::Malloc {
                size: word(),
                key: Key(word()),
            },
            2 => Record::Calloc {
                total: word(),
                key: Key(word()),
            },
            3 => {
                let (old, size, key) = (word(), word(), Key(word()));
                Record::Realloc {
                    old: (old != NULL_KEY).then_some(Key(old)),
                    size,
                    key,
                }
            }
            4 => Record::Free { key: Key(word()) },
            5 => Record::ArenaObtained {
                ordinal: word(),
                excess: word(),
            },
            6 => Record::ArenaReleased { ordinal: word() },
            _ => Record::Checkpoint { index: word() },
        })
    }
}

/// Cuts the data into its parts.
struct Parts<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Parts<'a> {
    fn take(&mut self, part: &'static str, bytes: u64) -> Result<&'a [u8], Error> {
        let needed = (self.at as u64).saturating_add(bytes);
        let have = self.data.len() as u64;
        if needed > have {
            return Err(Error::Truncated { part, needed, have });
        }
        let taken = &self.data[self.at..needed as usize];
        self.at = needed as usize;
        Ok(taken)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(
        bytes[at..at + 4]
            .try_into()
            .expect("the slice has four bytes"),
    )
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(
        bytes[at..at + 8]
            .try_into()
            .expect("the slice has eight bytes"),
    )
}

/// Name, interpreter and excess rule; refuses a geometry other than 1 MiB arenas of 16 KiB pools.
fn parse_metadata(bytes: &[u8]) -> Result<(String, String, ExcessRule), Error> {
    let json: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| Error::Header(format!("metadata: {error}")))?;
    for (field, expected) in [("arena_size", ARENA_BYTES), ("pool_size", POOL_BYTES)] {
        if json[field].as_u64() != Some(expected) {
            return Err(Error::Header(format!(
                "metadata: {field} is {}, not {expected}",
                json[field]
            )));
        }
    }
    let rule = &json["arena_base_excess"];
    let rule = ExcessRule::from_json(rule)
        .ok_or_else(|| Error::Header(format!("metadata: unknown arena_base_excess {rule}")))?;
    let text = |field: &str| json[field].as_str().unwrap_or("unnamed").to_owned();
    Ok((text("name"), text("python"), rule))
}

fn parse_checkpoint(bytes: &[u8]) -> Checkpoint {
    let label = bytes[..32]
        .split(|&byte| byte == 0)
        .next()
        .unwrap_or_default();
    Checkpoint {
        label: String::from_utf8_lossy(label).into_owned(),
        calls: u64_at(bytes, 32),
        values: std::array::from_fn(|i| u64_at(bytes, 40 + 8 * i)),
        classes: std::array::from_fn(|class| {
            std::array::from_fn(|i| u32_at(bytes, 160 + 12 * class + 4 * i))
        }),
    }
}

/// Checks that every opcode is known and that they need exactly `have` operands (I1).
fn check_operand_count(opcodes: &[u8], have: usize) -> Result<(), Error> {
    let mut needed = 0_usize;
    for (record, &opcode) in opcodes.iter().enumerate() {
        // Only calls have a domain.
        let operands = match opcode {
            0x01 | 0x11 | 0x02 | 0x12 | 0x05 => 2,
            0x03 | 0x13 => 3,
            0x04 | 0x14 | 0x06 | 0x07 => 1,
            _ => {
                let problem = format!("unknown opcode {opcode:#04x}");
                return Err(Error::Record {
                    record: record as u64,
                    problem,
                });
            }
        };
        needed += operands;
    }
    if needed != have {
        let problem = format!("{have} operand words for records that need {needed}");
        return Err(Error::Header(problem));
    }
    Ok(())
}
