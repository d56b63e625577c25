//! Which log made the block at an address: a byte for every 16 bytes of the heap, in tables made where they are needed.
//!
//! ```text
//! address  │ region 21 │ place 22 │ 4 │
//!               │            └───────────► leaf: 4 MiB of bytes, of which memory is behind those that were used
//!               └──► root: entry region % 4096 ──► leaf, which knows its region
//! ```
//!
//! * **I1** A leaf is published whole and stays. Two regions that fall on one entry: the second has none.

use super::order::Makers;
use crate::os;
use crate::sync::{AtomicPtr, AtomicU8, Ordering};
use core::ptr::NonNull;

/// Log2 of the bytes between two blocks.
const BLOCK_SHIFT: u32 = 4;
/// Log2 of the bytes of a region.
const REGION_SHIFT: u32 = 26;
/// Entries of the root.
const ENTRIES: usize = 4096;

/// The makers of one region.
#[repr(C)]
struct Leaf {
    region: usize,
    makers: [AtomicU8; 1 << (REGION_SHIFT - BLOCK_SHIFT)],
}

/// See the module. Valid when all zero: then no block was made by any but log 0.
pub struct Table {
    root: [AtomicPtr<Leaf>; ENTRIES],
}

impl Makers for Table {
    #[inline]
    fn of(&self, address: usize) -> Option<&AtomicU8> {
        let region = address >> REGION_SHIFT;
        // Acquire: pairs with the Release in `add`.
        let leaf = NonNull::new(self.root[region % ENTRIES].load(Ordering::Acquire));
        // SAFETY: I1.
        let leaf = match leaf.map(|leaf| unsafe { leaf.as_ref() }) {
            Some(leaf) => leaf,
            None => os::keep_errno(|| self.add(region))?,
        };
        leaf.of(address)
    }

    #[inline(always)]
    fn known(&self, address: usize) -> Option<&AtomicU8> {
        // Acquire: pairs with the Release in `add`.
        let leaf = self.root[(address >> REGION_SHIFT) % ENTRIES].load(Ordering::Acquire);
        // SAFETY: I1.
        unsafe { leaf.as_ref() }?.of(address)
    }
}

impl Leaf {
    /// The place for the maker of a block, if it lies in the region.
    #[inline(always)]
    fn of(&self, address: usize) -> Option<&AtomicU8> {
        let place = address >> BLOCK_SHIFT & (self.makers.len() - 1);
        (self.region == address >> REGION_SHIFT).then(|| &self.makers[place])
    }
}

impl Table {
    /// The leaf of a region that has none, or that of another region. `None` when memory is out.
    #[cold]
    #[inline(never)]
    fn add(&self, region: usize) -> Option<&Leaf> {
        let page = os::page_size();
        let len = size_of::<Leaf>().next_multiple_of(page);
        let mut leaf = os::map(len, page)?.cast::<Leaf>();
        // SAFETY: mapped just now, known to nobody; all zero is a leaf.
        unsafe { leaf.as_mut().region = region };
        let entry = &self.root[region % ENTRIES];
        // Release: publishes the region; Acquire: reads that of another leaf.
        let put = entry.compare_exchange(
            core::ptr::null_mut(),
            leaf.as_ptr(),
            Ordering::Release,
            Ordering::Acquire,
        );
        let there = match put {
            Ok(_) => leaf,
            Err(other) => {
                // SAFETY: mapped just now, and nobody's.
                unsafe { os::unmap(leaf.cast(), len) };
                NonNull::new(other)?
            }
        };
        // SAFETY: I1.
        Some(unsafe { there.as_ref() })
    }
}
