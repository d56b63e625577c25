//! A recorded program in the form the workers replay: made by the runner from `tests/data/*.pymt.gz`,
//! read by the workers through a private mapping, so that the replay allocates nothing of its own.
//!
//! A recording (`PYMTRC01`) names blocks by their address in CPython; here they are numbered slots,
//! reused after a free, so that the table of live blocks stays small.
//!
//! ```text
//! 0   8  "PYMOPS01"
//! 8   8  number of calls
//! 16  8  number of slots
//! 24  …  one u64 per call: bits 62..64 kind (Kind), 32..62 slot, 0..32 size in bytes
//! ```
//!
//! Everything is little-endian.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

const MAGIC: &[u8; 8] = b"PYMOPS01";
/// Bytes before the first call.
pub const HEADER_BYTES: usize = 24;

/// The four calls of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Fill the slot with a new block.
    Malloc,
    /// The same, zeroed.
    Calloc,
    /// Resize the slot's block.
    Realloc,
    /// Free the slot's block.
    Free,
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// What is called.
    pub kind: Kind,
    /// For which live block.
    pub slot: u32,
    /// Bytes asked for; 0 for a free.
    pub size: u32,
}

impl Op {
    /// The file form.
    pub fn pack(self) -> u64 {
        (self.kind as u64) << 62 | u64::from(self.slot) << 32 | u64::from(self.size)
    }

    /// The inverse of [`Op::pack`].
    #[inline]
    pub fn unpack(word: u64) -> Op {
        let kind = match word >> 62 {
            0 => Kind::Malloc,
            1 => Kind::Calloc,
            2 => Kind::Realloc,
            _ => Kind::Free,
        };
        Op {
            kind,
            slot: (word >> 32) as u32 & 0x3FFF_FFFF,
            size: word as u32,
        }
    }
}

/// Calls and slots of a file of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How many calls follow.
    pub n_calls: usize,
    /// How many slots they use.
    pub n_slots: usize,
}

/// Reads the header of a file of calls.
///
/// # Errors
/// Says what is wrong when the file is not one, or is cut short.
pub fn header(file: &[u8]) -> Result<Header, String> {
    if file.len() < HEADER_BYTES || &file[..8] != MAGIC {
        return Err("not a file of calls (PYMOPS01)".into());
    }
    let word =
        |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("eight bytes")) as usize;
    let header = Header {
        n_calls: word(8),
        n_slots: word(16),
    };
    if header
        .n_calls
        .checked_mul(8)
        .and_then(|n| n.checked_add(HEADER_BYTES))
        != Some(file.len())
    {
        return Err(format!(
            "{} calls announced, but the file has {} bytes",
            header.n_calls,
            file.len()
        ));
    }
    Ok(header)
}

/// Turns a gzipped recording into a file of calls.
///
/// # Errors
/// Says what is wrong when the recording cannot be read or is damaged.
pub fn convert(recording: &Path, to: &Path) -> Result<Header, String> {
    let fail = |what: &str| format!("{}: {what}", recording.display());
    let packed = std::fs::read(recording).map_err(|e| fail(&e.to_string()))?;
    let mut raw = Vec::new();
    flate2::read::GzDecoder::new(&packed[..])
        .read_to_end(&mut raw)
        .map_err(|e| fail(&e.to_string()))?;
    let (ops, n_slots) = decode(&raw).map_err(|e| fail(&e))?;
    let mut file = Vec::with_capacity(HEADER_BYTES + 8 * ops.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&(ops.len() as u64).to_le_bytes());
    file.extend_from_slice(&(n_slots as u64).to_le_bytes());
    for op in &ops {
        file.extend_from_slice(&op.pack().to_le_bytes());
    }
    // Rename last, so that a run that is broken off leaves no half file to be taken for a whole one.
    let part = to.with_extension("part");
    std::fs::write(&part, file).map_err(|e| format!("{}: {e}", part.display()))?;
    std::fs::rename(&part, to).map_err(|e| format!("{}: {e}", to.display()))?;
    Ok(Header {
        n_calls: ops.len(),
        n_slots,
    })
}

/// Slots by key of the live block, with the free ones for reuse.
#[derive(Default)]
struct Slots {
    live: HashMap<u32, u32>,
    free: Vec<u32>,
    n_slots: u32,
}

