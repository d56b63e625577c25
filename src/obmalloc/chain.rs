//! Chains: free blocks that travel to another heap together, in memory of their own.
//!
//! ```text
//! carrier of 48 bytes, 2 of 8 carried                              block A   block B
//! | link 60 bits, n 4 bits | a mark | +A | +B | … |  --link-->      untouched untouched
//!   first word               second   i32 distances to here, in units of 16 bytes
//! ```
//!
//! Not every block is linked: a carrier's bytes hold, behind the words that links and marks are kept in, how
//! far away the blocks are that it carries. So of blocks of 64 bytes one in thirteen is written by who frees them and
//! read by the heap they go home to, one in sixteen of longer ones, and each of 16 bytes. A line that stays where it is
//! saves two trips between cores; and a carrier that is read names a dozen blocks at once, where in a chain of links
//! every block waits for the one in front of it.
//!
//! What a carrier holds lies in free memory, where the program may write after its free: the heap that receives the
//! blocks verifies each as it does what any caller gives it.

use super::block::Block;
use super::size_class::{ALIGNMENT, POOL_BYTES, SizeClass};
use core::ptr::{NonNull, with_exposed_provenance_mut};

/// Most blocks one carrier carries: what the free bits of a link count.
pub const CARRIED: usize = ALIGNMENT - 1;

/// Bytes of a carrier in front of its distances: the link, and a mark.
const HEAD: usize = 2 * size_of::<usize>();

/// How many blocks a carrier of `class` has room for.
pub const fn room(class: SizeClass) -> usize {
    let n = (class.block_bytes() - HEAD) / size_of::<i32>();
    if n < CARRIED { n } else { CARRIED }
}

/// Blocks that travel together. The link of the last carrier is undefined until [`Self::link`].
#[derive(Clone, Copy)]
pub struct Chain {
    /// First carrier, and the last; both or neither.
    ends: Option<(Block, Block)>,
    /// Blocks the last one carries.
    n_last: usize,
}

impl Chain {
    /// No blocks.
    pub const EMPTY: Self = Self {
        ends: None,
        n_last: 0,
    };

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ends.is_none()
    }

    /// Appends a block; carriers have room for `room` others.
    ///
    /// # Safety
    /// The chain's blocks and the new one are free and as long as `room` says ([`room`]).
    #[inline(always)]
    pub unsafe fn push(&mut self, block: Block, room: usize) {
        let Some((first, last)) = self.ends else {
            self.ends = Some((block, block));
            return;
        };
        let bytes = block.addr().wrapping_sub(last.addr()) as isize;
        let distance = i32::try_from(bytes >> ALIGNMENT.ilog2());
        if let Ok(distance) = distance
            && self.n_last < room
        {
            // SAFETY: below `room`, so inside the carrier, which is free.
            unsafe { distances(last).add(self.n_last).write(distance) };
            self.n_last += 1;
            return;
        }
        // SAFETY: carriers are free.
        unsafe { set_link(last, block.start().as_ptr(), self.n_last) };
        *self = Self {
            ends: Some((first, block)),
            n_last: 0,
        };
    }

    /// Appends `blocks` up to the first that does not lie in the slot of the first one, or is misaligned. Returns their
    /// number.
    ///
    /// # Safety
    /// As [`Self::push`], for each of them; the first is there and aligned.
    #[inline(always)]
    pub unsafe fn push_slot(&mut self, blocks: &[Option<Block>], room: usize) -> usize {
        let base = blocks[0].map_or(0, Block::addr) & !(POOL_BYTES - 1);
        // A copy, which stays in registers whatever is written through blocks.
        let (mut chain, mut n) = (*self, 0);
        for block in blocks.iter().map_while(|block| *block) {
            let offset = block.addr().wrapping_sub(base);
            if offset.rotate_right(ALIGNMENT.ilog2()) >= POOL_BYTES / ALIGNMENT {
                break;
            }
            // SAFETY: the caller's.
            unsafe { chain.push(block, room) };
            n += 1;
        }
        *self = chain;
        n
    }

    /// Links `next`, the first carrier of another chain or null, behind the last one. Returns the first.
    ///
    /// # Safety
    /// The chain's blocks are free.
    pub unsafe fn link(&self, next: *mut u8) -> *mut u8 {
        let Some((first, last)) = self.ends else {
            return next;
        };
        // SAFETY: carriers are free.
        unsafe { set_link(last, next, self.n_last) };
        first.start().as_ptr()
    }
}

