//! Sampled guarded blocks, for production: `sample:N`, by preload only.
//!
//! ```text
//! region: | guard | slot, 4 pages | guard | slot, 4 pages | guard | …        256 slots
//!                   block at its end ^
//! ```
//!
//! About one of N allocations gets a slot of its own, against its end, and a slot is inaccessible while nobody
//! has it: an overflow or a use after free faults at once, and the handler says whose block it was, and where it
//! was made and freed. (The idea is GWP-ASan's.) A slot is used again as late as can be.
//!
//! | state of a slot | pages | left by |
//! |---|---|---|
//! | never, freed | inaccessible | being taken, in turn |
//! | live | accessible | the free that changes it: one of two racing ones |
//! | taken | being changed by one thread | |
//!
//! Whoever finds nothing to take on a list comes by here, one such call standing for some dozens of
//! allocations. Rust's `dealloc` trusts its layout and never looks at the address, so only C and C++ are sampled.

use super::guard::{stack_at, write_stack};
use super::{OPTIONS, nothing};
use crate::os::{self, Errors, Fault};
use crate::sync::{AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use core::fmt::Write;
use core::ptr::{NonNull, null_mut};

const SLOTS: usize = 256;
/// Pages of a slot, guard not counted.
const PAGES: usize = 4;
/// Allocations that one call here stands for.
const WORTH: usize = 32;
/// Frames kept.
const FRAMES: usize = 16;

const FREE: u8 = 0;
const TAKEN: u8 = 1;
const LIVE: u8 = 2;

/// What is known of a slot.
struct Slot {
    state: AtomicU8,
    /// The block that is or was there: its address and bytes; where it was made and freed.
    addr: AtomicUsize,
    size: AtomicUsize,
    made: AtomicU32,
    freed: AtomicU32,
}

/// First byte of the region: null until it is made.
static REGION: AtomicPtr<u8> = AtomicPtr::new(null_mut());
static TABLE: [Slot; SLOTS] = [const {
    Slot {
        state: AtomicU8::new(FREE),
        addr: AtomicUsize::new(0),
        size: AtomicUsize::new(0),
        made: AtomicU32::new(0),
        freed: AtomicU32::new(0),
    }
}; SLOTS];
/// The slot to try next, and allocations until the next sample.
static NEXT: AtomicUsize = AtomicUsize::new(0);
static LEFT: AtomicUsize = AtomicUsize::new(usize::MAX);

fn stride() -> usize {
    (PAGES + 1) * os::page_size()
}

#[cold]
fn region() -> *mut u8 {
    let len = SLOTS * stride() + os::page_size();
    let Some(made) = os::reserve(len, os::page_size()) else {
        return null_mut();
    };
    // Release: nothing is published but the address; Acquire for symmetry with a loser's view.
    match REGION.compare_exchange(
        null_mut(),
        made.as_ptr(),
        Ordering::AcqRel,
        Ordering::Acquire,
    ) {
        Ok(_) => {
            os::on_fault::<Report>();
            made.as_ptr()
        }
        Err(other) => {
            // SAFETY: reserved just now, known to nobody.
            unsafe { os::unmap(made, len) };
            other
        }
    }
}

/// Whether this call's turn has come.
fn is_due() -> bool {
    let n = OPTIONS.sample() as usize;
    // Relaxed, as all of these: a rate, not a count.
    let left = LEFT.load(Ordering::Relaxed).min(2 * n);
    if left > WORTH {
        LEFT.store(left - WORTH, Ordering::Relaxed);
        return false;
    }
    // Between half and one and a half of the rate, by what the clock and the turn happen to be.
    let noise =
        (os::now_ms() as usize ^ NEXT.load(Ordering::Relaxed)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    LEFT.store(n / 2 + (noise >> 32) % n.max(1), Ordering::Relaxed);
    true
}

/// A guarded block, if it is this call's turn and there is room for one. Zeroed.
pub(super) fn alloc(size: usize, align: usize) -> Option<NonNull<u8>> {
    let room = PAGES * os::page_size();
    if OPTIONS.sample() == 0 || size == 0 || size > room || align > os::page_size() || !is_due() {
        return None;
    }
    os::keep_errno(|| {
        // A thread that is new has no stack to show yet.
        super::thread::caller()?;
        let mut start = REGION.load(Ordering::Acquire);
        if start.is_null() {
            start = region();
        }
        if start.is_null() {
            return None;
        }
        let index = NEXT.fetch_add(1, Ordering::Relaxed) % SLOTS;
        let slot = &TABLE[index];
        // Acquire: pairs with `free`, so that its figures are not written after ours.
        slot.state
            .compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        // SAFETY: the slot's own pages, which this thread has taken.
        unsafe {
            let pages = NonNull::new_unchecked(start.add(index * stride() + os::page_size()));
            if !os::commit(pages, room) {
                slot.state.store(FREE, Ordering::Release);
                return None;
            }
            let p = pages.add((room - size) & !(align - 1));
            p.write_bytes(0, size);
            let (slack, len) = slack(p, size);
            slack.write_bytes(FILLING, len);
            slot.addr.store(p.addr().get(), Ordering::Relaxed);
            slot.size.store(size, Ordering::Relaxed);
            slot.made.store(stack_at(FRAMES), Ordering::Relaxed);
            slot.freed.store(0, Ordering::Relaxed);
            // Release: publishes the figures to whoever frees it.
            slot.state.store(LIVE, Ordering::Release);
            Some(p)
        }
    })
}

/// The slot around an address, if it is in the region, and the address's distance from the slot's first page.
fn slot_at(addr: usize) -> Option<&'static Slot> {
    let start = REGION.load(Ordering::Acquire);
    let offset = addr.wrapping_sub(start.addr());
    if start.is_null() || offset >= SLOTS * stride() + os::page_size() {
        return None;
    }
    // An access in a guard page belongs to the nearer slot.
    let index = offset.saturating_sub(os::page_size() / 2) / stride();
    TABLE.get(index.min(SLOTS - 1))
}

/// What the alignment leaves between a block's end and the guard.
const FILLING: u8 = 0xFD;

fn slack(p: NonNull<u8>, size: usize) -> (NonNull<u8>, usize) {
    let end = p.addr().get() + size;
    // SAFETY: at most the end of the slot.
    unsafe { (p.add(size), end.next_multiple_of(os::page_size()) - end) }
}

/// Frees a sampled block; false when `p` is not in the region. Reports what is not live.
pub(super) fn free(p: NonNull<u8>) -> bool {
    let Some(slot) = slot_at(p.addr().get()) else {
        return false;
    };
    let is_start = slot.addr.load(Ordering::Relaxed) == p.addr().get();
    // Acquire: pairs with `alloc`.
    let taken = is_start
        && slot
            .state
            .compare_exchange(LIVE, TAKEN, Ordering::Acquire, Ordering::Relaxed)
            .is_ok();
    if !taken {
        let what = if is_start {
            "double free of"
        } else {
            "free inside"
        };
        Report::write(p.addr().get(), slot, what);
        os::abort();
    }
    let (slack, len) = slack(p, slot.size.load(Ordering::Relaxed));
    // SAFETY: in the slot, which is this thread's now.
    if let Some(at) = (0..len).find(|at| unsafe { slack.add(*at).read_volatile() } != FILLING) {
        Report::write(slack.addr().get() + at, slot, "write to");
        os::abort();
    }
    slot.freed.store(stack_at(FRAMES), Ordering::Relaxed);
    let page = os::page_size();
    let pages =
        p.addr().get() - (p.addr().get() - REGION.load(Ordering::Relaxed).addr()) % stride();
    os::keep_errno(|| {
        // SAFETY: the slot's own pages; nobody uses them, by the caller's word.
        unsafe {
            let pages =
                NonNull::new_unchecked(core::ptr::with_exposed_provenance_mut(pages + page));
            os::purge(pages, PAGES * page);
            os::protect(pages, PAGES * page);
        }
    });
    // Release: the next owner's figures come after ours.
    slot.state.store(FREE, Ordering::Release);
    true
}

/// Bytes of the sampled block at `p`; `None` outside the region, 0 where none is live.
pub(super) fn usable_bytes(p: NonNull<u8>) -> Option<usize> {
    let slot = slot_at(p.addr().get())?;
    let live = slot.state.load(Ordering::Acquire) == LIVE
        && slot.addr.load(Ordering::Relaxed) == p.addr().get();
    Some(if live {
        slot.size.load(Ordering::Relaxed)
    } else {
        0
    })
}

/// What is said of a fault.
struct Report;

impl Report {
    fn write(addr: usize, slot: &Slot, what: &str) {
        let (start, size) = (
            slot.addr.load(Ordering::Relaxed),
            slot.size.load(Ordering::Relaxed),
        );
        let state = match slot.state.load(Ordering::Relaxed) {
            FREE => "freed",
            _ => "live",
        };
        let at = addr.wrapping_sub(start) as isize;
        let mut out = Errors::new();
        let _ = writeln!(
            out,
            "pymalloc: {what} {addr:#x}, which is byte {at} of a {state} block of {size} bytes (sampled)"
        );
        let _ = write_stack(
            &mut out,
            "Memory block allocated at",
            slot.made.load(Ordering::Relaxed),
        );
        let _ = write_stack(
            &mut out,
            "Memory block freed at",
            slot.freed.load(Ordering::Relaxed),
        );
        let _ = write_stack(&mut out, "Noticed at", stack_at(FRAMES));
    }
}

impl Fault for Report {
    fn at(addr: usize) {
        if let Some(slot) = slot_at(addr) {
            Self::write(addr, slot, "access to");
        } else if let Some(p) = NonNull::new(core::ptr::without_provenance_mut(addr))
            && nothing::is_live(p).is_some()
        {
            os::say(format_args!(
                "access to {p:p}, which is a block of no bytes"
            ));
        }
    }
}
