//! Two pointers in thread-local storage, read through the initial-exec relocation.
//!
//! Stable Rust cannot choose a TLS model, so the variables are defined and read in assembly. They hold the
//! distance from a shared record without lists and without room to the thread's own: 0 at first, so a
//! thread that never called us takes the branch that an empty list takes, and so does a call that comes
//! while the loader still relocates, before it has filled in any thread-local storage. After its end, a
//! thread points at a second such record that says so.
//!
//! | word | thread without record, before and after | with lists | with hidden lists |
//! |---|---|---|---|
//! | `PYMALLOC_THREAD`: frees, and all that is slow | 0; the record of ended threads | its record | its record |
//! | `PYMALLOC_SHOWN`: where allocs look | 0 | its record | 0: allocs find no block |

use super::{OPTIONS, Thread, regions};
use crate::obmalloc::list::Buffers;
use crate::obmalloc::thread_lists::ThreadLists;
use core::cell::Cell;
use core::ptr::NonNull;

/// A record that threads share because it is never written.
#[repr(transparent)]
struct Shared(Thread);

// SAFETY: a record without room is only read: pops find no block, pushes no room, and the slow path
// replaces it before it writes.
unsafe impl Sync for Shared {}

static NO_THREAD: Shared = Shared(Thread::EMPTY);

/// What a thread points at after its end.
static ENDED: Shared = Shared(Thread {
    ended: Cell::new(true),
    ..Thread::EMPTY
});

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".pushsection .tbss.pymalloc_thread,\"awT\",@nobits",
    ".balign 8",
    ".globl PYMALLOC_THREAD",
    ".hidden PYMALLOC_THREAD",
    ".type PYMALLOC_THREAD,@object",
    ".size PYMALLOC_THREAD,8",
    "PYMALLOC_THREAD:",
    ".zero 8",
    ".globl PYMALLOC_SHOWN",
    ".hidden PYMALLOC_SHOWN",
    ".type PYMALLOC_SHOWN,@object",
    ".size PYMALLOC_SHOWN,8",
    "PYMALLOC_SHOWN:",
    ".zero 8",
    ".popsection",
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".pushsection .tbss.pymalloc_thread,\"awT\",%nobits",
    ".balign 8",
    ".globl PYMALLOC_THREAD",
    ".hidden PYMALLOC_THREAD",
    ".type PYMALLOC_THREAD,%object",
    ".size PYMALLOC_THREAD,8",
    "PYMALLOC_THREAD:",
    ".zero 8",
    ".globl PYMALLOC_SHOWN",
    ".hidden PYMALLOC_SHOWN",
    ".type PYMALLOC_SHOWN,%object",
    ".size PYMALLOC_SHOWN,8",
    "PYMALLOC_SHOWN:",
    ".zero 8",
    ".popsection",
);

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the preload library is written for x86-64 and aarch64");

/// Reads one of this thread's words.
macro_rules! read {
    ($word:literal) => {{
        let distance: usize;
        // SAFETY: reads the thread-local word.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            core::arch::asm!(
                concat!("mov {0}, qword ptr [rip + ", $word, "@GOTTPOFF]"),
                "mov {0}, qword ptr fs:[{0}]",
                out(reg) distance,
                options(nostack, preserves_flags, readonly, pure),
            );
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            core::arch::asm!(
                concat!("adrp {0}, :gottprel:", $word),
                concat!("ldr {0}, [{0}, :gottprel_lo12:", $word, "]"),
                "mrs {1}, tpidr_el0",
                "ldr {0}, [{0}, {1}]",
                out(reg) distance,
                out(reg) _,
                options(nostack, preserves_flags, readonly, pure),
            );
        }
        distance
    }};
}

/// Writes one of this thread's words.
macro_rules! write {
    ($word:literal, $distance:expr) => {{
        let distance: usize = $distance;
        // SAFETY: writes this thread's own word.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            core::arch::asm!(
                concat!("mov {0}, qword ptr [rip + ", $word, "@GOTTPOFF]"),
                "mov qword ptr fs:[{0}], {1}",
                out(reg) _,
                in(reg) distance,
                options(nostack, preserves_flags),
            );
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            core::arch::asm!(
                concat!("adrp {0}, :gottprel:", $word),
                concat!("ldr {0}, [{0}, :gottprel_lo12:", $word, "]"),
                "mrs {1}, tpidr_el0",
                "str {2}, [{0}, {1}]",
                out(reg) _,
                out(reg) _,
                in(reg) distance,
                options(nostack, preserves_flags),
            );
        }
    }};
}

/// The record at a distance from the shared one.
#[inline(always)]
fn at(distance: usize) -> &'static Thread {
    let record = (&raw const NO_THREAD).addr().wrapping_add(distance);
    // SAFETY: the distance leads to a record, and records live for ever; they were exposed in `distance_to`.
    unsafe { &*core::ptr::with_exposed_provenance(record) }
}

fn distance_to(thread: &Thread) -> usize {
    let record = core::ptr::from_ref(thread).expose_provenance();
    record.wrapping_sub((&raw const NO_THREAD).expose_provenance())
}

/// This thread's record.
#[inline(always)]
pub fn current() -> &'static Thread {
    at(read!("PYMALLOC_THREAD"))
}

/// The lists that its allocs look at.
#[inline(always)]
pub fn shown() -> &'static ThreadLists {
    &at(read!("PYMALLOC_SHOWN")).lists
}

/// Shows the lists of this thread's record to its allocs, or those without blocks, if they are hidden.
pub fn show(thread: &Thread) {
    write!(
        "PYMALLOC_SHOWN",
        match thread.lists.buffers() {
            Buffers::Hidden => 0,
            _ => distance_to(thread),
        }
    );
}

/// Of what kind a thread's lists are.
pub fn buffers() -> Buffers {
    OPTIONS.buffers()
}

/// A record for this thread, which points at it from now on. Its lists' stacks lie behind it.
pub fn claim() -> Option<&'static Thread> {
    let place = regions::obtain()?.cast::<Thread>();
    // SAFETY: a region of ours, long enough for a record and the stacks behind it.
    let thread = unsafe {
        place.write(Thread::EMPTY);
        let thread = place.as_ref();
        super::attach(thread, place.add(1).cast());
        thread
    };
    write!("PYMALLOC_THREAD", distance_to(thread));
    Some(thread)
}

/// Leaves the record to nobody: this thread goes on as one that ended.
pub fn forget(_: &'static Thread) {
    write!("PYMALLOC_SHOWN", 0);
    write!("PYMALLOC_THREAD", distance_to(&ENDED.0));
}

/// Gives this thread's record to the next one. Destructors that run later find the shared record of
/// ended threads.
pub fn release(thread: &'static Thread) {
    forget(thread);
    regions::give(NonNull::from(thread).cast());
}