/// Reads `carrier` and what it carries into `places`. Returns how many blocks that are, and the next carrier.
///
/// # Safety
/// `carrier` was delivered; `places` has room for it and [`CARRIED`] others.
#[inline]
pub unsafe fn unload(carrier: NonNull<u8>, places: &mut [Option<Block>]) -> (usize, *mut u8) {
    // SAFETY: a carrier's first word holds its link and number, and that many distances follow its second word.
    // Blocks of ours have exposed their addresses.
    unsafe {
        let word = carrier.cast::<*mut u8>().read();
        let carrier = Block::new(carrier);
        let n = word.addr() % ALIGNMENT;
        places[0] = Some(carrier);
        for (k, place) in places[1..=n].iter_mut().enumerate() {
            let distance = distances(carrier).add(k).read();
            let addr = (carrier.addr()).wrapping_add_signed(distance as isize * ALIGNMENT as isize);
            *place = NonNull::new(with_exposed_provenance_mut(addr)).map(|p| Block::new(p));
        }
        (n + 1, word.map_addr(|addr| addr - n))
    }
}

/// # Safety
/// `carrier` is free.
#[inline(always)]
unsafe fn set_link(carrier: Block, next: *mut u8, n_carried: usize) {
    debug_assert!(n_carried <= CARRIED && next.addr().is_multiple_of(ALIGNMENT));
    let word = next.wrapping_add(n_carried);
    // SAFETY: a free block's first word is ours; blocks are 16-aligned.
    unsafe { carrier.start().cast::<*mut u8>().write(word) }
}

