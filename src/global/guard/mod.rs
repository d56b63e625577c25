//! Guarded blocks: `PYMALLOC=debug`, CPython's debug hooks, and `checks:on`.
//!
//! ```text
//! watch ──► alloc:   slow::take ──► tag, head, user's bytes, tail     (layout.rs, tag.rs, pads.rs)
//!           free:    find the block around the pointer; look at tag, API, size, pads; fill as dead;
//!                    quarantine ──► looked at again ──► slow::give
//!           wrong:   report.rs, abort
//! ```
//!
//! Every block has a tag at its beginning, so a pointer that is not exactly one that was handed out is
//! recognised by the arithmetic of its pool: interior, misaligned, never handed out, freed before.
//! Blocks above 256 KiB have inaccessible pages beside them, and while they wait in the quarantine all of their
//! pages but the first are (pages.rs).
//!
//! Invariants:
//! * I1 a live block's tag, head, tail and call number are as they were written when it was made.
//! * I2 a dead block's body consists of 0xDD (with `checks`: 0), or is inaccessible.
//! * I3 no lock is held while blocks are looked at or stacks are walked.
//!
//! CPython's order of checks is kept: API, pads in front, pads behind; ours come before (what kind of pointer
//! is it) and after (size, alignment). A resized block always moves, so old pointers are noticed; if there is no
//! memory, nothing has changed.

mod layout;
mod pads;
mod pages;
mod quarantine;
mod report;
mod stacks;
mod tag;

pub(super) use pages::most_frames;
pub(super) use quarantine::lock;
pub(super) use report::{Guards, write_stack};
pub(super) use tag::secret;

use super::misuse::owner_around;
use super::{HUGE, MAP, OPTIONS, slow, thread};
use crate::obmalloc::address_map::{Owner, class_of};
use crate::obmalloc::geometry::{Geometry, Production};
use crate::obmalloc::heap::class_around;
use crate::obmalloc::size_class::{ALIGNMENT, SizeClass};
use crate::os;
use crate::sync::{AtomicU64, Ordering};
use core::ptr::{NonNull, null_mut};
use layout::layout;
use pads::CLEAN;
use pages::Room;
use quarantine::Waiting;
use report::{Fault, Report};
use tag::{Facts, Guarded, State};

/// Alignments beyond this are not guarded: the way back from the user's pointer would be too long.
const ALIGN_MOST: usize = 16 << 20;

/// Numbers the calls (CPython: `serialno`).
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// Walks a stack, so that what walks stacks is loaded: that takes the loader's lock and may allocate. Once, before the
/// hooks count as registered; hold no lock.
pub(super) fn prepare() {
    os::return_addresses(&mut [0]);
}

/// A call that frees or resizes: what it says of the block.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    /// Bytes, if it says so.
    pub size: Option<usize>,
    /// Alignment, if it says so.
    pub align: Option<usize>,
    /// The API.
    pub api: u8,
    /// CPython's name of the function.
    pub function: &'static str,
}

/// The function of a free and of a resize, as CPython names them.
pub(super) const FREE: &str = "_PyMem_DebugRawFree";
pub(super) const REALLOC: &str = "_PyMem_DebugRawRealloc";

/// What lies around a pointer.
enum Found {
    /// A block with room for a tag.
    Block(Guarded),
    /// Nothing of ours that is guarded.
    Nothing,
}

fn find(p: NonNull<u8>) -> Found {
    let addr = p.addr().get();
    let labelled = class_of(MAP.label(addr & !(ALIGNMENT - 1)));
    // An aligned block's bytes may begin in a slot of its run in which no block does.
    let class = labelled.or_else(|| match MAP.owner(addr) {
        Owner::Arena => class_around(&MAP, p),
        _ => None,
    });
    let base = match class {
        Some(class) => {
            // SAFETY: in a pool of `class`, which is in use.
            let memory = unsafe { Production::memory(Production::pool_of(p, class)) };
            let index = (addr - memory.addr().get()) / class.block_bytes();
            if index >= Production::capacity(class) as usize {
                return Found::Nothing;
            }
            // SAFETY: inside the pool.
            unsafe { memory.add(index * class.block_bytes()) }
        }
        None => match owner_around(p) {
            Owner::Huge(descriptor) => match HUGE.describe(descriptor) {
                (base, _, true) => amplify(base),
                _ => return Found::Nothing,
            },
            _ => return Found::Nothing,
        },
    };
    // SAFETY: a block of ours; the smallest class that guarded blocks have is larger than a tag.
    unsafe { Found::Block(Guarded::at(base)) }
}

