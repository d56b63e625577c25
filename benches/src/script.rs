//! A recording in the form the workers replay: made by the runner, mapped by the workers.
//!
//! Each recorded thread has a list of calls of its own, and all threads run at once. What one thread
//! does to a block waits for what came before it in the recording, even in another thread: every slot
//! counts what was done to it, and a call knows at which count it is due.
//!
//! ```text
//! 0   8  "PYMRPL01"
//! 8   8  number of threads
//! 16  8  number of slots
//! 24  8  most bytes asked for and not freed at one time
//! 32  …  number of calls of each thread, u64
//! …   …  the calls, thread by thread, 16 bytes each:
//!        u64: bits 61..64 kind (Kind), 55..61 log2 of the alignment, 0..55 size in bytes
//!        u32: slot     u32: what its count must be
//! ```
//!
//! Everything is little-endian.
//!
//! I1. The order of the recording is one in which the calls can be made one after the other, so among
//!     the calls that are next in their threads one is always due: no replay hangs.

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::Path;

const MAGIC: &[u8; 8] = b"PYMRPL01";
/// Bytes of one call.
pub const CALL_BYTES: usize = 16;
/// Bytes before the counts of the threads.
const HEADER_BYTES: usize = 32;
/// Most threads of a replay; more recorded ones share.
const MOST_THREADS: u32 = 64;

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Fills the slot with a new block.
    Alloc,
    /// The same, zeroed.
    AllocZeroed,
    /// Resizes the slot's block.
    Resize,
    /// Frees the slot's block.
    Free,
    /// No call: most bytes are live now, look at memory.
    Look,
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it does.
    pub kind: Kind,
    /// Alignment asked for, a power of two.
    pub align: usize,
    /// Bytes asked for; 0 for a free.
    pub size: usize,
    /// For which live block.
    pub slot: u32,
    /// How many calls this slot has seen before.
    pub turn: u32,
}

impl Call {
    /// The file form.
    pub fn pack(self) -> [u8; CALL_BYTES] {
        let word = (self.kind as u64) << 61
            | u64::from(self.align.trailing_zeros()) << 55
            | self.size as u64 & ((1 << 55) - 1);
        let mut bytes = [0; CALL_BYTES];
        bytes[..8].copy_from_slice(&word.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.slot.to_le_bytes());
        bytes[12..].copy_from_slice(&self.turn.to_le_bytes());
        bytes
    }

    /// The inverse of [`Call::pack`].
    #[inline]
    pub fn unpack(bytes: &[u8; CALL_BYTES]) -> Call {
        let [word, rest] =
            [0, 8].map(|at| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")));
        let kind = match word >> 61 {
            0 => Kind::Alloc,
            1 => Kind::AllocZeroed,
            2 => Kind::Resize,
            3 => Kind::Free,
            _ => Kind::Look,
        };
        Call {
            kind,
            align: 1 << (word >> 55 & 63),
            size: (word & ((1 << 55) - 1)) as usize,
            slot: rest as u32,
            turn: (rest >> 32) as u32,
        }
    }
}

/// What a file of calls says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Slots the calls name.
    pub n_slots: usize,
    /// Most bytes asked for and not freed at one time.
    pub most_bytes: u64,
    /// Calls of each thread.
    pub n_calls: Vec<usize>,
}

impl Header {
    /// Reads the start of a file: the header, and where the calls begin.
    ///
    /// # Errors
    /// Says what is wrong when the file is not one, or is cut short.
    pub fn read(file: &[u8]) -> Result<(Header, usize), String> {
        let word = |at: usize| -> Result<u64, String> {
            let bytes = file
                .get(at..at + 8)
                .ok_or("the file of calls is cut short")?;
            Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
        };
        if !file.starts_with(MAGIC) {
            return Err("not a file of calls (PYMRPL01)".into());
        }
        let n_threads = word(8)? as usize;
        let n_calls: Result<Vec<usize>, String> = (0..n_threads.min(MOST_THREADS as usize))
            .map(|thread| Ok(word(HEADER_BYTES + 8 * thread)? as usize))
            .collect();
        let n_calls = n_calls?;
        let start = HEADER_BYTES + 8 * n_threads;
        if start + CALL_BYTES * n_calls.iter().sum::<usize>() != file.len() {
            return Err(format!("the file of calls has {} bytes", file.len()));
        }
        let header = Header {
            n_slots: word(16)? as usize,
            most_bytes: word(24)?,
            n_calls,
        };
        Ok((header, start))
    }
}

