//! Production's free blocks. Small classes: one bit for every 16 bytes of an arena, set where a block begins that
//! is out. Runs: one bit for each block, in the header.
//!
//! ```text
//! header slot: | … | bits: 128 bytes for each pool … |          class of 48 bytes, one word of a pool's 16:
//!                                                               begins   1001001001001001…
//! Pool::free   small class: words with a free block             out      1000001001000000…
//!              run: its free blocks by number                   free     0001000000001001…
//! ```
//!
//! A small block is free where one begins and the bit is clear, a run's where its bit is set; the lowest is taken
//! first. So nothing is written into a free block and nothing read from one: a flush touches two cache lines of bits
//! where a chain touches each block, a refill waits for no block's memory, and what a program writes to a
//! block after its free harms nobody else. A pointer that names no block that is out is known when it comes
//! home, whatever is wrong with it.
//!
//! Where blocks are guarded, any free block is taken instead, in an order nobody can guess ([`Shuffle`]).
//!
//! Invariants:
//! * I1 a small pool's bits are set exactly where a block begins that is out: `live` of them.
//! * I2 `Pool::free` names exactly the words with a block that is not out, or of a run the blocks that are not.
//!   An arena of runs has no bits, and touches no memory for them.
//! * I3 blocks from `carved` on were never out since the pool was formatted.
//!
//! Everything here runs under the lock of the heap that owns the pool.

use super::block::Block;
use super::geometry::{BITS, FreeBlocks, Geometry, Production, amplify};
use super::list::{Entry, addr_of};
use super::mix::{STEP, mix};
use super::pool::Pool;
use super::size_class::{ALIGNMENT, ARENA_BYTES, POOL_BYTES, SizeClass, block_index, block_number};
use crate::sync::prefetch;
use core::ptr::NonNull;
use static_assertions::const_assert;

/// Words of bits of one pool.
const WORDS: usize = POOL_BYTES / ALIGNMENT / WORD_BITS;
const WORD_BITS: usize = u64::BITS as usize;

/// Per small class, where blocks begin in a pool.
static BEGINS: [[u64; WORDS]; SizeClass::SMALL] = {
    let mut table = [[0; WORDS]; SizeClass::SMALL];
    let mut index = 0;
    while index < SizeClass::SMALL {
        let step = SizeClass::new(index).block_bytes() / ALIGNMENT;
        let (mut k, mut bit) = (0, 0);
        while k < POOL_BYTES / ALIGNMENT / step {
            table[index][bit / WORD_BITS] |= 1 << (bit % WORD_BITS);
            bit += step;
            k += 1;
        }
        index += 1;
    }
    table
};

// In every word of every small class a block begins, so a fresh pool's words are all of them.
const_assert!({
    let (mut all, mut n) = (true, 0);
    while n < SizeClass::SMALL * WORDS {
        all = all && BEGINS[n / WORDS][n % WORDS] != 0;
        n += 1;
    }
    all
});
// `Pool::free` has a bit for every block of a run.
const_assert!({
    let (mut all, mut index) = (true, SizeClass::SMALL);
    while index < SizeClass::COUNT {
        let class = SizeClass::new(index);
        all = all && class.span() * POOL_BYTES / class.block_bytes() <= WORD_BITS;
        index += 1;
    }
    all
});
/// The words of a small pool that nobody took from.
const ALL_WORDS: u64 = (1 << WORDS) - 1;

/// Bytes of the bits of an arena.
pub const BITS_BYTES: usize = ARENA_BYTES / ALIGNMENT / 8;

/// The bits of an arena from some slot on. They are the caller's: it holds the lock.
#[derive(Clone, Copy)]
pub struct Bits(NonNull<u64>);

impl Bits {
    /// Those of the slot that holds `addr`, and of the slots behind it.
    #[inline(always)]
    pub fn of_slot(addr: usize) -> Self {
        let slot = addr % ARENA_BYTES / POOL_BYTES;
        let words = (addr & !(ARENA_BYTES - 1)) + BITS;
        Self(amplify(words + slot * WORDS * size_of::<u64>()))
    }

    /// Those of all slots of the arena that holds `addr`.
    #[inline(always)]
    fn of_arena(addr: usize) -> Self {
        Self(amplify((addr & !(ARENA_BYTES - 1)) + BITS))
    }

    /// Word `n`, of the places from `n` times [`WORD_BITS`] on: distances from the slot's start in units of
    /// [`ALIGNMENT`].
    ///
    /// # Safety
    /// The places lie in the arena, and the word is the caller's until it lets go of the reference.
    #[inline(always)]
    unsafe fn word<'a>(self, n: usize) -> &'a mut u64 {
        // SAFETY: there is a bit for each place in the arena.
        unsafe { self.0.add(n).as_mut() }
    }