/// Where a carrier's distances begin.
#[inline(always)]
fn distances(carrier: Block) -> NonNull<i32> {
    // SAFETY: every block has at least these bytes.
    unsafe { carrier.start().add(HEAD).cast() }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;
    use core::ptr::null_mut;

    /// Memory for blocks, at multiples of their length.
    #[repr(align(1024))]
    struct Memory([u8; 1 << 16]);

    fn blocks(memory: &mut Memory, bytes: usize, n: usize) -> Vec<Block> {
        let start = NonNull::from(&mut memory.0).cast::<u8>();
        start.as_ptr().expose_provenance();
        // SAFETY: inside the memory.
        (0..n)
            .map(|k| unsafe { Block::new(start.add(k * 7 % n * bytes)) })
            .collect()
    }

    fn unloaded(mut next: *mut u8) -> (Vec<Block>, usize) {
        let (mut all, mut n_carriers) = (Vec::new(), 0);
        while let Some(carrier) = NonNull::new(next) {
            let mut places = [None; CARRIED + 1];
            // SAFETY: linked below.
            let (n, behind) = unsafe { unload(carrier, &mut places) };
            all.extend(places[..n].iter().flatten());
            (next, n_carriers) = (behind, n_carriers + 1);
        }
        (all, n_carriers)
    }

    #[test]
    fn a_carrier_has_room_for_what_fits_behind_its_head() {
        let room_of = |bytes: usize| SizeClass::of(bytes).map(room);
        for (bytes, n) in [
            (16, 0),
            (32, 4),
            (48, 8),
            (64, 12),
            (80, 15),
            (512, 15),
            (4096, 15),
        ] {
            assert_eq!(room_of(bytes), Some(n), "{bytes} bytes");
        }
    }

    /// Two chains, one linked behind the other, hold every block once and in order, by as few carriers as there
    /// is room for; the others stay untouched.
    #[test]
    fn chains_hold_what_was_pushed() {
        const UNTOUCHED: u64 = u64::from_ne_bytes([0xA5; 8]);
        let mut memory = Memory([UNTOUCHED as u8; 1 << 16]);
        for class in SizeClass::all().filter(|class| class.block_bytes() <= 512) {
            let all = blocks(&mut memory, class.block_bytes(), 100);
            let mut next = null_mut();
            for part in [&all[40..], &all[..40]] {
                let mut chain = Chain::EMPTY;
                assert!(chain.is_empty());
                for block in part {
                    // SAFETY: this test's memory.
                    unsafe { chain.push(*block, room(class)) };
                }
                // SAFETY: as above.
                next = unsafe { chain.link(next) };
            }
            let (found, n_carriers) = unloaded(next);
            assert_eq!(found, all);
            let each = room(class) + 1;
            assert_eq!(n_carriers, 60usize.div_ceil(each) + 40usize.div_ceil(each));
            // SAFETY: this test's memory.
            let is_touched =
                |block: &&Block| unsafe { block.start().cast::<u64>().read() } != UNTOUCHED;
            assert_eq!(all.iter().filter(is_touched).count(), n_carriers);
            memory.0.fill(UNTOUCHED as u8);
        }
    }

    /// What lies in the first one's slot is taken in one go, up to the first that does not, or is none.
    #[test]
    fn a_slot_s_blocks_are_pushed_together() {
        let mut memory = Memory([0; 1 << 16]);
        let start = NonNull::from(&mut memory.0).cast::<u8>();
        let slot = start.addr().get().next_multiple_of(POOL_BYTES) - start.addr().get();
        // SAFETY: inside the memory.
        let at = |offset: usize| Some(unsafe { Block::new(start.add(slot + offset)) });
        let own = [at(0), at(64), at(POOL_BYTES - 64)];
        for behind in [None, at(POOL_BYTES), at(136)] {
            let mut chain = Chain::EMPTY;
            let blocks = [&own[..], &[behind, at(192)]].concat();
            // SAFETY: this test's memory.
            let (n, first) = unsafe {
                let n = chain.push_slot(&blocks, 12);
                (n, chain.link(null_mut()))
            };
            assert_eq!(n, own.len(), "{behind:?}");
            assert_eq!(unloaded(first).0, own.map(|block| block.expect("there")));
        }
    }

    /// A block further away than a distance can say is a carrier itself.
    #[test]
    fn far_blocks_are_linked() {
        let mut memory = Memory([0; 1 << 16]);
        let near = blocks(&mut memory, 64, 1)[0];
        let far = near.addr() + (1 << 35) + 16;
        let mut chain = Chain::EMPTY;
        // SAFETY: the far block is never written to: it is the last, and only its address is kept.
        unsafe {
            chain.push(near, 12);
            chain.push(
                Block::new(NonNull::new(with_exposed_provenance_mut(far)).expect("not 0")),
                12,
            );
            let word = near.start().cast::<usize>().read();
            assert_eq!(word, far);
        }
    }

    /// A mark, in the second word, stays.
    #[test]
    fn marks_stay() {
        let mut memory = Memory([0x5A; 1 << 16]);
        let all = blocks(&mut memory, 32, 10);
        let mut chain = Chain::EMPTY;
        for block in &all {
            // SAFETY: this test's memory.
            unsafe { chain.push(*block, 4) };
        }
        // SAFETY: as above.
        unsafe { chain.link(null_mut()) };
        for block in all {
            // SAFETY: as above.
            let word = unsafe { block.start().cast::<usize>().add(1).read() };
            assert_eq!(word, usize::from_ne_bytes([0x5A; 8]));
        }
    }
}
