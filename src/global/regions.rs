//! Memory for what threads have of their own: the stacks of their lists, and in the preload library the
//! lists themselves. An ended thread's region serves the next one.

use super::thread::Thread;
use super::{EXTENTS, OPTIONS};
use crate::obmalloc::list::Entry;
use crate::obmalloc::thread_lists::{REGION_ENTRIES, ThreadLists};
use crate::os::{self, Lock};
use crate::sync::SharedCell;
use core::ptr::NonNull;

/// Bytes of a region: about 120 KiB of addresses, of which a thread touches what its lists need.
const REGION_BYTES: usize = size_of::<Thread>()
    + (REGION_ENTRIES * size_of::<Entry>()).next_multiple_of(align_of::<ThreadLists>())
    + size_of::<ThreadLists>();

static_assertions::const_assert!(size_of::<Thread>().is_multiple_of(align_of::<ThreadLists>()));

/// A region nobody uses.
pub(super) struct Region {
    next: Option<NonNull<Region>>,
}

struct Free(Option<NonNull<Region>>);

// SAFETY: free regions belong to nobody.
unsafe impl Send for Free {}

static LOCK: Lock = Lock::new();
static FREE: SharedCell<Free> = SharedCell::new(Free(None));

/// Bytes of the regions of so many threads.
pub(super) fn bytes(n_threads: u64) -> usize {
    n_threads as usize * REGION_BYTES.next_multiple_of(OPTIONS.page())
}

/// The lock: for fork.
pub(super) fn lock() -> &'static Lock {
    &LOCK
}

/// The place for a second set of lists, behind the entries of a region (`behind.rs`).
///
/// # Safety
/// The entries are those of a region.
pub(super) unsafe fn behind(entries: NonNull<Entry>) -> NonNull<ThreadLists> {
    let bytes = (REGION_ENTRIES * size_of::<Entry>()).next_multiple_of(align_of::<ThreadLists>());
    // SAFETY: `REGION_BYTES` counts so many, and the lists behind them. Records, and so entries, are aligned as
    // lists are.
    unsafe { entries.byte_add(bytes).cast() }
}

/// A region for the calling thread. `None` when memory is out.
pub(super) fn obtain() -> Option<NonNull<Region>> {
    let free = {
        let _locked = LOCK.lock();
        // SAFETY: the lock is held, and regions in the list are nobody else's.
        unsafe {
            FREE.with_mut(|free| {
                let region = free.0?;
                free.0 = region.as_ref().next;
                Some(region)
            })
        }
    };
    free.or_else(new_region)
}

fn new_region() -> Option<NonNull<Region>> {
    let page = OPTIONS.page();
    let len = REGION_BYTES.next_multiple_of(page);
    let region = os::map(len, page)?;
    // A huge page under the regions of many threads would hold memory for all of them.
    // SAFETY: mapped just now.
    unsafe { os::refuse_huge_pages(region, len) };
    EXTENTS.note_mapped(len);
    Some(region.cast())
}

/// Takes a region back.
pub(super) fn give(mut region: NonNull<Region>) {
    let _locked = LOCK.lock();
    // SAFETY: the lock is held; the region is nobody's any more.
    unsafe {
        FREE.with_mut(|free| {
            region.as_mut().next = free.0;
            free.0 = Some(region);
        });
    }
}