    /// Clears them all, from the arena's first slot on.
    ///
    /// # Safety
    /// They begin with the first slot, no block of the arena is out, and its header slot is the caller's.
    pub unsafe fn clear(self) {
        // SAFETY: inside the header slot.
        unsafe { self.0.cast::<u8>().write_bytes(0, BITS_BYTES) };
    }
}

/// See the module.
pub struct FreeBits;

impl FreeBlocks for FreeBits {
    fn fresh(class: SizeClass) -> u64 {
        if class.is_small() {
            return ALL_WORDS;
        }
        u64::MAX >> (WORD_BITS - class.span() * POOL_BYTES / class.block_bytes())
    }

    #[inline]
    unsafe fn take<G: Geometry>(
        this: NonNull<Pool>,
        class: SizeClass,
        places: &mut [Entry],
    ) -> usize {
        // SAFETY: the caller's.
        unsafe {
            if class.is_small() {
                take_small::<G>(this, class, places)
            } else {
                take_of_run::<G>(this, class, places)
            }
        }
    }

    #[inline]
    unsafe fn put<G: Geometry>(this: NonNull<Pool>, class: SizeClass, blocks: &[Entry]) -> usize {
        // SAFETY: the caller's.
        unsafe {
            if class.is_small() {
                put_small(this, blocks)
            } else {
                put_of_run::<G>(this, class, blocks)
            }
        }
    }
}

/// An order nobody can guess who does not know a secret.
#[derive(Clone, Copy)]
pub struct Shuffle(u64);

impl Shuffle {
    /// By a secret of the process.
    pub const fn new(secret: u64) -> Self {
        Self(secret)
    }

    /// One of the set bits of `bits`, by what depends on the secret and on `turn`.
    fn choose(self, bits: u64, turn: u64) -> u32 {
        let random = mix(self.0 ^ turn.wrapping_mul(STEP));
        let mut rest = bits;
        for _ in 0..random % u64::from(bits.count_ones()) {
            rest &= rest - 1;
        }
        rest.trailing_zeros()
    }
}

impl FreeBits {
    /// Puts back a block of the small `class`, if it is out, and its pool stays in its class's ring. False when not: then
    /// nothing changed.
    ///
    /// # Safety
    /// `block` lies in an arena with bits, whose heap's lock the caller holds; if it is out, it is not used any more.
    #[inline(always)]
    pub unsafe fn put_simple(block: Block, class: SizeClass) -> bool {
        let place = block.addr() % ARENA_BYTES / ALIGNMENT;
        let n = place / WORD_BITS;
        // SAFETY: there is a word for each place, ours under the lock.
        let word = unsafe { Bits::of_arena(block.addr()).word(n) };
        let others = *word & !(1 << (place % WORD_BITS));
        if others == *word || !block.addr().is_multiple_of(ALIGNMENT) {
            return false;
        }
        // SAFETY: out (I1), so in a pool of some small class, whose header is ours under the lock.
        let pool = unsafe { Production::pool_of(block.start(), class).as_mut() };
        // A full pool names no word (I2).
        if !pool.serves(class) || pool.free == 0 || pool.live == 1 {
            return false;
        }
        *word = others;
        pool.free |= 1 << (n % WORDS);
        pool.live -= 1;
        true
    }

    /// Takes any free block.
    ///
    /// # Safety
    /// As [`FreeBlocks::take`].
    #[cold]
    pub unsafe fn take_any(this: NonNull<Pool>, class: SizeClass, shuffle: Shuffle) -> Block {
        // SAFETY: the header is the caller's, and its arena is mapped.
        let (pool, first) = unsafe { (&mut *this.as_ptr(), Production::memory(this)) };
        let bits = Bits::of_slot(first.addr().get());
        let turn = first.addr().get() as u64 ^ u64::from(pool.live) << 48 ^ pool.free;
        let n = shuffle.choose(pool.free, turn) as usize;
        let (place, is_last) = if class.is_small() {
            // SAFETY: word `n`, ours under the lock.
            let word = unsafe { bits.word(n) };
            let free = BEGINS[class.index()][n % WORDS] & !*word;
            let bit = shuffle.choose(free, turn ^ free) as usize;
            *word |= 1 << bit;
            (n * WORD_BITS + bit, free.is_power_of_two())
        } else {
            (n * class.block_bytes() / ALIGNMENT, true)
        };
        if is_last {
            pool.free &= !(1 << n);
        }
        pool.carved = pool
            .carved
            .max(block_number(place * ALIGNMENT, class) as u16 + 1);
        pool.live += 1;
        // SAFETY: inside the pool, where a block begins; free (I1, I2).
        unsafe { Block::new(first.add(place * ALIGNMENT)) }
    }
}

