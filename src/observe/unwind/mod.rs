//! Who called: a walk up the stack that takes no lock of the allocator or the loader and allocates nothing.
//!
//! ```text
//! registers ─► program counter ─► rules seen before (a table) ─► caller's registers ─► …
//!                                      │ miss
//!                                      ▼
//!                    module (modules.rs) ─► .eh_frame_hdr (frame_table.rs) ─► program (rule.rs)
//! ```
//!
//! Programs are seldom built with frame pointers, but nearly always with the tables that C++ exceptions
//! need: those are followed on x86-64. Where there is none (code made at run time), and on other
//! architectures, the frame pointer is.
//!
//! Most of a stack was walked before: `ways.rs` and `trail.rs` remember what, and only what is new is stepped over.
//!
//! * **I1** A word of the stack is read only between the stack pointer of the function that asked and the end
//!   of the mapping it lies in.
//! * **I2** Each step goes up: towards that end. So a walk ends.

mod bytes;
mod climb;
mod frame_table;
mod modules;
mod rule;
mod shared;
mod trail;
mod ways;

pub use trail::{MOST_STEPS, Trail};

use crate::os::{self, Registers};
use core::ops::Range;
use core::ptr::NonNull;
pub use modules::Module;
use rule::{Base, Rule};
use shared::Shared;
use trail::{Inner, Needs};
use ways::Ways;

/// Most rules remembered; a power of two.
const REMEMBERED: usize = 16 * 1024;

/// Rules remembered at first, a page of them; a power of two. Who walks seldom meets few, and each page costs a fault.
const REMEMBERED_AT_FIRST: usize = 256;

/// A remembered answer.
#[derive(Clone, Copy)]
struct Answer {
    program: usize,
    /// [`Rule::pack`]ed; [`NO_RULE`] or [`BY_FRAME`] otherwise.
    rule: u64,
}

/// There is no caller.
const NO_RULE: u64 = 1 << 63;
/// Code without a table.
const BY_FRAME: u64 = 1 << 62;

/// Bounds of a thread's stack that were found for it; a new thread has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    low: usize,
    high: usize,
}

/// The registers in a function, once the one it called has returned.
struct Exit {
    at: Registers,
    /// Where the frame pointer register was saved on the stack; 0 if it was not.
    saved: usize,
}

/// What walks share. Used by one thread at a time; those of several threads may stand beside each other.
pub struct Unwinder {
    shared: &'static Shared,
    /// The last module that was asked for.
    found: Option<Module>,
    answers: NonNull<[Answer; REMEMBERED]>,
    /// Answers in use, a power of two, and those that were not known since there are so many.
    n_answers: usize,
    n_unknown: usize,
    /// [`Shared::epoch`] when the answers and ways were empty: trails are as old.
    epoch: u32,
    ways: Ways,
    /// Where a walk collects steps.
    inner: NonNull<Inner>,
}

impl Unwinder {
    /// Knows nothing yet. `None` when memory is out.
    pub fn new() -> Option<Self> {
        Self::of(Shared::new()?)
    }

    /// One for another thread, which shares what is known of the process's memory. `None` when memory is out.
    pub fn beside(&self) -> Option<Self> {
        Self::of(self.shared)
    }

    fn of(shared: &'static Shared) -> Option<Self> {
        let page = os::page_size();
        let map = |len: usize| os::map(len.next_multiple_of(page), page);
        Some(Self {
            shared,
            found: None,
            answers: map(size_of::<[Answer; REMEMBERED]>())?.cast(),
            n_answers: REMEMBERED_AT_FIRST,
            n_unknown: 0,
            epoch: shared.epoch(),
            ways: Ways::NONE,
            inner: map(size_of::<Inner>())?.cast(),
        })
    }

    /// The range that holds `address`.
    pub fn module_of(&mut self, address: usize) -> Option<&Module> {
        self.found = self.shared.module_of(address);
        self.found.as_ref()
    }

    /// The range of code around `address`; empty if there is none.
    pub fn range_of(&mut self, address: usize) -> Range<usize> {
        self.look(0);
        let module = self.module_of(address);
        module.map_or(0..0, |module| module.start..module.end)
    }

    /// The file that holds the code at `address`, and the address in the file's own numbering; the address
    /// itself when that is not known.
    pub fn in_file(&mut self, address: usize) -> (&[u8], u64) {
        match self.module_of(address) {
            Some(module) => {
                let found = module.table(address).map(|(_, address)| address);
                (module.path(), found.unwrap_or(address as u64))
            }
            None => (&[], address as u64),
        }
    }

    /// Makes sure that the bounds are those of the stack that `stack` is on, and that nothing is remembered of code
    /// that has gone.
    #[inline]
    fn find_bounds(&mut self, stack: usize, bounds: &mut Bounds) -> bool {
        if self.epoch != self.shared.epoch() {
            self.forget();
        }
        if !(bounds.low..bounds.high).contains(&stack) {
            let Some(found) = self.stack_around(stack) else {
                return false;
            };
            *bounds = Bounds {
                low: found.start,
                high: found.end,
            };
        }
        true
    }

