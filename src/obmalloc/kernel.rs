//! What this kernel does for us beyond giving pages: fences, names, and memory that reads as zero after a purge.
//!
//! ```text
//! slot 0: | Arena, headers, bits: 12 KiB | fence: 4 KiB, inaccessible | slot 1: block 0 | …
//! ```
//!
//! A program that writes in front of a block may hit its neighbour; in front of an arena's first block it would
//! hit what the allocator knows of all of them, or the unused pages behind it. There it faults instead. Each
//! fence splits a mapping, and the kernel counts those, so only the first arenas of the process have one, or, where
//! blocks are guarded, as many as are said to be bearable; and none has where pages are larger than it.
//!
//! Clearing a page that holds memory costs a twentieth of the page fault it takes to have it again; so memory is
//! zeroed where it is, and given back where it is not.
//!
//! A purge that the system reports as done may have done nothing: emulators and sandboxes answer so. It is tried
//! once, on a page of our own, before the first purge is believed.
//!
//! Many kernels are built without names of mappings: one that refused one is not asked again.

use super::extents::LARGE;
use super::geometry::HEADER_SLOT_BYTES;
use super::size_class::{ARENA_BYTES, POOL_BYTES};
use crate::os;
use crate::sync::{AtomicBool, AtomicU8, AtomicUsize, Ordering, const_unless_loom};
use core::ptr::NonNull;
use static_assertions::const_assert;

/// Bytes of the fence behind what an arena knows of its pools.
const FENCE_BYTES: usize = POOL_BYTES - HEADER_SLOT_BYTES;
const_assert!(FENCE_BYTES >= 4096);
/// Most fences at a time: for the arenas of a small process, which have no huge pages.
const MOST: usize = LARGE / ARENA_BYTES;

/// Pages asked about at a time.
const ASKED: usize = if cfg!(loom) { 1 } else { 1024 };

/// Whether a purge clears.
const UNTRIED: u8 = 0;
const CLEARS: u8 = 1;
const LIES: u8 = 2;

/// The kernel, as far as it was tried.
pub struct Kernel {
    n_fences: AtomicUsize,
    most_fences: AtomicUsize,
    purge: AtomicU8,
    /// Whether it knows no names of mappings.
    nameless: AtomicBool,
}

fn fence(arena: NonNull<u8>) -> NonNull<u8> {
    // SAFETY: inside the arena.
    unsafe { arena.add(HEADER_SLOT_BYTES) }
}

/// Purges a page that was written to and looks whether it reads as zero. [`UNTRIED`] without such a page.
#[cold]
fn try_purge() -> u8 {
    let len = os::page_size();
    let Some(page) = os::map(len, len) else {
        return UNTRIED;
    };
    // SAFETY: mapped just now, and nobody else's.
    unsafe {
        let word = page.cast::<usize>();
        word.write_volatile(1);
        let purged = os::purge(page, len);
        let clears = word.read_volatile() == 0;
        os::unmap(page, len);
        match (purged, clears) {
            (true, false) => LIES,
            (true, true) => CLEARS,
            // It says that it does not work here; each call says so for itself.
            (false, _) => UNTRIED,
        }
    }
}

impl Kernel {
    const_unless_loom! {
        /// Not tried, no fences.
        pub fn new() -> Self {
            Self {
                n_fences: AtomicUsize::new(0),
                most_fences: AtomicUsize::new(MOST),
                purge: AtomicU8::new(UNTRIED),
                nameless: AtomicBool::new(false),
            }
        }
    }

    /// Fences up to `most` arenas at a time from now on; two mappings each.
    pub fn guard(&self, most: usize) {
        // Relaxed: a bound, set before the first arena.
        self.most_fences.store(most, Ordering::Relaxed);
    }

    /// Names memory in `/proc/PID/maps`, if this kernel can.
    ///
    /// # Safety
    /// As [`os::label`].
    pub unsafe fn label(&self, start: NonNull<u8>, len: usize) {
        // Relaxed: who does not see it yet asks in vain once more.
        if self.nameless.load(Ordering::Relaxed) {
            return;
        }
        // SAFETY: passed on.
        if !unsafe { os::label(start, len, c"pymalloc") } {
            self.nameless.store(true, Ordering::Relaxed);
        }
    }

    /// Gives memory back and keeps the addresses. True when the pages are known to read as zero now.
    ///
    /// # Safety
    /// As [`os::purge`].
    pub unsafe fn purge(&self, start: NonNull<u8>, len: usize) -> bool {
        // SAFETY: passed on.
        unsafe { os::purge(start, len) && self.clears() }
    }

    /// Makes whole pages read as zero: those that hold memory are cleared, a twentieth of a page fault each, and
    /// what lies between is given back, so that nothing is found there that was swapped out, and nothing is filled
    /// that was never used. False when the system does not tell which is which: then some are as they were.
    ///
    /// # Safety
    /// As [`os::purge`].
    pub unsafe fn zero(&self, start: NonNull<u8>, len: usize) -> bool {
        let page = os::page_size();
        let mut pages = [0; ASKED];
        for offset in (0..len).step_by(ASKED * page) {
            let asked = &mut pages[..(len - offset).div_ceil(page).min(ASKED)];
            // SAFETY: inside the range.
            let done = unsafe {
                let start = start.add(offset);
                os::resident(start, asked) && self.zero_asked(start, asked)
            };
            if !done {
                return false;
            }
        }
        true
    }

    /// # Safety
    /// As [`Self::zero`], for the pages asked about.
    unsafe fn zero_asked(&self, start: NonNull<u8>, asked: &[u8]) -> bool {
        let page = os::page_size();
        let mut first = 0;
        for run in asked.chunk_by(|a, b| a & 1 == b & 1) {
            // SAFETY: inside the range, of which nothing is in use.
            unsafe {
                let (from, len) = (start.add(first * page), run.len() * page);
                if run[0] & 1 == 1 {
                    from.write_bytes(0, len);
                } else if !self.purge(from, len) {
                    return false;
                }
            }
            first += run.len();
        }
        true
    }

    fn clears(&self) -> bool {
        // A model's kernel tells the truth.
        if cfg!(loom) {
            return true;
        }
        // Relaxed: whoever tries it finds the same.
        if self.purge.load(Ordering::Relaxed) == UNTRIED {
            self.purge.store(try_purge(), Ordering::Relaxed);
        }
        self.purge.load(Ordering::Relaxed) == CLEARS
    }

    /// Builds an arena's fence; false when it gets none.
    ///
    /// # Safety
    /// The arena is committed, and its first block begins at its second pool or later.
    pub unsafe fn build_fence(&self, arena: NonNull<u8>) -> bool {
        // A model's memory is whole slots. Relaxed: a bound that may be missed by some.
        let enough =
            self.n_fences.load(Ordering::Relaxed) >= self.most_fences.load(Ordering::Relaxed);
        if cfg!(loom) || enough || os::page_size() > 4096 {
            return false;
        }
        // SAFETY: between headers and blocks, by the caller's word.
        let built = unsafe { os::protect(fence(arena), FENCE_BYTES) };
        self.n_fences
            .fetch_add(usize::from(built), Ordering::Relaxed);
        built
    }

    /// Takes an arena's fence away; false when the kernel refuses.
    ///
    /// # Safety
    /// [`Self::build_fence`] was true for this arena.
    pub unsafe fn remove_fence(&self, arena: NonNull<u8>) -> bool {
        self.n_fences.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: the arena's own pages, by the caller's word.
        unsafe { os::commit(fence(arena), FENCE_BYTES) }
    }
}