/// # Safety
/// As [`FreeBlocks::take`], and the class is small.
#[inline]
unsafe fn take_small<G: Geometry>(
    this: NonNull<Pool>,
    class: SizeClass,
    places: &mut [Entry],
) -> usize {
    // SAFETY: the header is the caller's, and its arena is mapped.
    let (pool, first) = unsafe { (&mut *this.as_ptr(), G::memory(this)) };
    let bits = Bits::of_slot(first.addr().get());
    let begins = &BEGINS[class.index()];
    let (mut places, mut last) = (places.iter_mut().rev(), first);
    let wanted = places.len();
    while places.len() > 0 && pool.free != 0 {
        let n = pool.free.trailing_zeros() as usize;
        // SAFETY: the words stand for the pool's bytes.
        let (start, word) = unsafe {
            let start = first.add(n * WORD_BITS * ALIGNMENT);
            (start, bits.word(n))
        };
        let free = begins[n % WORDS] & !*word;
        let mut rest = free;
        while rest != 0
            && let Some(place) = places.next()
        {
            // SAFETY: inside the pool, where a block begins; free (I1).
            unsafe {
                last = start.add(rest.trailing_zeros() as usize * ALIGNMENT);
                *place = Some(Block::new(last));
            }
            prefetch(last.as_ptr());
            rest &= rest - 1;
        }
        *word |= free ^ rest;
        if rest == 0 {
            pool.free &= pool.free - 1;
        }
    }
    let n = wanted - places.len();
    let offset = last.addr().get() - first.addr().get();
    pool.carved = pool.carved.max(block_number(offset, class) as u16 + 1);
    pool.live += n as u16;
    n
}

/// Distance of a block from `base` in units of [`ALIGNMENT`]; more than an arena's where it is below it, and where
/// it is misaligned and so has its low bits on top.
#[inline(always)]
fn place_in(base: usize, block: &Entry) -> usize {
    addr_of(block)
        .wrapping_sub(base)
        .rotate_right(ALIGNMENT.ilog2())
}

/// # Safety
/// As [`FreeBlocks::put`], and the pool's class is small.
#[inline(always)]
unsafe fn put_small(this: NonNull<Pool>, blocks: &[Entry]) -> usize {
    // SAFETY: the header is the caller's.
    let pool = unsafe { &mut *this.as_ptr() };
    let base = addr_of(&blocks[0]) & !(POOL_BYTES - 1);
    let bits = Bits::of_slot(base);
    let first = place_in(base, &blocks[0]);
    if first >= WORDS * WORD_BITS {
        return 0;
    }
    let (mut n, mut n_before, mut at) = (0, 0, first / WORD_BITS);
    // A word stays in a register while blocks of its come: from memory, each would wait for the store of the one before.
    // SAFETY: words of the pool, ours under the lock.
    unsafe {
        let mut out = *bits.word(at);
        for block in blocks {
            let place = place_in(base, block);
            if place / WORD_BITS != at {
                if place >= WORDS * WORD_BITS {
                    break;
                }
                *bits.word(at) = out;
                pool.free |= 1 << at;
                (at, n_before) = (place / WORD_BITS, n);
                out = *bits.word(at);
            }
            let others = out & !(1 << (place % WORD_BITS));
            if others == out {
                break;
            }
            out = others;
            n += 1;
        }
        *bits.word(at) = out;
    }
    // The last word only if a block was put there.
    pool.free |= u64::from(n > n_before) << at;
    pool.live -= n;
    usize::from(n)
}

/// # Safety
/// As [`FreeBlocks::take`].
#[cold]
#[inline(never)]
unsafe fn take_of_run<G: Geometry>(
    this: NonNull<Pool>,
    class: SizeClass,
    places: &mut [Entry],
) -> usize {
    // SAFETY: the header is the caller's, and its arena is mapped.
    let (pool, first) = unsafe { (&mut *this.as_ptr(), G::memory(this)) };
    let mut left = places.len();
    while left > 0 && pool.free != 0 {
        let k = pool.free.trailing_zeros() as u16;
        pool.free &= pool.free - 1;
        left -= 1;
        // SAFETY: inside the run, and free (I2).
        places[left] = Some(unsafe { Block::new(first.add(usize::from(k) * class.block_bytes())) });
        pool.carved = pool.carved.max(k + 1);
        pool.live += 1;
    }
    places.len() - left
}

/// # Safety
/// As [`FreeBlocks::put`].
#[inline(never)]
unsafe fn put_of_run<G: Geometry>(
    this: NonNull<Pool>,
    class: SizeClass,
    blocks: &[Entry],
) -> usize {
    // SAFETY: the header is the caller's, and its arena is mapped.
    let (pool, first) = unsafe { (&mut *this.as_ptr(), G::memory(this).addr().get()) };
    let mut n = 0;
    for block in blocks {
        let offset = addr_of(block).wrapping_sub(first);
        if offset >= class.span() * POOL_BYTES {
            break;
        }
        let Some(k) = block_index(offset, class).filter(|k| *k < pool.capacity()) else {
            break;
        };
        if pool.free >> k & 1 == 1 {
            break;
        }
        pool.free |= 1 << k;
        pool.live -= 1;
        n += 1;
    }
    n
}
