//! The last words on a guarded block: CPython's report in debug mode, one line with `checks:on`.

use super::layout::{HEAD_BYTES, SERIAL_BYTES, TAIL_BYTES};
use super::pads::{FORBIDDEN, Wrong};
use super::pages::Frame;
use super::stacks::stack_of;
use super::tag::{Facts, Guarded, State};
use super::{Claim, OPTIONS};
use crate::os::{self, Errors};
use core::fmt::{self, Write};
use core::ptr::NonNull;

/// What is wrong.
#[derive(Clone, Copy)]
pub enum Fault {
    /// The bytes around the user's.
    Pads(Wrong),
    /// Made by one API, freed by another.
    Api,
    /// The caller says another size than was asked for.
    Size,
    /// The caller says another alignment than was asked for.
    Align,
    /// Freed before.
    Twice,
    /// Not where the user's bytes begin.
    Inside,
    /// Our own words in front of the block are none of ours.
    Tag,
    /// The byte at this offset of a freed block was written to.
    Disturbed(isize),
}

/// Everything a report tells.
pub struct Report<'a> {
    /// The pointer in question.
    pub p: NonNull<u8>,
    pub block: Guarded,
    pub facts: Option<Facts>,
    pub claim: &'a Claim,
    pub fault: Fault,
}

/// Says what is wrong and ends the process.
#[cold]
#[inline(never)]
pub fn fail(report: &Report<'_>) -> ! {
    let mut out = Errors::new();
    if OPTIONS.is_debug() {
        let _ = report.write_block(&mut out);
        let _ = report.write_stacks(&mut out);
        let _ = writeln!(
            out,
            "Fatal Python error: {}: {report}",
            report.claim.function
        );
    } else {
        let _ = writeln!(out, "pymalloc: {report}");
        let _ = report.write_stacks(&mut out);
    }
    drop(out);
    os::abort()
}

/// A letter as CPython prints it: itself, or its code.
struct Letter(u8);

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if (32..127).contains(&self.0) {
            f.write_char(self.0 as char)
        } else {
            write!(f, "\\x{:02x}", self.0)
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p = self.p;
        let n = self.facts.map_or(0, |facts| facts.n);
        let made_by = Letter(self.facts.map_or(0, |facts| facts.api));
        let freed_by = Letter(self.claim.api);
        match self.fault {
            // CPython's three, `_PyMem_DebugCheckAddress`.
            Fault::Pads(Wrong::Letter(letter)) => write!(
                f,
                "bad ID: Allocated using API '{}', verified using API '{freed_by}'",
                Letter(letter)
            ),
            Fault::Api => write!(
                f,
                "bad ID: Allocated using API '{made_by}', verified using API '{freed_by}'"
            ),
            Fault::Pads(Wrong::Leading) if OPTIONS.is_debug() => {
                f.write_str("bad leading pad byte")
            }
            Fault::Pads(Wrong::Trailing) if OPTIONS.is_debug() => {
                f.write_str("bad trailing pad byte")
            }
            // Ours.
            Fault::Pads(Wrong::Leading) => write!(f, "underflow of {p:p} ({n} bytes)"),
            Fault::Pads(Wrong::Trailing) => write!(f, "overflow of {p:p} ({n} bytes)"),
            Fault::Twice => write!(f, "double free of {p:p} ({n} bytes)"),
            Fault::Inside => {
                let user = self.facts.map(|facts| self.block.user(&facts));
                let at = user.map_or(0, |user| {
                    p.addr().get().wrapping_sub(user.addr().get()) as isize
                });
                write!(
                    f,
                    "free of {p:p}, which is {at} bytes into a block ({n} bytes)"
                )
            }
            Fault::Tag => write!(
                f,
                "free of {p:p}, which is not a block, or its header was overwritten"
            ),
            Fault::Size => write!(
                f,
                "bad size: {p:p} was allocated for {n} bytes, freed as {}",
                self.claim.size.unwrap_or(0)
            ),
            Fault::Align => write!(
                f,
                "bad alignment: {p:p} was allocated at a multiple of {}, freed at {}",
                self.facts.map_or(0, |facts| facts.align()),
                self.claim.align.unwrap_or(0)
            ),
            Fault::Disturbed(at) => {
                write!(f, "write to {p:p} ({n} bytes) after free, at byte {at}")
            }
        }
    }
}

