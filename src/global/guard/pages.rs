//! Guarded blocks above 256 KiB: inaccessible pages around them, and in them while they are dead.
//!
//! ```text
//! Behind:  | tag, filling, head, the user's bytes, tail … | guard |               debug: CPython's bytes
//! Between: | tag | guard | filling, the user's bytes up to the end | guard |       checks:on
//! ```
//!
//! Between two guards there are neither head nor tail: the first byte beyond faults, but for up to 15 bytes
//! that the alignment leaves; those are looked at when the block is freed.
//!
//! A frame costs up to four mappings, of which the kernel allows a number. So an eighth as many blocks have one at
//! a time; the others have head, pads and tail instead, as smaller blocks have.

use super::layout::{BEHIND_BYTES, Layout, against_page_end, layout};
use super::tag::{Facts, Guarded};
use crate::global::{HUGE, slow};
use crate::os;
use crate::sync::{AtomicUsize, Ordering};
use core::ptr::NonNull;

/// Which pages around a block are inaccessible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Frame {
    /// None: it has a class, or the kernel refused.
    None,
    /// The one behind it.
    Behind,
    /// The one behind its tag, and the one behind it.
    Between,
}

/// Memory for a block.
pub struct Room {
    /// Its first byte.
    pub base: NonNull<u8>,
    /// Where the user's bytes begin.
    pub offset: usize,
    /// What is inaccessible around it.
    pub frame: Frame,
    /// Whether it reads as zero.
    pub is_zero: bool,
}

/// Blocks with a frame now, and how many there may be; 0: not asked yet.
static FRAMED: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// Most frames, and most fences around books: together they need three quarters of the mappings at most.
pub fn most_frames() -> usize {
    // Relaxed, here and below: a bound that may be passed by what is taken at the same time.
    match MOST.load(Ordering::Relaxed) {
        0 => {
            let most = (os::most_mappings() / 8).max(1);
            MOST.store(most, Ordering::Relaxed);
            most
        }
        most => most,
    }
}

/// Memory for `n` bytes at a multiple of `align`, with a page behind it; `between`: and one in front.
pub fn take(n: usize, align: usize, between: bool) -> Option<Room> {
    let framed = FRAMED.load(Ordering::Relaxed) < most_frames();
    let room = take_framed(n, align, between, framed)?;
    FRAMED.fetch_add(usize::from(room.frame != Frame::None), Ordering::Relaxed);
    Some(room)
}

fn take_framed(n: usize, align: usize, between: bool, framed: bool) -> Option<Room> {
    if !framed {
        return take_bare(n, align);
    }
    if between && align <= os::page_size() {
        take_between(n, align)
    } else {
        take_behind(n, align)
    }
}

fn take_behind(n: usize, align: usize) -> Option<Room> {
    let page = os::page_size();
    let Layout { offset, total } = against_page_end(layout(n, align)?, align, page);
    let room = total.checked_next_multiple_of(page)?;
    let (base, is_zero) = slow::take(room.checked_add(page)?, align)?;
    // SAFETY: the page behind the block is ours and nobody uses it.
    let protected = unsafe { os::protect(base.add(room), page) };
    let frame = if protected {
        Frame::Behind
    } else {
        Frame::None
    };
    Some(Room {
        base,
        offset,
        frame,
        is_zero,
    })
}

fn take_between(n: usize, align: usize) -> Option<Room> {
    let page = os::page_size();
    let room = n.max(1).checked_next_multiple_of(page)?;
    let (base, is_zero) = slow::take(room.checked_add(3 * page)?, align)?;
    // SAFETY: pages of the block that nobody uses.
    unsafe {
        if os::protect(base.add(page), page) {
            if os::protect(base.add(2 * page + room), page) {
                let offset = 2 * page + (room - n) / align * align;
                return Some(Room {
                    base,
                    offset,
                    frame: Frame::Between,
                    is_zero,
                });
            }
            if !os::commit(base.add(page), page) {
                // Refused both ways: nobody can use this block.
                HUGE.give_up(base);
                return None;
            }
        }
    }
    let Layout { offset, .. } = layout(n, align)?;
    Some(Room {
        base,
        offset,
        frame: Frame::None,
        is_zero,
    })
}

/// Memory for a block without a frame.
pub(super) fn take_bare(n: usize, align: usize) -> Option<Room> {
    let Layout { offset, total } = layout(n, align)?;
    let (base, is_zero) = slow::take(total, align)?;
    Some(Room {
        base,
        offset,
        frame: Frame::None,
        is_zero,
    })
}

/// Where the part begins that is inaccessible while the block is dead, and its length without the guards.
fn inside(block: Guarded, facts: &Facts) -> (NonNull<u8>, usize) {
    let page = os::page_size();
    let (first, behind) = match facts.frame() {
        Frame::Between => (2 * page, 0),
        _ => (page, BEHIND_BYTES),
    };
    let end = (facts.offset + facts.n + behind).next_multiple_of(page);
    // SAFETY: inside the block.
    unsafe { (block.base().add(first), end.saturating_sub(first)) }
}

/// Bytes of a concealed block's body that can be looked at.
pub fn visible(block: Guarded, facts: &Facts) -> usize {
    let (body, len) = block.body(facts);
    let (pages, _) = inside(block, facts);
    pages
        .addr()
        .get()
        .saturating_sub(body.addr().get())
        .min(len)
}

/// Gives a dead block's memory back and makes its pages inaccessible. False when it has no frame, or the kernel
/// refuses.
///
/// # Safety
/// The block is dead, and its caller's.
pub unsafe fn conceal(block: Guarded, facts: &Facts) -> bool {
    let (start, len) = inside(block, facts);
    // SAFETY: nobody's, by the caller's word.
    unsafe { facts.frame() != Frame::None && os::purge(start, len) && os::protect(start, len) }
}

/// Makes every page of a block accessible again. False when the kernel refuses; then the block is only good for
/// [`give_up`].
///
/// # Safety
/// The block is dead, and its caller's.
pub unsafe fn reveal(block: Guarded, facts: &Facts) -> bool {
    let page = os::page_size();
    let (start, len) = inside(block, facts);
    // SAFETY: pages of the block.
    let revealed = unsafe {
        match facts.frame() {
            Frame::None => return true,
            Frame::Behind => os::commit(start, len + page),
            Frame::Between => os::commit(start.sub(page), len + 2 * page),
        }
    };
    FRAMED.fetch_sub(usize::from(revealed), Ordering::Relaxed);
    revealed
}

/// Gives a block that could not be revealed back to the kernel.
///
/// # Safety
/// As [`reveal`], which was false.
pub unsafe fn give_up(block: Guarded) {
    // SAFETY: dead and nobody's. What has a frame is a huge block.
    if unsafe { HUGE.give_up(block.base()) } {
        FRAMED.fetch_sub(1, Ordering::Relaxed);
    }
}
