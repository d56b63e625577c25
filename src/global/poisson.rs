//! Sampling: each byte that is asked for has the same small chance to have its block watched.
//!
//! ```text
//!                     ┌ unpark ─ look at what was freed ─ take, refill, flush ─ draw ─ park ┐
//! slow path of a list ┤                                                                     ├─► hits go on as ever
//!                     └─ reached the park: this block is sampled ─► table ─► observers      ┘
//! ```
//!
//! The gaps between samples are exponential, so what is left of one forgets how long it has been. Where lists are hidden,
//! as those of C's front are, every alloc comes by and counts what is left down (`countdown.rs`), and the free of a
//! sampled block is diverted to here. Elsewhere, as in the picture, at every
//! slow call of a list a new gap is drawn. If it ends within the blocks that the list can give before its next
//! slow call, the list is *parked* there (`obmalloc/parking.rs`): it seems empty one block early, and whoever
//! asks for that block comes here. So a block of `n` bytes, its class's, is sampled with the probability
//! 1 - e^(-n/interval), whoever asks for it, and [`charged`] tells `n` for whoever adds up.
//!
//! A freed block then passes its list's buffer, which only slow calls move; they ask a filter for each of the at
//! most 16 blocks in it. So the free of a sampled block is seen before its memory can be anybody else's, but
//! perhaps some frees later.
//!
//! * **I1** Who parks never stops coming: [`watch`](super::watch)'s mode stays on when nobody samples any
//!   more, so that no list is used parked.
//! * **I2** While a thread works on a list with a buffer here ([`Thread::drawing`]), what it calls back for goes past all lists.

#[cfg(feature = "preload")]
use super::OPTIONS;
use super::sampled_blocks::{SampledBlocks, pool_bit};
use super::thread::{self, Caller, Thread};
use super::watch::{self, Event, Observers};
use super::{MAP, SharedHeap, behind, nothing, slow};
use crate::obmalloc::address_map::class_of;
use crate::obmalloc::block::Block;
use crate::obmalloc::list::{Buffers, List};
use crate::obmalloc::mix::{STEP, mix};
use crate::obmalloc::size_class::{ALIGNMENT, SizeClass};
use crate::os::{self, Lock};
use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use core::ptr::{NonNull, null_mut};

/// Bytes between two samples on average; 0: none are taken.
static INTERVAL: AtomicUsize = AtomicUsize::new(0);
static BLOCKS: SampledBlocks = SampledBlocks::new();
static OBSERVERS: Observers = Observers::new();
/// Where the threads' draws begin, and draws of threads that have ended.
static SEEDS: AtomicU64 = AtomicU64::new(0);

/// The lock: for fork.
pub(super) fn lock() -> &'static Lock {
    BLOCKS.lock()
}

/// Bytes that the sampler counts for a block.
pub(super) fn charged(size: usize, align: usize) -> usize {
    SizeClass::aligned(size, align).map_or(size, SizeClass::block_bytes)
}

/// Tells `observer` of blocks at `interval` bytes. False when others sample at another interval, or too many.
pub(super) fn start(observer: watch::Observer, interval: usize) -> bool {
    // No call is counted: a Rust program that is built as the preload library is.
    #[cfg(feature = "preload")]
    if OPTIONS.buffers() != Buffers::Hidden {
        return false;
    }
    let before = INTERVAL.compare_exchange(0, interval, Ordering::Relaxed, Ordering::Relaxed);
    if interval == 0 || before.is_err_and(|other| other != interval) {
        return false;
    }
    let begins = OBSERVERS.add(observer);
    if let Some(thread) = thread::own().filter(|_| begins) {
        thread.countdown.forget();
    }
    begins
}

/// Tells `observer` no more.
pub(super) fn stop(observer: watch::Observer) {
    if OBSERVERS.remove(observer) {
        INTERVAL.store(0, Ordering::Relaxed);
    }
}

/// Random bits.
fn random(thread: Option<&Thread>) -> u64 {
    let state = match thread {
        Some(thread) if thread.draws.get() != 0 => thread.draws.get().wrapping_add(STEP),
        Some(_) => {
            let nth = SEEDS.fetch_add(STEP, Ordering::Relaxed);
            nth ^ os::now_ms() << 20 ^ u64::from(os::pid()) << 44
        }
        None => SEEDS.fetch_add(STEP, Ordering::Relaxed),
    };
    if let Some(thread) = thread {
        thread.draws.set(state.max(1));
    }
    mix(state)
}

/// The natural logarithm of a number above 0, to ten digits. The preload library links no mathematics.
fn ln(x: f64) -> f64 {
    const SQRT_2: f64 = core::f64::consts::SQRT_2;
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i32 - 1023;
    let mut mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if mantissa > SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for odd in [13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        sum = sum * square + 1.0 / odd;
    }
    2.0 * s * sum + f64::from(exponent) * core::f64::consts::LN_2
}