impl Slots {
    fn take(&mut self, key: u32) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.n_slots += 1;
            self.n_slots - 1
        });
        self.live.insert(key, slot);
        slot
    }

    fn rename(&mut self, from: u32, to: u32) -> Result<u32, String> {
        let slot = self
            .live
            .remove(&from)
            .ok_or_else(|| format!("key {from:#x} is not live"))?;
        self.live.insert(to, slot);
        Ok(slot)
    }

    fn give(&mut self, key: u32) -> Result<u32, String> {
        let slot = self
            .live
            .remove(&key)
            .ok_or_else(|| format!("key {key:#x} is not live"))?;
        self.free.push(slot);
        Ok(slot)
    }
}

/// The calls of an unpacked recording and the number of slots they need.
fn decode(raw: &[u8]) -> Result<(Vec<Op>, usize), String> {
    if raw.len() < 48 || &raw[..8] != b"PYMTRC01" {
        return Err("not a recording (PYMTRC01)".into());
    }
    let u32_at = |at: usize| -> Result<u32, String> {
        let bytes = raw.get(at..at + 4).ok_or("the recording is cut short")?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
    };
    let n_records = u32_at(16)? as usize;
    let codes_at = 48 + u32_at(12)? as usize;
    let codes = raw
        .get(codes_at..codes_at + n_records)
        .ok_or("the recording is cut short")?;
    let mut at = codes_at + n_records.next_multiple_of(4);
    let mut next = || {
        let word = u32_at(at);
        at += 4;
        word
    };
    let mut slots = Slots::default();
    let mut ops = Vec::with_capacity(n_records);
    for code in codes {
        match code & 0x0F {
            kind @ (1 | 2) => {
                let (size, key) = (next()?, next()?);
                let kind = if kind == 1 {
                    Kind::Malloc
                } else {
                    Kind::Calloc
                };
                ops.push(Op {
                    kind,
                    slot: slots.take(key),
                    size,
                });
            }
            3 => {
                let (old, size, key) = (next()?, next()?, next()?);
                let (kind, slot) = match old {
                    u32::MAX => (Kind::Malloc, slots.take(key)),
                    old => (Kind::Realloc, slots.rename(old, key)?),
                };
                ops.push(Op { kind, slot, size });
            }
            4 => ops.push(Op {
                kind: Kind::Free,
                slot: slots.give(next()?)?,
                size: 0,
            }),
            5 => drop((next()?, next()?)),
            6 | 7 => drop(next()?),
            other => return Err(format!("record kind {other} is unknown")),
        }
    }
    Ok((ops, slots.n_slots as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pack_and_unpack_are_inverse() {
        for kind in [Kind::Malloc, Kind::Calloc, Kind::Realloc, Kind::Free] {
            let op = Op {
                kind,
                slot: 0x3FFF_FFFF,
                size: u32::MAX,
            };
            assert_eq!(Op::unpack(op.pack()), op);
        }
    }

    #[test]
    fn slots_are_reused_and_follow_a_block_that_moves() {
        let mut raw = Vec::from(*b"PYMTRC01");
        let words = |list: &[u32]| {
            list.iter()
                .flat_map(|w| w.to_le_bytes())
                .collect::<Vec<u8>>()
        };
        raw.extend(words(&[0, 0, 5, 0, 0, 0, 0, 0, 0, 0]));
        raw.extend([0x01, 0x13, 0x04, 0x01, 0x04, 0, 0, 0]);
        raw.extend(words(&[
            10, 1, /**/ 1, 20, 2, /**/ 2, /**/ 30, 7, /**/ 7,
        ]));
        let (ops, n_slots) = decode(&raw).unwrap();
        let op = |kind, size| Op {
            kind,
            slot: 0,
            size,
        };
        let want = [
            op(Kind::Malloc, 10),
            op(Kind::Realloc, 20),
            op(Kind::Free, 0),
            op(Kind::Malloc, 30),
            op(Kind::Free, 0),
        ];
        assert_eq!((&ops[..], n_slots), (&want[..], 1));
    }

    #[test]
    fn damage_is_named() {
        assert_eq!(
            decode(b"PYMTRC02").unwrap_err(),
            "not a recording (PYMTRC01)"
        );
        assert!(
            header(b"PYMOPS01")
                .unwrap_err()
                .starts_with("not a file of calls")
        );
    }

    #[test]
    fn the_shared_recordings_convert() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
        let to = std::env::temp_dir().join(format!("pymalloc-bench-{}.ops", std::process::id()));
        let made = convert(&data.join("startup_exit.pymt.gz"), &to).unwrap();
        let read = header(&std::fs::read(&to).unwrap()).unwrap();
        std::fs::remove_file(&to).unwrap();
        assert_eq!(made, read);
        assert_eq!(made.n_calls, 162_075);
    }
}
