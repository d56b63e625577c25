//! One pointer in thread-local storage, read through the initial-exec relocation.
//!
//! Stable Rust cannot choose a TLS model, so the variable is defined and read in assembly. It holds the
//! distance from a shared record without lists and without room to the thread's own: 0 at first, so a
//! thread that never called us takes the branch that an empty list takes, and so does a call that comes
//! while the loader still relocates, before it has filled in any thread-local storage. After its end, a
//! thread points at a second such record that says so.

use super::{OPTIONS, Thread, regions};
use crate::obmalloc::list::Buffers;
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
    ".popsection",
);

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the preload library is written for x86-64 and aarch64");

/// This thread's record.
#[inline(always)]
pub fn current() -> &'static Thread {
    let distance: usize;
    // SAFETY: reads the thread-local word.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!(
            "mov {0}, qword ptr [rip + PYMALLOC_THREAD@GOTTPOFF]",
            "mov {0}, qword ptr fs:[{0}]",
            out(reg) distance,
            options(nostack, preserves_flags, readonly, pure),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        let base: usize;
        core::arch::asm!(
            "adrp {0}, :gottprel:PYMALLOC_THREAD",
            "ldr {0}, [{0}, :gottprel_lo12:PYMALLOC_THREAD]",
            "mrs {1}, tpidr_el0",
            "ldr {0}, [{0}, {1}]",
            out(reg) distance,
            out(reg) base,
            options(nostack, preserves_flags, readonly, pure),
        );
        let _ = base;
    }
    let record = (&raw const NO_THREAD).addr().wrapping_add(distance);
    // SAFETY: the distance leads to a record, and records live for ever; they were exposed in `point_at`.
    unsafe { &*core::ptr::with_exposed_provenance(record) }
}

fn point_at(thread: &'static Thread) {
    let record = core::ptr::from_ref(thread).expose_provenance();
    let distance = record.wrapping_sub((&raw const NO_THREAD).expose_provenance());
    // SAFETY: writes this thread's own pointer.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!(
            "mov {0}, qword ptr [rip + PYMALLOC_THREAD@GOTTPOFF]",
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
            "adrp {0}, :gottprel:PYMALLOC_THREAD",
            "ldr {0}, [{0}, :gottprel_lo12:PYMALLOC_THREAD]",
            "mrs {1}, tpidr_el0",
            "str {2}, [{0}, {1}]",
            out(reg) _,
            out(reg) _,
            in(reg) distance,
            options(nostack, preserves_flags),
        );
    }
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
        thread.lists.attach(place.add(1).cast(), buffers());
        thread
    };
    point_at(thread);
    Some(thread)
}

/// Leaves the record to nobody: this thread goes on as one that ended.
pub fn forget(_: &'static Thread) {
    point_at(&ENDED.0);
}

/// Gives this thread's record to the next one. Destructors that run later find the shared record of
/// ended threads.
pub fn release(thread: &'static Thread) {
    point_at(&ENDED.0);
    regions::give(NonNull::from(thread).cast());
}