/// A pointer to a huge block of ours at `base`.
fn amplify(base: usize) -> NonNull<u8> {
    debug_assert!(base != 0);
    // SAFETY: a block's address, never 0; its mapping was exposed when it was made.
    unsafe { NonNull::new_unchecked(core::ptr::with_exposed_provenance_mut(base)) }
}

/// This thread's stack by number.
fn stack() -> u32 {
    stack_at(OPTIONS.frames())
}

/// As [`stack`], of at most `depth` frames.
pub(super) fn stack_at(depth: usize) -> u32 {
    let depth = depth.min(os::MOST_SYMBOLS);
    let Some(thread) = thread::own().filter(|_| depth > 0 && super::exit::is_registered()) else {
        return 0;
    };
    // The unwinder is not ours: should it allocate after all, that block has no stack.
    if thread.walking.replace(true) {
        return 0;
    }
    let mut frames = [0; os::MOST_SYMBOLS];
    let n = os::return_addresses(&mut frames[..depth]);
    thread.walking.set(false);
    stacks::number_of(&frames[..n])
}

/// A block for an API. What the kernel refuses on the way, such as a page to guard it, leaves no errno.
pub(super) fn alloc(size: usize, align: usize, zeroed: bool, api: u8) -> Option<NonNull<u8>> {
    os::keep_errno(|| make(size, align, zeroed, api))
}

fn make(size: usize, align: usize, zeroed: bool, api: u8) -> Option<NonNull<u8>> {
    let align = align.max(ALIGNMENT);
    if align > ALIGN_MOST {
        return plain(size, align, zeroed);
    }
    let room = room(size, align).or_else(|| {
        // What waits in the quarantine is better used than nothing.
        drain();
        room(size, align)
    })?;
    // SAFETY: the memory is ours until it is returned.
    let block = unsafe { Guarded::at(room.base) };
    block.set_facts(&Facts {
        n: size,
        offset: room.offset,
        // Relaxed: only uniqueness matters.
        serial: SERIAL.fetch_add(1, Ordering::Relaxed) + 1,
        made: stack(),
        freed: 0,
        align_log: align.trailing_zeros() as u8,
        api,
        frame: room.frame as u8,
    });
    let is_zero = room.is_zero;
    let facts = block.facts()?;
    let is_debug = OPTIONS.is_debug();
    // SAFETY: the block is ours until it is returned.
    unsafe {
        pads::write(block, &facts, is_debug);
        let p = block.user(&facts);
        match (zeroed, is_zero) {
            (true, true) => {}
            (true, false) => p.write_bytes(0, size),
            (false, _) if is_debug => pads::fill(p, size, CLEAN),
            (false, true) => {}
            (false, false) => pads::fill(p, size, 0),
        }
        block.set_state(State::Live);
        Some(p)
    }
}

/// Memory for a block, by its tier.
fn room(size: usize, align: usize) -> Option<Room> {
    let total = layout(size, align)?.total;
    if SizeClass::aligned(total, align).is_none() {
        return pages::take(size, align, !OPTIONS.is_debug());
    }
    pages::take_bare(size, align)
}

/// A block without a guard.
fn plain(size: usize, align: usize, zeroed: bool) -> Option<NonNull<u8>> {
    let (p, is_zero) = slow::take(size, align)?;
    // SAFETY: at least a page, and ours until it is returned.
    unsafe { Guarded::at(p).forget() };
    if zeroed && !is_zero {
        // SAFETY: a block of at least `size` bytes.
        unsafe { p.write_bytes(0, size) };
    }
    Some(p)
}