/// A live block of the recording.
struct Live {
    slot: u32,
    size: u64,
}

/// Collects the events of a recording, in their order.
#[derive(Default)]
pub struct Script {
    threads: Vec<Vec<Call>>,
    live: HashMap<u64, Live>,
    free_slots: Vec<u32>,
    /// Calls so far, by slot.
    turns: Vec<u32>,
    bytes: u64,
    most_bytes: u64,
    /// The thread and the number of its calls when most bytes were live.
    most_at: (usize, usize),
}

impl Script {
    /// A script without calls.
    pub fn new() -> Script {
        Script::default()
    }

    fn push(&mut self, thread: u32, kind: Kind, slot: u32, size: u64, align: u64) {
        let thread = (thread % MOST_THREADS) as usize;
        while self.threads.len() <= thread {
            self.threads.push(Vec::new());
        }
        let turn = self.turns[slot as usize];
        self.turns[slot as usize] = turn.wrapping_add(1);
        self.threads[thread].push(Call {
            kind,
            align: align as usize,
            size: size as usize,
            slot,
            turn,
        });
        if self.bytes > self.most_bytes {
            self.most_bytes = self.bytes;
            self.most_at = (thread, self.threads[thread].len());
        }
    }

    /// A block was given out at `address`.
    pub fn alloc(&mut self, thread: u32, address: u64, size: u64, align: u64, zeroed: bool) {
        // The recorder has missed its free.
        self.free(thread, address);
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.turns.push(0);
            (self.turns.len() - 1) as u32
        });
        self.live.insert(address, Live { slot, size });
        self.bytes += size;
        let kind = if zeroed {
            Kind::AllocZeroed
        } else {
            Kind::Alloc
        };
        self.push(thread, kind, slot, size, align.max(1));
    }

    /// The block at `address` was freed; one that is not known was there before the recording.
    pub fn free(&mut self, thread: u32, address: u64) {
        if let Some(Live { slot, size }) = self.live.remove(&address) {
            self.bytes -= size;
            self.push(thread, Kind::Free, slot, 0, 1);
            self.free_slots.push(slot);
        }
    }

    /// The block at `old` became one of `size` bytes at `new`.
    pub fn resize(&mut self, thread: u32, old: u64, new: u64, size: u64) {
        let Some(live) = self.live.remove(&old) else {
            return self.alloc(thread, new, size, 16, false);
        };
        if old != new {
            self.free(thread, new);
        }
        self.bytes = self.bytes - live.size + size;
        let slot = live.slot;
        self.live.insert(new, Live { slot, size });
        self.push(thread, Kind::Resize, slot, size, 16);
    }

    /// Calls of all threads.
    pub fn n_calls(&self) -> usize {
        self.threads.iter().map(Vec::len).sum()
    }

    /// Threads with calls.
    pub fn n_threads(&self) -> usize {
        self.threads
            .iter()
            .filter(|calls| !calls.is_empty())
            .count()
    }

    /// Most bytes asked for and not freed at one time.
    pub fn most_bytes(&self) -> u64 {
        self.most_bytes
    }

    /// Writes the file of calls.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(mut self, to: &Path) -> std::io::Result<()> {
        if let Some(calls) = self.threads.get_mut(self.most_at.0) {
            let look = Call {
                kind: Kind::Look,
                align: 1,
                size: 0,
                slot: 0,
                turn: 0,
            };
            calls.insert(self.most_at.1, look);
        }
        let part = to.with_extension("part");
        let mut file = BufWriter::new(std::fs::File::create(&part)?);
        file.write_all(MAGIC)?;
        let head = [
            self.threads.len() as u64,
            self.turns.len() as u64,
            self.most_bytes,
        ];
        let counts = self.threads.iter().map(|calls| calls.len() as u64);
        for word in head.into_iter().chain(counts) {
            file.write_all(&word.to_le_bytes())?;
        }
        for call in self.threads.iter().flatten() {
            file.write_all(&call.pack())?;
        }
        file.into_inner()?.sync_data()?;
        // Rename last, so that a run that is broken off leaves no half file to be taken for a whole one.
        std::fs::rename(&part, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pack_and_unpack_are_inverse() {
        for kind in [
            Kind::Alloc,
            Kind::AllocZeroed,
            Kind::Resize,
            Kind::Free,
            Kind::Look,
        ] {
            let call = Call {
                kind,
                align: 1 << 40,
                size: (1 << 55) - 1,
                slot: u32::MAX,
                turn: 7,
            };
            assert_eq!(Call::unpack(&call.pack()), call);
        }
    }

    /// Writes a script and reads it back as lists of calls.
    fn written(script: Script, name: &str) -> (Header, Vec<Vec<Call>>) {
        let file = format!("pymalloc-bench-{name}-{}.calls", std::process::id());
        let path = std::env::temp_dir().join(file);
        script.write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (header, mut at) = Header::read(&bytes).unwrap();
        let mut threads = Vec::new();
        for n in &header.n_calls {
            let calls = bytes[at..at + n * CALL_BYTES].chunks_exact(CALL_BYTES);
            threads.push(calls.map(|c| Call::unpack(c.try_into().unwrap())).collect());
            at += n * CALL_BYTES;
        }
        assert!(Header::read(&bytes[..bytes.len() - 1]).is_err());
        (header, threads)
    }

    #[test]
    fn a_block_freed_by_another_thread_waits_for_its_alloc() {
        let mut script = Script::new();
        script.alloc(0, 0x100, 10, 16, false);
        script.alloc(0, 0x200, 20, 64, true);
        script.free(1, 0x100);
        script.alloc(1, 0x100, 5, 16, false);
        script.resize(0, 0x200, 0x300, 8);
        script.free(0, 0x999);
        assert_eq!(
            (script.n_calls(), script.n_threads(), script.most_bytes()),
            (5, 2, 30)
        );
        let (header, threads) = written(script, "threads");
        assert_eq!((header.n_slots, header.most_bytes), (2, 30));
        let turns = |thread: &[Call]| -> Vec<(Kind, u32, u32)> {
            thread.iter().map(|c| (c.kind, c.slot, c.turn)).collect()
        };
        assert_eq!(
            turns(&threads[0]),
            [
                (Kind::Alloc, 0, 0),
                (Kind::AllocZeroed, 1, 0),
                (Kind::Look, 0, 0),
                (Kind::Resize, 1, 1),
            ]
        );
        assert_eq!(
            turns(&threads[1]),
            [(Kind::Free, 0, 1), (Kind::Alloc, 0, 2)]
        );
        assert_eq!((threads[0][1].align, threads[0][1].size), (64, 20));
    }

    #[test]
    fn many_recorded_threads_share_the_threads_of_a_replay() {
        let mut script = Script::new();
        for thread in 0..1000 {
            script.alloc(thread, u64::from(thread) * 16, 16, 16, false);
        }
        let (header, _) = written(script, "many");
        assert_eq!(header.n_calls.len(), MOST_THREADS as usize);
    }

    #[test]
    fn a_foreign_file_is_refused() {
        assert!(
            Header::read(b"something else")
                .unwrap_err()
                .contains("PYMRPL01")
        );
        assert!(Header::read(b"PYMRPL01").unwrap_err().contains("cut short"));
    }
}
