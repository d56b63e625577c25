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
//! * **I1** A word of the stack is read only between the stack pointer of the function that asked and the end
//!   of the mapping it lies in.
//! * **I2** Each step goes up: towards that end. So a walk ends.

mod bytes;
mod frame_table;
mod modules;
mod rule;

use crate::os::{self, Registers};
use core::ops::Range;
use core::ptr::NonNull;
pub use modules::Module;
use modules::Modules;
use rule::{Base, Rule};

/// Rules remembered; a power of two.
const REMEMBERED: usize = 16 * 1024;

/// Most looks at the process's memory map for addresses that are not found, in [`SPAN_MS`]: a program that
/// runs code where there is none would look at every step.
const LOOKS: u32 = 16;

/// See [`LOOKS`].
const SPAN_MS: u64 = 200;

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

/// What walks share. Used by one thread at a time.
pub struct Unwinder {
    modules: Modules,
    answers: NonNull<[Answer; REMEMBERED]>,
    /// When the current span began, and looks in it.
    span_ms: u64,
    looks: u32,
}

impl Unwinder {
    /// Knows nothing yet. `None` when memory is out.
    pub fn new() -> Option<Self> {
        let page = os::page_size();
        let len = size_of::<[Answer; REMEMBERED]>().next_multiple_of(page);
        Some(Self {
            modules: Modules::new()?,
            answers: os::map(len, page)?.cast(),
            span_ms: 0,
            looks: 0,
        })
    }

    /// The range that holds `address`.
    pub fn module_of(&mut self, address: usize) -> Option<&mut Module> {
        self.modules.find(address)
    }

    /// The file that holds the code at `address`, and the address in the file's own numbering; the address
    /// itself when that is not known.
    pub fn in_file(&mut self, address: usize) -> (&[u8], u64) {
        match self.modules.find(address) {
            Some(module) => {
                let found = module.table(address).map(|(_, address)| address);
                (module.path(), found.unwrap_or(address as u64))
            }
            None => (&[], address as u64),
        }
    }

    /// Fills `frames` with return addresses, innermost first, beginning with that of the function at `from`, but
    /// without those at the front that lie in `own`. Returns how many there are.
    pub fn walk(
        &mut self,
        from: Registers,
        own: &Range<usize>,
        bounds: &mut Bounds,
        frames: &mut [usize],
    ) -> usize {
        if !(bounds.low..bounds.high).contains(&from.stack) {
            let Some(high) = self.look(from.stack) else {
                return 0;
            };
            *bounds = Bounds {
                low: from.stack,
                high,
            };
        }
        bounds.low = bounds.low.min(from.stack);
        let mut at = from;
        let mut n = 0;
        // The first place is an instruction; the others are behind a call.
        let mut inside = at.program;
        while n < frames.len() {
            let Some(caller) = self.caller(at, inside, bounds.high) else {
                break;
            };
            if n > 0 || !own.contains(&caller.program) {
                frames[n] = caller.program;
                n += 1;
            }
            at = caller;
            inside = at.program - 1;
        }
        n
    }

    /// Reads the memory map; the end of the mapping that holds `stack`.
    fn look(&mut self, stack: usize) -> Option<usize> {
        let end = self.modules.refresh(stack);
        if self.modules.lost_any() {
            // Something else may stand there next.
            // SAFETY: mapped for this, and used by this call only; zero is an answer for no address.
            unsafe { self.answers.as_ptr().write_bytes(0, 1) };
        }
        end
    }

    /// The registers in the caller of the function at `at`.
    fn caller(&mut self, at: Registers, inside: usize, high: usize) -> Option<Registers> {
        let (top, saved) = match self.rule(inside)? {
            Some(rule) => {
                let top = match rule.base {
                    Base::Stack => at.stack.wrapping_add_signed(rule.distance as isize),
                    Base::Frame => at.frame.wrapping_add_signed(rule.distance as isize),
                    Base::AtFrame => {
                        let place = at.frame.wrapping_add_signed(rule.distance as isize);
                        read(place, at.stack, high)?
                    }
                };
                let saved = rule
                    .saved_frame
                    .map(|distance| top.wrapping_add_signed(distance as isize));
                (top, saved)
            }
            None => (at.frame.wrapping_add(16), Some(at.frame)),
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
        (program > 4096).then_some(Registers {
            program,
            stack: top,
            frame,
        })
    }

    /// How the function that holds `inside` finds its caller; the inner option is empty for "by its frame
    /// pointer".
    #[allow(
        clippy::option_option,
        reason = "no caller, and one found another way, differ"
    )]
    fn rule(&mut self, inside: usize) -> Option<Option<Rule>> {
        let place = (inside ^ inside >> 14) % REMEMBERED;
        // SAFETY: mapped for this, and used by this call only.
        let answers = unsafe { self.answers.as_mut() };
        let answer = &mut answers[place];
        if answer.program != inside {
            let rule = self.rule_slow(inside)?;
            *answer = Answer {
                program: inside,
                rule,
            };
        }
        match answer.rule {
            NO_RULE => None,
            BY_FRAME => Some(None),
            packed => Rule::unpack(packed).map(Some),
        }
    }

    /// The answer to remember; `None` for an address in no executable memory.
    #[cold]
    #[inline(never)]
    fn rule_slow(&mut self, inside: usize) -> Option<u64> {
        if self.modules.find(inside).is_none() {
            let now = os::now_ms();
            if now.wrapping_sub(self.span_ms) >= SPAN_MS {
                (self.span_ms, self.looks) = (now, 0);
            }
            if self.looks == LOOKS {
                return None;
            }
            self.looks += 1;
            self.look(0);
        }
        let module = self.modules.find(inside)?;
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
mod tests {
    use super::*;

    #[inline(never)]
    fn deep(n: usize, unwinder: &mut Unwinder, frames: &mut [usize]) -> usize {
        if n == 0 {
            let mut bounds = Bounds::default();
            return unwinder.walk(os::registers(), &(0..0), &mut bounds, frames);
        }
        std::hint::black_box(deep(n - 1, unwinder, frames))
    }

    #[test]
    fn a_recursion_is_seen_and_left_at_its_start() {
        let mut unwinder = Unwinder::new().expect("memory");
        let mut frames = [0; 64];
        let n = deep(20, &mut unwinder, &mut frames);
        // Twenty calls return to one place in `deep`; the last one's frame and the test's are others.
        let same = |frame: &usize| frames[..n].iter().filter(|other| *other == frame).count();
        let recursive = frames[..n].iter().map(same).max().unwrap_or(0);
        assert_eq!(recursive, 20, "of {n}");
        assert!(n > recursive + 3, "the test runner's frames, too: {n}");
        let short = deep(20, &mut unwinder, &mut frames[..5]);
        assert_eq!(short, 5);
    }

    #[test]
    fn the_memory_behind_the_stack_is_never_read() {
        let mut unwinder = Unwinder::new().expect("memory");
        let mut here = os::registers();
        here.frame = usize::MAX - 7;
        here.program = 4096;
        let mut bounds = Bounds::default();
        let n = unwinder.walk(here, &(0..0), &mut bounds, &mut [0; 8]);
        assert_eq!(n, 0);
    }
}
