//! A pool's free chain and the bits of what is out: 8 bytes of its header, and some of its free blocks.
//!
//! A free block links to the next four. The header holds the indices of up to three free blocks; when one
//! more is freed, they move into that block, a *node*:
//!
//! ```text
//! header: | node | k | k | k |      node: | node below | k | k | k |      node below: …
//!             '-----------------------^           '-------------------------^
//! ```
//!
//! So three frees of four do not touch the block, and a refill waits for one block's memory in four, asked
//! for four blocks ahead. Against a link in every block: random replacement in 64 MiB 89 ns instead of 114.
//!
//! Invariants, with `f` the number of free blocks:
//! * I1 the header holds `f % 4` indices, of the blocks freed last; lanes without one are 0.
//! * I2 there are `f / 4` nodes, each with the indices of the three blocks freed before it.
//!
//! Where blocks are guarded, what a node holds is mixed with a secret and the node's address ([`Hidden`]), and a
//! pool is carved at once, in an order nobody can guess: all of its blocks are freed in that order. Otherwise a
//! node holds plain indices ([`Plain`]), and the code for it is the same as if there were no other way.
//!
//! In production one bit for every 16 bytes of an arena, in its header slot, says where a block begins that is
//! out. So a pointer that is none is known when it comes home, whatever is wrong with it, and links that a
//! program overwrote cannot give one block to two owners: a block that is taken must not be out. Everything
//! here runs under the lock of the heap that owns the pool.

use super::block::Block;
use super::geometry::Geometry;
use super::pool::{Blocks, Pool};
use super::size_class::{ALIGNMENT, ARENA_BYTES};
use crate::os;
use crate::sync::prefetch;
use core::ptr::NonNull;

/// The header's part: in its lanes of 16 bits the topmost node, if there is one, and up to three indices.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Links(u64);

const LANE_BITS: u32 = u16::BITS;
/// Blocks a full header and its node hold.
const PER_NODE: u16 = (u64::BITS / LANE_BITS) as u16;

/// How the indices in a node are written.
pub trait Coding: Copy {
    /// What is mixed with a node's word.
    fn mask(self, node: Block) -> u64;
}

/// As they are.
#[derive(Clone, Copy)]
pub struct Plain;

impl Coding for Plain {
    #[inline(always)]
    fn mask(self, _: Block) -> u64 {
        0
    }
}

/// Mixed with a secret, so that who reads a free block learns nothing and who writes one points nowhere.
#[derive(Clone, Copy)]
pub struct Hidden(u64);

impl Hidden {
    /// By a secret of the process.
    pub const fn new(secret: u64) -> Self {
        Self(secret)
    }

    /// A number that depends on the secret, `a` and `b`, and shows none of them.
    fn mix(self, a: u64, b: u64) -> u64 {
        // SplitMix64 (public domain, Sebastiano Vigna).
        let z = self.0 ^ a.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b.rotate_left(32);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Puts `order` into an order that depends on `a` and `b`.
    pub(super) fn shuffle(self, order: &mut [u16], a: u64, b: u64) {
        for n in (1..order.len()).rev() {
            let other = self.mix(a ^ n as u64, b) % (n as u64 + 1);
            order.swap(n, other as usize);
        }
    }
}

impl Coding for Hidden {
    fn mask(self, node: Block) -> u64 {
        self.mix(node.addr() as u64, 0)
    }
}

impl Links {
    /// No free blocks.
    pub const EMPTY: Self = Self(0);

    #[inline(always)]
    fn lane(self, n: u16) -> u16 {
        (self.0 >> (u32::from(n) * LANE_BITS)) as u16
    }

    /// Adds block `k` to a chain of `free` blocks.
    ///
    /// # Safety
    /// `block` is block `k` of the pool, and free.
    #[inline(always)]
    pub unsafe fn push(&mut self, free: u16, k: u16, block: Block, coding: impl Coding) {
        let n = free % PER_NODE + 1;
        if n < PER_NODE {
            self.0 |= u64::from(k) << (u32::from(n) * LANE_BITS);
        } else {
            // SAFETY: free by the caller's word.
            unsafe { block.set_links(self.0 ^ coding.mask(block)) };
            self.0 = u64::from(k);
        }
    }

    /// Takes the block that was pushed last off a chain of `free` blocks; its index.
    ///
    /// # Safety
    /// `free` is not 0, and `blocks` are the pool's, of which `carved` were ever out.
    #[inline(always)]
    pub(super) unsafe fn pop(
        &mut self,
        free: u16,
        blocks: &Blocks,
        carved: u16,
        coding: impl Coding,
    ) -> u16 {
        let n = free % PER_NODE;
        let k = self.lane(n);
        if n > 0 {
            self.0 &= !(u64::from(u16::MAX) << (u32::from(n) * LANE_BITS));
            return k;
        }
        // SAFETY: the topmost node (I2), and so below `carved`.
        unsafe {
            let block = blocks.nth(k);
            self.0 = block.links() ^ coding.mask(block);
            if (0..PER_NODE).any(|n| self.lane(n) >= carved) {
                overwritten(block);
            }
            if free > PER_NODE {
                prefetch(blocks.nth(self.lane(0)).start().as_ptr());
            }
        }
        k
    }
}

/// The bits of an arena: one for each place where a block may begin. Where there are none, what is asked is
/// answered as if all were well.
#[derive(Clone, Copy)]
pub struct OutBits(Option<NonNull<u64>>);

impl OutBits {
    /// Those of the arena a pool lies in.
    #[inline(always)]
    pub fn of<G: Geometry>(pool: NonNull<Pool>) -> Self {
        Self(G::out_bits(pool))
    }

    /// The word with the bit of an address, and the bit.
    #[inline(always)]
    fn place(words: NonNull<u64>, block: Block) -> (NonNull<u64>, u64) {
        let index = block.addr() % ARENA_BYTES / ALIGNMENT;
        // SAFETY: there is a bit for each place in the arena.
        let word = unsafe { words.add(index / u64::BITS as usize) };
        (word, 1 << (index % u64::BITS as usize))
    }

    /// Notes that a block is out; whether it was.
    ///
    /// # Safety
    /// The block lies in the arena, whose heap's lock is held.
    #[inline(always)]
    pub unsafe fn set(self, block: Block) -> bool {
        let Some(words) = self.0 else { return false };
        let (mut word, bit) = Self::place(words, block);
        // SAFETY: the arena's bits are ours under the lock.
        let word = unsafe { word.as_mut() };
        let was = *word & bit != 0;
        *word |= bit;
        was
    }

    /// Notes that a block is not out; whether it was.
    ///
    /// # Safety
    /// As [`Self::set`].
    #[inline(always)]
    pub unsafe fn clear(self, block: Block) -> bool {
        let Some(words) = self.0 else { return true };
        let (mut word, bit) = Self::place(words, block);
        // SAFETY: as `set`.
        let word = unsafe { word.as_mut() };
        let was = *word & bit != 0;
        *word &= !bit;
        was
    }
}

/// Reports that a program wrote to a block after freeing it, and aborts.
#[cold]
#[inline(never)]
pub fn overwritten(block: Block) -> ! {
    os::fatal(format_args!(
        "a block was written to after it was freed, at {:p} or near it in its pool",
        block.start()
    ))
}