/// A number above 0 and at most 1.
fn unit(bits: u64) -> f64 {
    ((bits >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// Bytes from one sample to the next.
pub(super) fn gap(thread: &Thread, interval: usize) -> usize {
    (-ln(unit(random(Some(thread)))) * interval as f64) as usize
}

/// Bytes between two samples on average; 0: none are taken.
pub(super) fn interval() -> usize {
    INTERVAL.load(Ordering::Relaxed)
}

/// How many blocks of `bytes` come before the next sampled one; `None` if `most` or more.
fn draw(bits: u64, interval: usize, bytes: usize, most: usize) -> Option<usize> {
    let u = unit(bits);
    let reach = bytes as f64 * most as f64 / interval as f64;
    // -ln(u) >= 1 - u, which nearly always is answer enough.
    if interval == 0 || 1.0 - u >= reach {
        return None;
    }
    let n = (-ln(u) * interval as f64 / bytes as f64) as usize;
    (n < most).then_some(n)
}

fn next(thread: Option<&Thread>, bytes: usize, most: usize) -> Option<usize> {
    draw(random(thread), interval(), bytes, most)
}

/// Makes a list whole, and says of the blocks freed since the last visit which were sampled. True when the
/// next block is to be sampled.
#[inline]
fn visit(list: &List, class: SizeClass) -> bool {
    let is_due = list.unpark();
    let pools = BLOCKS.pools(class);
    if pools != 0 {
        for block in list.put().iter().flatten() {
            if pools & pool_bit(block.addr()) != 0 {
                forget(block.start());
            }
        }
    }
    is_due
}

/// Parks a list at the next block to be sampled, if it is among those it can give.
fn park(thread: &Thread, class: SizeClass) {
    let list = thread.lists.of(class);
    if let Some(n) = next(Some(thread), class.block_bytes(), list.n_to_take()) {
        list.park(n);
    }
}

/// Before a list goes home.
#[cold]
pub(super) fn before_flush(list: &List, class: SizeClass) {
    visit(list, class);
}

/// If a sampled block is at `p`: it is given up. Whether one was.
#[inline(always)]
pub(super) fn forget(p: NonNull<u8>) -> bool {
    BLOCKS.may_have(p.addr().get()) && forget_slow(p.addr().get())
}

#[cold]
#[inline(never)]
fn forget_slow(address: usize) -> bool {
    let was_sampled = os::keep_errno(|| BLOCKS.remove(address));
    if was_sampled {
        watch::tell(
            &OBSERVERS,
            &Event::Freeing {
                address,
                size: None,
                api: watch::RUST,
            },
        );
    }
    was_sampled
}

/// Whether the block at `address` is certainly not a sampled one. Its frees may be diverted for a neighbour's sake.
#[cfg(feature = "preload")]
#[inline(always)]
pub(super) fn is_unsampled(address: usize) -> bool {
    !BLOCKS.may_have(address)
}

/// Samples a block. False when there is no memory for that.
pub(super) fn add(p: NonNull<u8>, size: usize, align: usize, zeroed: bool, api: u8) -> bool {
    let address = p.addr().get();
    let is_new = BLOCKS.add(address);
    if is_new {
        watch::tell(
            &OBSERVERS,
            &Event::Allocated {
                address,
                size,
                align: align.max(ALIGNMENT),
                zeroed,
                taken: true,
                api,
            },
        );
    }
    is_new
}

/// Samples a block that was not taken from a list, if the draw says so. Whether it did.
pub(super) fn consider(p: NonNull<u8>, size: usize, align: usize, zeroed: bool, api: u8) -> bool {
    next(thread::own(), charged(size, align), 1).is_some() && add(p, size, align, zeroed, api)
}

/// The thread, if it may use its lists here (I2). All of them have buffers or are hidden from then on.
fn at_work() -> Option<&'static Thread> {
    match thread::caller() {
        Some(Caller::Live(thread, heap)) if !thread.drawing.get() => {
            behind::open_after_watch(thread, heap);
            if thread.lists.buffers() == Buffers::Without {
                give_buffers(thread, heap);
            }
            Some(thread)
        }
        _ => None,
    }
}

/// Empties the lists, so that they get buffers. What lies in those without may be sampled blocks.
#[cold]
fn give_buffers(thread: &Thread, heap: &SharedHeap) {
    thread.drawing.set(true);
    for class in SizeClass::all() {
        for block in thread.lists.of(class).older(usize::MAX).iter().flatten() {
            forget(block.start());
        }
    }
    os::keep_errno(|| behind::renew(thread, heap));
    thread.drawing.set(false);
}

/// A block for an API. Null when memory is out.
pub(super) fn alloc(size: usize, align: usize, zeroed: bool, api: u8) -> *mut u8 {
    if size == 0
        && align <= ALIGNMENT
        && let Some(p) = nothing::alloc()
    {
        return p.as_ptr();
    }
    let class = SizeClass::aligned(size, align)
        .filter(|class| !zeroed || class.block_bytes() < slow::ZERO_FROM_HEAP);
    let (made, is_zero, is_due) = match (class, at_work()) {
        (Some(class), Some(thread)) => {
            let (p, is_due) = os::keep_errno(|| from_list(thread, class));
            (NonNull::new(p), false, Some(is_due))
        }
        _ => match slow::take(size, align) {
            Some((p, is_zero)) => (Some(p), is_zero, None),
            None => (None, false, None),
        },
    };
    let Some(p) = made else {
        return null_mut();
    };
    // SAFETY: a block of at least `size` and at least 16 bytes, nobody else's yet.
    unsafe {
        if zeroed && !is_zero {
            p.write_bytes(0, size);
        }
        if class_of(MAP.label(p.addr().get())).is_some() {
            Block::new(p).unmark();
        }
    }
    match is_due {
        Some(true) => add(p, size, align, zeroed, api),
        Some(false) => false,
        None => consider(p, size, align, zeroed, api),
    };
    p.as_ptr()
}

/// A block by way of the list, and whether it is to be sampled.
fn from_list(thread: &Thread, class: SizeClass) -> (*mut u8, bool) {
    if thread.lists.buffers() == Buffers::Hidden {
        let p = slow::alloc_listed(class);
        return (p, thread.countdown.ends_in(thread, class));
    }
    let list = thread.lists.of(class);
    thread.drawing.set(true);
    let mut is_due = visit(list, class);
    // `calloc` comes here while there are blocks to take, and for those the last draw is the only one.
    let is_drawn = list.n_to_take() > 0;
    let p = if is_due {
        list.pop()
            .map_or(null_mut(), |block| block.start().as_ptr())
    } else {
        slow::alloc_listed(class)
    };
    if is_due || is_drawn {
        park(thread, class);
    } else {
        // The block at hand was not drawn for yet.
        match next(Some(thread), class.block_bytes(), list.n_to_take() + 1) {
            Some(0) => {
                is_due = true;
                park(thread, class);
            }
            Some(n) => list.park(n - 1),
            None => {}
        }
    }
    thread.drawing.set(false);
    (p, is_due)
}

/// Frees a block by `give`, which may use the list of `class` or none.
pub(super) fn free(p: NonNull<u8>, class: Option<SizeClass>, give: impl FnOnce()) {
    forget(p);
    match (class, at_work()) {
        (Some(_), Some(thread)) if thread.lists.buffers() == Buffers::Hidden => give(),
        (Some(class), Some(thread)) => {
            thread.drawing.set(true);
            visit(thread.lists.of(class), class);
            give();
            park(thread, class);
            thread.drawing.set(false);
        }
        // SAFETY: as the caller of `give` promises.
        (Some(class), None) => unsafe { slow::give(p, Some(class)) },
        (None, _) => give(),
    }
}

/// Resizes a Rust block.
///
/// # Safety
/// As `slow::resize`.
pub(super) unsafe fn resize(
    p: NonNull<u8>,
    size: usize,
    align: usize,
    new_size: usize,
    stays: bool,
) -> *mut u8 {
    if stays {
        resized(p, p, new_size, align);
        return p.as_ptr();
    }
    // SAFETY: passed on.
    unsafe {
        let is_huge = |size| SizeClass::aligned(size, align).is_none();
        if is_huge(size) && is_huge(new_size) {
            if let Some(new) = slow::resize_huge(p, new_size, align) {
                resized(p, new, new_size, align);
                return new.as_ptr();
            }
            if slow::usable_unknown(p).is_none() {
                // Not a live block: `free` knows how to say what is wrong.
                slow::free_unknown(p);
                return null_mut();
            }
        }
        slow::move_block(p, size, new_size, align)
    }
}

/// A block became another without passing a list: the old one's end, and a new one's chance.
pub(super) fn resized(old: NonNull<u8>, new: NonNull<u8>, size: usize, align: usize) {
    let keeps_class = old == new && SizeClass::aligned(size, align).is_some();
    if !BLOCKS.may_have(old.addr().get()) && keeps_class {
        return;
    }
    os::keep_errno(|| {
        if !keeps_class {
            forget(old);
            consider(new, size, align, false, watch::RUST);
        } else if BLOCKS.remove(old.addr().get()) {
            // Its chance was its class's, which it keeps.
            BLOCKS.add(old.addr().get());
            let (old, new) = (old.addr().get(), new.addr().get());
            let api = watch::RUST;
            watch::tell(
                &OBSERVERS,
                &Event::Resized {
                    old,
                    new,
                    size,
                    api,
                },
            );
        }
    });
}

#[cfg(test)]
#[path = "poisson_tests.rs"]
mod tests;