/// The live block whose user's bytes begin at `p`; reports what else `p` is. `None` for what is not guarded.
fn verified(p: NonNull<u8>, claim: &Claim) -> Option<(Guarded, Facts)> {
    let Found::Block(block) = find(p) else {
        return None;
    };
    let (state, facts) = (block.state(), block.facts());
    let fault = match (state, facts) {
        (Some(state), Some(facts)) if block.user(&facts) == p => match state {
            State::Live => fault_of(block, &facts, claim),
            State::Dead | State::Gone => Some(Fault::Twice),
        },
        (Some(_), Some(_)) => Some(Fault::Inside),
        // Beyond `ALIGN_MOST`.
        (None, _) if block.base() == p && HUGE.usable_bytes(p).is_some() => return None,
        // Nothing was ever handed out here, or somebody wrote over the tag.
        _ => Some(Fault::Tag),
    };
    match (fault, facts) {
        (None, Some(facts)) => Some((block, facts)),
        (fault, facts) => report::fail(&Report {
            p,
            block,
            facts: facts.filter(|_| state.is_some()),
            claim,
            fault: fault.unwrap_or(Fault::Tag),
        }),
    }
}

/// What is wrong with a live block that is to be freed or resized as `claim` says.
///
/// Where another API than the one that made it may free it (`mismatch:off`), that one's size and alignment are not
/// looked at either: a program's own `operator new` may have asked `malloc` for a rounded size.
fn fault_of(block: Guarded, facts: &Facts, claim: &Claim) -> Option<Fault> {
    let is_other = facts.api != claim.api;
    let is_borne = is_other && !OPTIONS.reports_mismatch();
    let api = if is_borne { facts.api } else { claim.api };
    // SAFETY: a live block, its tag whole.
    let wrong = unsafe { pads::wrong(block, facts, api, OPTIONS.is_debug()) };
    if let Some(wrong) = wrong {
        return Some(Fault::Pads(wrong));
    }
    if is_other {
        return (!is_borne).then_some(Fault::Api);
    }
    if claim.size.is_some_and(|said| said != facts.n) {
        return Some(Fault::Size);
    }
    let align = facts.align();
    let differs = |said: usize| said.max(ALIGNMENT) != align;
    claim.align.is_some_and(differs).then_some(Fault::Align)
}

/// Frees a guarded block; false when `p` is none.
///
/// # Safety
/// If `p` is a live block, it is not used any more.
pub(super) unsafe fn free(p: NonNull<u8>, claim: &Claim) -> bool {
    // SAFETY: passed on.
    os::keep_errno(|| unsafe { retire(p, claim) })
}

/// # Safety
/// As [`free`].
unsafe fn retire(p: NonNull<u8>, claim: &Claim) -> bool {
    let Some((block, mut facts)) = verified(p, claim) else {
        return false;
    };
    if !block.kill() {
        report::fail(&Report {
            p,
            block,
            facts: Some(facts),
            claim,
            fault: Fault::Twice,
        });
    }
    facts.freed = stack();
    block.set_facts(&facts);
    // SAFETY: ours since it was killed.
    unsafe {
        let (body, len) = block.body(&facts);
        let is_concealed = pages::conceal(block, &facts);
        let (seen, weight) = if is_concealed {
            (pages::visible(block, &facts), CONCEALED)
        } else {
            (len, len)
        };
        pads::fill(body, seen, pads::dead(OPTIONS.is_debug()));
        let waiting = Waiting {
            base: block.base(),
            weight,
            is_concealed,
        };
        let seed = (!OPTIONS.is_debug()).then(secret);
        if let Some(refused) = quarantine::push(waiting, seed) {
            leave(refused);
        }
        while let Some(oldest) = quarantine::pop() {
            leave(oldest);
        }
    }
    true
}

/// Bytes that every concealed block counts as, so that there are not too many.
const CONCEALED: usize = 64 * 1024;

