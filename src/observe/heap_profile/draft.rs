//! A heap profile before it is written: numbers only, copied under the lock of whoever knows them.
//!
//! ```text
//! samples, or tracemalloc's traces ─► Draft: stacks of locations, with sums ─► names (names.rs, lines.rs) ─► pprof.rs
//! ```
//!
//! * **I1** A location stands in the draft once; its number is its place, counted from 1.
//! * **I2** Lines of one location stand side by side, the innermost call first, machinery in front counted.

use super::super::mapped::Mapped;
use super::super::unwind::{Module, Unwinder};
use super::table::Table;
use crate::os::Text;
use core::fmt::Write;

/// Where a profile's figures come from.
pub struct Origin {
    /// What readers show as a comment.
    pub comment: Text<256>,
    /// Whether blocks that were made and went are counted, too.
    pub counts_made: bool,
    /// Bytes between two blocks that are seen, on average; 0 if all are.
    pub period: u64,
    /// Since when, by the calendar and by the clock of [`crate::os::now_ms`].
    pub start_unix_ms: u64,
    /// See there.
    pub start_ms: u64,
    /// Most calls of a stack, when those of the allocator are told apart and left out; 0 for all.
    pub frames: usize,
}

/// The comment of a profile: its source, and which blocks that sees.
pub fn comment(source: &str, period: u64) -> Text<256> {
    let mut text = Text::new();
    // What is too long is cut.
    let _ = match period {
        0 => write!(text, "pymalloc, {source}: every block"),
        bytes => write!(
            text,
            "pymalloc, {source}: one block in {bytes} bytes, on average"
        ),
    };
    text
}

/// Sums of a stack: blocks and bytes made, blocks and bytes that live.
pub type Sums = [u64; 4];

/// A stack and what was made there.
#[derive(Clone, Copy)]
pub struct Stack {
    /// Its numbers of locations among [`Draft::calls`].
    pub first: usize,
    /// How many.
    pub n: usize,
    /// What is counted.
    pub sums: Sums,
    /// Who gave the blocks out; 0 for this allocator.
    pub domain: u32,
}

/// A call.
#[derive(Clone, Copy)]
pub struct Location {
    /// Of the call itself, not of what it returns to.
    pub address: usize,
    /// Number of its mapping, from 1; 0 for none.
    pub mapping: u32,
    /// Its lines among [`Draft::lines`] (I2).
    pub first_line: usize,
    /// How many.
    pub n_lines: usize,
    /// How many in front are an allocator's or a language's machinery.
    pub n_machinery: usize,
}

/// A function at a line.
#[derive(Clone, Copy)]
pub struct Line {
    /// Number of the function, from 1.
    pub function: u64,
    /// In the function's file; 0 when it is not known.
    pub number: u32,
}

/// A file's code that calls are in.
#[derive(Clone, Copy)]
pub struct Mapping {
    /// Where it is.
    pub module: Module,
    /// Whether some of its calls have lines.
    pub has_lines: bool,
}

/// What will be written.
pub struct Draft {
    /// Whence.
    pub origin: Origin,
    /// All stacks.
    pub stacks: Mapped<Stack>,
    /// Their locations, by number, the innermost call first.
    pub calls: Mapped<u32>,
    /// All locations.
    pub locations: Mapped<Location>,
    /// All lines.
    pub lines: Mapped<Line>,
    /// All mappings.
    pub mappings: Mapped<Mapping>,
    /// Numbers of locations by address.
    known: Table<u32>,
    /// Numbers of mappings by their first address.
    maps: Table<u32>,
    is_cut: bool,
    /// Texts, functions and all the rest as they are encoded.
    pub out: super::pprof::Encoded,
}

impl Draft {
    /// An empty one.
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            stacks: Mapped::default(),
            calls: Mapped::default(),
            locations: Mapped::default(),
            lines: Mapped::default(),
            mappings: Mapped::default(),
            known: Table::default(),
            maps: Table::default(),
            is_cut: false,
            out: super::pprof::Encoded::default(),
        }
    }

    /// Notes whether what was added is less than there was, for want of memory.
    pub fn note_cut(&mut self, is_cut: bool) {
        self.is_cut |= is_cut;
    }

    /// Whether nothing was lost for want of memory.
    pub fn is_whole(&self) -> bool {
        !(self.is_cut
            || self.stacks.is_cut()
            || self.calls.is_cut()
            || self.locations.is_cut()
            || self.lines.is_cut()
            || self.mappings.is_cut())
    }

    /// Adds a stack by its return addresses, the innermost first.
    pub fn add(&mut self, frames: &[usize], domain: u32, sums: Sums, unwinder: &mut Unwinder) {
        let first = self.calls.as_slice().len();
        for frame in frames {
            // The call is before the address it returns to.
            let number = self.location(frame.wrapping_sub(1), unwinder);
            self.calls.push(number);
        }
        self.stacks.push(Stack {
            first,
            n: frames.len(),
            sums,
            domain,
        });
    }

    /// The number of the location at `address` (I1).
    fn location(&mut self, address: usize, unwinder: &mut Unwinder) -> u32 {
        let key = address as u64;
        if let Some(number) = self.known.get(key) {
            return number;
        }
        let module = unwinder.module_of(address);
        let mapping = module.map_or(0, |module| self.mapping(module));
        self.locations.push(Location {
            address,
            mapping,
            first_line: 0,
            n_lines: 0,
            n_machinery: 0,
        });
        let number = self.locations.as_slice().len() as u32;
        self.known.insert(key, number);
        number
    }

    fn mapping(&mut self, module: &Module) -> u32 {
        let key = module.start as u64;
        self.maps.get(key).unwrap_or_else(|| {
            self.mappings.push(Mapping {
                module: *module,
                has_lines: false,
            });
            let number = self.mappings.as_slice().len() as u32;
            self.maps.insert(key, number);
            number
        })
    }

    /// Gives a location without lines those that were added to [`Draft::lines`] from `first` on.
    pub fn set_lines(&mut self, location: usize, first: usize, n_machinery: usize) {
        let n_lines = self.lines.as_slice().len() - first;
        if let Some(location) = self.locations.as_mut_slice().get_mut(location) {
            (location.first_line, location.n_lines) = (first, n_lines);
            location.n_machinery = n_machinery;
        }
    }
}