impl Report<'_> {
    /// The lines of `_PyObject_DebugDumpAddress` (CPython 3.11, `Objects/obmalloc.c`).
    fn write_block(&self, out: &mut Errors) -> fmt::Result {
        let Some(facts) = self.facts else {
            return writeln!(out, "Debug memory block at address p={:p}: unknown", self.p);
        };
        let p = self.block.user(&facts);
        let is_live = self.block.state() == Some(State::Live);
        writeln!(
            out,
            "Debug memory block at address p={p:p}: API '{}'",
            Letter(facts.api)
        )?;
        writeln!(out, "    {} bytes originally requested", facts.n)?;
        if is_live {
            self.write_pads(out, &facts)?;
        }
        writeln!(
            out,
            "    The block was made by call #{} to debug malloc/realloc.",
            facts.serial
        )?;
        if facts.n > 0 && (is_live || facts.frame() == Frame::None) {
            write_data(out, p, facts.n)?;
        }
        writeln!(out)
    }

    fn write_pads(&self, out: &mut Errors, facts: &Facts) -> fmt::Result {
        const LEADING: usize = HEAD_BYTES - 9;
        let p = self.block.user(facts);
        // SAFETY: in the block.
        let (leading, tail) = unsafe {
            let tail = p.add(facts.n);
            (
                p.sub(LEADING).cast::<[u8; LEADING]>().read(),
                tail.cast::<[u8; TAIL_BYTES]>().read_unaligned(),
            )
        };
        if leading.iter().all(|byte| *byte == FORBIDDEN) {
            writeln!(
                out,
                "    The {LEADING} pad bytes at p-{LEADING} are FORBIDDENBYTE, as expected."
            )?;
        } else {
            writeln!(
                out,
                "    The {LEADING} pad bytes at p-{LEADING} are not all FORBIDDENBYTE (0x{FORBIDDEN:02x}):"
            )?;
            for (index, byte) in leading.iter().enumerate() {
                write_pad(out, format_args!("p-{}", LEADING - index), *byte)?;
            }
            writeln!(
                out,
                "    Because memory is corrupted at the start, the count of bytes requested"
            )?;
            writeln!(
                out,
                "       may be bogus, and checking the trailing pad bytes may segfault."
            )?;
        }
        // SAFETY: in the block.
        let at = unsafe { p.add(facts.n) };
        write!(out, "    The {TAIL_BYTES} pad bytes at tail={at:p} are ")?;
        if tail.iter().all(|byte| *byte == FORBIDDEN) {
            return writeln!(out, "FORBIDDENBYTE, as expected.");
        }
        writeln!(out, "not all FORBIDDENBYTE (0x{FORBIDDEN:02x}):")?;
        for (index, byte) in tail.iter().enumerate() {
            write_pad(out, format_args!("tail+{index}"), *byte)?;
        }
        Ok(())
    }

    fn write_stacks(&self, out: &mut Errors) -> fmt::Result {
        let (made, freed) = self.facts.map_or((0, 0), |facts| (facts.made, facts.freed));
        if stack_of(made).is_empty() && OPTIONS.is_debug() {
            writeln!(
                out,
                "Enable tracemalloc to get the memory block allocation traceback\n"
            )?;
        }
        write_stack(out, "Memory block allocated at", stack_of(made))?;
        write_stack(out, "Memory block freed at", stack_of(freed))?;
        let here = super::stack();
        write_stack(out, "Noticed at", stack_of(here))
    }
}

fn write_pad(out: &mut Errors, place: fmt::Arguments<'_>, byte: u8) -> fmt::Result {
    write!(out, "        at {place}: 0x{byte:02x}")?;
    out.write_str(if byte == FORBIDDEN {
        "\n"
    } else {
        " *** OUCH\n"
    })
}

/// The first and the last eight bytes.
fn write_data(out: &mut Errors, p: NonNull<u8>, n: usize) -> fmt::Result {
    const ENDS: usize = SERIAL_BYTES;
    // SAFETY: the user's bytes.
    let byte = |at: usize| unsafe { p.add(at).read() };
    out.write_str("    Data at p:")?;
    for at in 0..n.min(ENDS) {
        write!(out, " {:02x}", byte(at))?;
    }
    if n > 2 * ENDS {
        out.write_str(" ...")?;
    }
    for at in n.saturating_sub(ENDS).max(ENDS.min(n))..n {
        write!(out, " {:02x}", byte(at))?;
    }
    writeln!(out)
}

/// One line a frame, as `tracemalloc` writes them; the frames of this library left out at the top.
fn write_stack(out: &mut Errors, title: &str, stack: &[usize]) -> fmt::Result {
    if stack.is_empty() {
        return Ok(());
    }
    writeln!(out, "{title} (most recent call first):")?;
    let mut inside = true;
    let mut result = Ok(());
    os::symbols(stack, |symbol| {
        let function = core::str::from_utf8(symbol.function.as_bytes()).unwrap_or("?");
        inside = inside && is_ours(function, symbol.object.as_bytes());
        if !inside && result.is_ok() {
            result = write_frame(out, function, symbol);
        }
    });
    result?;
    writeln!(out)
}

/// Whether a frame is this allocator's.
fn is_ours(function: &str, object: &[u8]) -> bool {
    object.ends_with(b"/libpymalloc.so")
        || function.contains("pymalloc::")
        || function.starts_with("_Unwind_")
        || function.contains("__rust_")
}

fn write_frame(out: &mut Errors, function: &str, symbol: &os::Symbol) -> fmt::Result {
    let text = |bytes| core::str::from_utf8(bytes).unwrap_or("?");
    let (object, place) = (
        text(symbol.object.as_bytes()),
        text(symbol.place.as_bytes()),
    );
    match place.rsplit_once(':') {
        Some((file, line)) => write!(out, "  File \"{file}\", line {line}")?,
        None => write!(out, "  File \"{object}\", offset {:#x}", symbol.offset)?,
    }
    if !matches!(function, "" | "?") {
        write!(out, ", in {function}")?;
    }
    writeln!(out)
}