/// Gives a block that has waited to its heap, after a last look.
///
/// # Safety
/// The block is dead and in no quarantine.
unsafe fn leave(waiting: Waiting) {
    // SAFETY: a guarded block.
    let block = unsafe { Guarded::at(waiting.base) };
    let facts = look_at_dead(waiting);
    let class = class_of(MAP.label(block.base().addr().get()));
    // SAFETY: dead, so nobody's; `slow::give` gets it whole and accessible.
    unsafe {
        if !pages::reveal(block, &facts) {
            return pages::give_up(block);
        }
        block.set_state(State::Gone);
        slow::give(block.base(), class);
    }
}

/// What is known of a dead block; reports it if it was written to.
fn look_at_dead(waiting: Waiting) -> Facts {
    let claim = Claim {
        size: None,
        align: None,
        api: 0,
        function: FREE,
    };
    // SAFETY: a guarded block.
    let block = unsafe { Guarded::at(waiting.base) };
    let fail = |facts: Option<Facts>, fault: Fault| -> ! {
        let p = facts.map_or(block.base(), |facts| block.user(&facts));
        report::fail(&Report {
            p,
            block,
            facts,
            claim: &claim,
            fault,
        })
    };
    let (Some(State::Dead), Some(facts)) = (block.state(), block.facts()) else {
        fail(block.facts(), Fault::Tag)
    };
    let (body, len) = block.body(&facts);
    let seen = if waiting.is_concealed {
        pages::visible(block, &facts)
    } else {
        len
    };
    let before = block.user(&facts).addr().get() - body.addr().get();
    // SAFETY: in the block, and accessible.
    if let Some(at) = unsafe { pads::disturbed(body, seen, pads::dead(OPTIONS.is_debug())) } {
        fail(Some(facts), Fault::Disturbed(at as isize - before as isize));
    }
    facts
}

/// Gives all blocks that wait to their heaps.
pub(super) fn drain() {
    while let Some(waiting) = quarantine::pop_any() {
        // SAFETY: dead, and in no quarantine any more.
        unsafe { leave(waiting) }
    }
}

/// Looks at all blocks that wait: at the end of the process.
pub(super) fn look_at_all() {
    while let Some(waiting) = quarantine::pop_any() {
        look_at_dead(waiting);
    }
}

/// Makes a guarded block one of `size` bytes; `tell` learns of the new one before the old one is freed. Null
/// when memory is out; then nothing has changed. `None` when `p` is no guarded block.
///
/// # Safety
/// `p` is a live block, or corruption to be reported; it is given up if the result is a block.
pub(super) unsafe fn resize(
    p: NonNull<u8>,
    size: usize,
    align: usize,
    claim: &Claim,
    tell: impl FnOnce(NonNull<u8>) -> *mut u8,
) -> Option<*mut u8> {
    let (_, facts) = verified(p, claim)?;
    let Some(new) = alloc(size, align, false, claim.api) else {
        return Some(null_mut());
    };
    // SAFETY: both blocks hold the copied bytes and are disjoint; the old one is given up.
    unsafe {
        new.copy_from_nonoverlapping(p, facts.n.min(size));
        let told = tell(new);
        free(p, claim);
        Some(told)
    }
}

/// Makes a live block one of another API: of the one on whose behalf it was made.
///
/// # Safety
/// `p` is a live block that its user does not have yet.
#[cfg(feature = "preload")]
pub(super) unsafe fn adopt(p: NonNull<u8>, api: u8) {
    if let Found::Block(block) = find(p)
        && let Some(mut facts) = block.facts()
        && block.state() == Some(State::Live)
    {
        facts.api = api;
        block.set_facts(&facts);
        // SAFETY: nobody else's by the caller's word.
        unsafe { pads::write(block, &facts, OPTIONS.is_debug()) }
    }
}

/// Bytes asked for by the guarded block at `p`; `None` when none begins there.
pub(super) fn usable_bytes(p: NonNull<u8>) -> Option<usize> {
    let Found::Block(block) = find(p) else {
        return None;
    };
    let Some(state) = block.state() else {
        // Beyond `ALIGN_MOST`.
        return HUGE.usable_bytes(p);
    };
    let facts = block.facts()?;
    (state == State::Live && block.user(&facts) == p).then_some(facts.n)
}