    /// The mapping that holds `stack`. Threads come and go, and the memory map is long.
    #[cold]
    fn stack_around(&mut self, stack: usize) -> Option<Range<usize>> {
        os::keep_errno(|| os::mapping_at(stack)).or_else(|| self.look(stack))
    }

    /// Reads the memory map; the mapping that holds `stack`.
    #[cold]
    fn look(&mut self, stack: usize) -> Option<Range<usize>> {
        let found = self.shared.look(stack);
        if self.epoch != self.shared.epoch() {
            self.forget();
        }
        found
    }

    /// Something else may stand next where code has gone.
    #[cold]
    fn forget(&mut self) {
        self.epoch = self.shared.epoch();
        let first = self.answers.as_ptr().cast::<Answer>();
        // SAFETY: mapped for this, and used by this call only; zero is an answer for no address.
        unsafe { first.write_bytes(0, self.n_answers) };
        self.ways = Ways::NONE;
    }

    /// The caller of the function at `at`, which stands at `inside` or calls there, and what it was found by.
    fn caller(&mut self, at: Registers, inside: usize, high: usize) -> Option<(Exit, Needs)> {
        let (top, saved, needs) = match self.rule(inside)? {
            Some(rule) => {
                let (top, needs) = match rule.base {
                    Base::Stack => {
                        let top = at.stack.wrapping_add_signed(rule.distance as isize);
                        (top, Needs::Stack)
                    }
                    Base::Frame => {
                        let top = at.frame.wrapping_add_signed(rule.distance as isize);
                        (top, Needs::Frame)
                    }
                    Base::AtFrame => {
                        let place = at.frame.wrapping_add_signed(rule.distance as isize);
                        (read(place, at.stack, high)?, Needs::More)
                    }
                };
                let saved = rule
                    .saved_frame
                    .map(|distance| top.wrapping_add_signed(distance as isize));
                (top, saved, needs)
            }
            None => (at.frame.wrapping_add(16), Some(at.frame), Needs::Frame),
        };
        // I2.
        if top <= at.stack {
            return None;
        }
        let program = read(top.wrapping_sub(8), at.stack, high)?;
        let frame = match saved {
            Some(place) => read(place, at.stack, high)?,
            None => at.frame,
        };
        let exit = Exit {
            at: Registers {
                program,
                stack: top,
                frame,
            },
            saved: saved.unwrap_or(0),
        };
        (program > 4096).then_some((exit, needs))
    }

    /// How the function that holds `inside` finds its caller; the inner option is empty for "by its frame
    /// pointer".
    #[allow(
        clippy::option_option,
        reason = "no caller, and one found another way, differ"
    )]
    fn rule(&mut self, inside: usize) -> Option<Option<Rule>> {
        let place = ((inside ^ inside >> 14) & (self.n_answers - 1)) % REMEMBERED;
        // SAFETY: mapped for this, and used by this call only.
        let known = unsafe { self.answers.as_ref() }[place];
        let rule = if known.program == inside {
            known.rule
        } else {
            let rule = self.rule_slow(inside)?;
            // SAFETY: as above. Taken anew: the slow way may have written there itself.
            let answers = unsafe { self.answers.as_mut() };
            answers[place] = Answer {
                program: inside,
                rule,
            };
            rule
        };
        match rule {
            NO_RULE => None,
            BY_FRAME => Some(None),
            packed => Rule::unpack(packed).map(Some),
        }
    }

    /// The answer to remember; `None` for an address in no executable memory.
    #[cold]
    #[inline(never)]
    fn rule_slow(&mut self, inside: usize) -> Option<u64> {
        self.n_unknown += 1;
        if self.n_unknown > self.n_answers && self.n_answers < REMEMBERED {
            // Half of the answers are looked for elsewhere now, and asked for once more.
            (self.n_answers, self.n_unknown) = (2 * self.n_answers, 0);
        }
        let module = self.shared.module_of_code(inside)?;
        if self.epoch != self.shared.epoch() {
            self.forget();
        }
        match module.table(inside) {
            Some((table, address)) if cfg!(target_arch = "x86_64") => {
                Some(table.rule(address).and_then(Rule::pack).unwrap_or(NO_RULE))
            }
            _ => Some(BY_FRAME),
        }
    }
}

/// A word of the stack, if it lies there (I1).
fn read(place: usize, low: usize, high: usize) -> Option<usize> {
    let inside = place >= low && place.checked_add(8)? <= high && place.is_multiple_of(8);
    // SAFETY: aligned, and in the stack's mapping above the stack pointer.
    inside.then(|| unsafe { os::stack_word(place) })
}
#[cfg(test)]
mod tests;
