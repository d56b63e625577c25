//! Free blocks: what is written into them.
//!
//! | block | first word | second word | behind |
//! |---|---|---|---|
//! | in its pool | nothing (`free_bits.rs`); in CPython's geometry a link | a mark, if it came with one | nothing |
//! | in a thread's list | nothing: the list knows its address | a mark, if C's `free` put it there | nothing |
//! | on its way to another heap | if it carries others, a link | as in the list | where the others are (`chain.rs`) |
//!
//! A mark is the block's address and a secret of the process, added: no address, and no small number. C's
//! `free` looks for it and its `malloc` clears it, so a second free is known at once. A block that came without a mark
//! leaves without one: Rust's allocs clear none, and a program that writes over one byte of what is left of a mark could
//! make another of it. Its second free is known when both have come home, by the bits of its pool.

use core::ptr::NonNull;

/// A block nobody uses: its bytes belong to the allocator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Block(NonNull<u8>);

// SAFETY: a `Block` is an address; whoever holds it decides about exclusion.
unsafe impl Send for Block {}

impl Block {
    /// The block at `start`.
    ///
    /// # Safety
    /// At least 16 bytes at `start` are the allocator's until the block is handed out.
    #[inline]
    pub const unsafe fn new(start: NonNull<u8>) -> Self {
        Self(start)
    }

    /// Its first byte.
    #[inline]
    pub const fn start(self) -> NonNull<u8> {
        self.0
    }

    /// Its address.
    #[inline]
    pub fn addr(self) -> usize {
        self.0.addr().get()
    }

    /// The block linked behind this one.
    ///
    /// # Safety
    /// This block is free and was linked by [`Self::set_link`].
    #[inline]
    pub unsafe fn link(self) -> Option<Block> {
        // SAFETY: a free block's first word holds its link.
        unsafe { self.0.cast::<Option<Block>>().read() }
    }

    /// Links `next` behind this block.
    ///
    /// # Safety
    /// This block is free.
    #[inline]
    pub unsafe fn set_link(self, next: Option<Block>) {
        // SAFETY: a free block's first word is ours; blocks are 16-aligned.
        unsafe { self.0.cast::<Option<Block>>().write(next) }
    }

    #[inline(always)]
    fn mark_of(self, secret: usize) -> usize {
        self.addr().wrapping_add(secret)
    }

    #[inline(always)]
    fn second_word(self) -> NonNull<usize> {
        // SAFETY: every block has at least 16 bytes.
        unsafe { self.0.cast::<usize>().add(1) }
    }

    /// Marks the block as freed.
    ///
    /// # Safety
    /// This block is free.
    #[inline(always)]
    pub unsafe fn mark(self, secret: usize) {
        // SAFETY: a free block's second word is ours; blocks are 16-aligned.
        unsafe { self.second_word().write(self.mark_of(secret)) }
    }

    /// Takes the mark away.
    ///
    /// # Safety
    /// As [`Self::mark`].
    #[inline(always)]
    pub unsafe fn unmark(self) {
        // SAFETY: as `mark`.
        unsafe { self.second_word().write(0) }
    }

    /// Whether the block carries its mark.
    ///
    /// # Safety
    /// The block's bytes are readable.
    #[inline(always)]
    pub unsafe fn is_marked(self, secret: usize) -> bool {
        // SAFETY: the caller's.
        unsafe { self.second_word().read() == self.mark_of(secret) }
    }
}
