//! CPython's free blocks: a chain through the blocks themselves, last freed first (3.11: `pool_header.freeblock`).
//!
//! The recordings pin its order. What production does instead says `free_bits.rs`.
//!
//! CPython links one never-used block ahead of need; here blocks are carved when the chain is empty. The
//! addresses are the same, and no block is touched before it is used.

use super::block::Block;
use super::geometry::{FreeBlocks, Geometry};
use super::list::Entry;
use super::pool::Pool;
use super::size_class::SizeClass;
use core::ptr::{NonNull, with_exposed_provenance_mut};

/// `Pool::free` is the address of the block that was freed last, or 0.
pub struct FreeChain;

impl FreeBlocks for FreeChain {
    fn fresh(_: SizeClass) -> u64 {
        0
    }

    unsafe fn take<G: Geometry>(
        this: NonNull<Pool>,
        class: SizeClass,
        places: &mut [Entry],
    ) -> usize {
        // SAFETY: the header is the caller's, and its arena is mapped; blocks begin inside the pool.
        let (pool, first) = unsafe {
            let first = G::memory(this).add(G::HEADER_BYTES);
            (&mut *this.as_ptr(), first)
        };
        let mut left = places.len();
        while left > 0 && pool.live < pool.capacity {
            // SAFETY: a block of the chain is free and holds its link; one that is carved lies below the capacity.
            let block = unsafe {
                match NonNull::new(with_exposed_provenance_mut(pool.free as usize)) {
                    Some(start) => {
                        let block = Block::new(start);
                        pool.free = block.link().map_or(0, |next| next.addr() as u64);
                        block
                    }
                    None => {
                        let k = usize::from(pool.carved);
                        pool.carved += 1;
                        Block::new(first.add(k * class.block_bytes()))
                    }
                }
            };
            pool.live += 1;
            left -= 1;
            places[left] = Some(block);
        }
        places.len() - left
    }

    unsafe fn put<G: Geometry>(this: NonNull<Pool>, _: SizeClass, blocks: &[Entry]) -> usize {
        // SAFETY: the header is the caller's.
        let pool = unsafe { &mut *this.as_ptr() };
        for block in blocks.iter().flatten() {
            // SAFETY: a block of the chain, and free.
            unsafe {
                let next = NonNull::new(with_exposed_provenance_mut(pool.free as usize));
                block.set_link(next.map(|start| Block::new(start)));
            }
            pool.free = block.start().as_ptr().expose_provenance() as u64;
            pool.live -= 1;
        }
        blocks.len()
    }
}
