//! Ways out of code whose frames nobody wants: the allocator's own.
//!
//! Between the function that walks and the program's there are always the same few functions, whose frames are of fixed
//! sizes. A way is what one walk met there; where its return addresses stand at the same distances again, the next
//! walk begins at its end.
//!
//! ```text
//! stack pointer ─► │ … │ r1 │ … │ r2 │ … │ return address into the program │ the program's frame
//!                        ^words[1]  ^[0]   ^out
//! ```
//!
//! * **I1** Every rule on a way counts from the stack pointer: so the distances follow from the return addresses.
//! * **I2** Distances are multiples of 8, and none is above `out`.

use super::Exit;
use crate::os::{self, Registers};
use core::ops::Range;

/// Most frames of a way.
const MOST_WORDS: usize = 12;

/// Ways remembered: one for each function that programs call.
const WAYS: usize = 16;

/// A word on the stack.
#[derive(Clone, Copy, Debug)]
struct Word {
    /// Bytes above the stack pointer.
    distance: usize,
    value: usize,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// The instruction where it starts.
    start: usize,
    /// Return addresses, outermost first: those tell ways apart.
    words: [Word; MOST_WORDS],
    n: usize,
    /// Where the return address into the program stands, in bytes above the stack pointer.
    pub out: usize,
    /// Where the frame pointer register was saved; `None` if it still holds the program's.
    pub saved: Option<usize>,
}

impl Way {
    /// One without frames, from the instruction at `start`.
    pub const fn new(start: usize) -> Self {
        Self {
            start,
            words: [Word {
                distance: 0,
                value: 0,
            }; MOST_WORDS],
            n: 0,
            out: 0,
            saved: None,
        }
    }

    /// Adds the next return address outwards. False when there is no room.
    pub fn add(&mut self, distance: usize, value: usize) -> bool {
        if self.n == MOST_WORDS {
            return false;
        }
        self.words.copy_within(..self.n, 1);
        self.words[0] = Word { distance, value };
        self.n += 1;
        true
    }

    /// Where this way leads from `from`, below `high` and outside of `own`.
    #[inline(always)]
    fn exit(&self, from: Registers, own: &Range<usize>, high: usize) -> Option<Exit> {
        if from.program != self.start || from.stack + self.out + 8 > high {
            return None;
        }
        let word = |distance: usize| {
            // SAFETY: between the stack pointer and the end of its mapping, and aligned (I2).
            unsafe { os::stack_word(from.stack + distance) }
        };
        let is_same = |known: &Word| word(known.distance) == known.value;
        let program = word(self.out);
        let leads_out = self.words[..self.n].iter().all(is_same) && !own.contains(&program);
        leads_out.then(|| Exit {
            at: Registers {
                program,
                stack: from.stack + self.out + 8,
                frame: self.saved.map_or(from.frame, word),
            },
            saved: self.saved.map_or(0, |distance| from.stack + distance),
        })
    }
}

/// The ways met so far.
pub(super) struct Ways {
    ways: [Way; WAYS],
    n: usize,
    /// Taken last.
    last: usize,
}

impl Ways {
    /// None.
    pub const NONE: Self = Self {
        ways: [Way::new(0); WAYS],
        n: 0,
        last: 0,
    };

    /// Where one of them leads.
    #[inline(always)]
    pub fn exit(&mut self, from: Registers, own: &Range<usize>, high: usize) -> Option<Exit> {
        let last = self.ways[self.last % WAYS].exit(from, own, high);
        if last.is_some() {
            return last;
        }
        self.other_exit(from.program, from.stack, from.frame, own, high)
    }

    /// One by one, because registers that are passed on together are read in wider parts than they were written in, which
    /// a processor does slowly.
    #[inline(never)]
    fn other_exit(
        &mut self,
        program: usize,
        stack: usize,
        frame: usize,
        own: &Range<usize>,
        high: usize,
    ) -> Option<Exit> {
        let from = Registers {
            program,
            stack,
            frame,
        };
        let mut known = self.ways[..self.n].iter().enumerate();
        let (at, exit) = known.find_map(|(at, way)| Some((at, way.exit(from, own, high)?)))?;
        self.last = at;
        Some(exit)
    }

    /// Remembers one, if there is room: programs call few functions.
    pub fn add(&mut self, way: Way) {
        if let Some(place) = self.ways.get_mut(self.n) {
            *place = way;
            self.n += 1;
        }
    }
}
