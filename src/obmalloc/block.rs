//! Free blocks: what is written into them.
//!
//! | block | first word | second word |
//! |---|---|---|
//! | in its pool | nothing (`free_bits.rs`) | a mark, if it came with one |
//! | in a thread's list | nothing: the list knows its address | a mark, if C's `free` put it there |
//! | on its way to another heap | link to the next one | a mark |
//!
//! A mark is the block's address and a secret of the process, added, with the place in the upper half: no address, and
//! no small number. The lower half is the same in every place, and all that C's `free` compares before it looks closer. C's
//! `free` looks for it and its `malloc` clears it, so a second free is known at once; a flush looks for those
//! of blocks on their way, which no bit of a pool tells from blocks that are out. A block that came without a mark leaves without
//! one: Rust's allocs clear none, and a program that writes over one byte of what is left of a mark could
//! make another of it.

use core::ptr::NonNull;

/// Where a marked block lies free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Place {
    /// In a thread's list, where C's `free` put it, or in its pool since.
    List = 0,
    /// On its way to another heap, from a list where it had no mark.
    Chain = 1,
    /// On its way to another heap, from a list where it had one.
    ListedChain = 2,
}

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

    /// The mark of this block in a list.
    #[inline(always)]
    fn list_mark(self, secret: usize) -> usize {
        self.addr().wrapping_add(secret)
    }

    #[inline(always)]
    fn second_word(self) -> NonNull<usize> {
        // SAFETY: every block has at least 16 bytes.
        unsafe { self.0.cast::<usize>().add(1) }
    }

    /// Marks the block as lying free in `place`.
    ///
    /// # Safety
    /// This block is free.
    #[inline(always)]
    pub unsafe fn mark(self, secret: usize, place: Place) {
        // SAFETY: a free block's second word is ours; blocks are 16-aligned.
        unsafe {
            self.second_word()
                .write(self.list_mark(secret).wrapping_add((place as usize) << 32))
        }
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

    /// Whether the block carries a mark of any place.
    ///
    /// # Safety
    /// The block's bytes are readable.
    #[inline(always)]
    pub unsafe fn is_marked(self, secret: usize) -> bool {
        // SAFETY: the caller's.
        let word = unsafe { self.second_word().read() };
        // The place, unless other bits differ, too.
        let was = word.wrapping_sub(self.list_mark(secret)).rotate_left(32);
        was <= Place::ListedChain as usize
    }

    /// False if the block carries no mark; true if it does, or nearly: one word in four billion.
    ///
    /// # Safety
    /// As [`Self::is_marked`].
    #[cfg_attr(
        not(feature = "preload"),
        allow(dead_code, reason = "a question of the C front")
    )]
    #[inline(always)]
    pub unsafe fn may_be_marked(self, secret: usize) -> bool {
        // SAFETY: the caller's.
        let word = unsafe { self.second_word().read() };
        word as u32 == self.list_mark(secret) as u32
    }

    /// Marks the block as on its way to another heap; false if it is already.
    ///
    /// # Safety
    /// This block is free.
    #[inline(always)]
    pub unsafe fn depart(self, secret: usize) -> bool {
        let list = self.list_mark(secret);
        // SAFETY: a free block's second word is ours.
        unsafe {
            let word = self.second_word().read();
            let was = word.wrapping_sub(list).rotate_left(32);
            if was == Place::Chain as usize || was == Place::ListedChain as usize {
                return false;
            }
            let place = match was == Place::List as usize {
                true => Place::ListedChain,
                false => Place::Chain,
            };
            self.mark(secret, place);
        }
        true
    }

    /// Takes the mark of [`Self::depart`] away: the block has the one it had before, or none.
    ///
    /// # Safety
    /// This block is free.
    #[inline(always)]
    pub unsafe fn arrive(self, secret: usize) {
        let list = self.list_mark(secret);
        // SAFETY: a free block's second word is ours.
        unsafe {
            let was = self.second_word().read().wrapping_sub(list);
            let was_listed = was.rotate_left(32) == Place::ListedChain as usize;
            self.second_word().write(if was_listed { list } else { 0 });
        }
    }
}

/// Blocks linked to travel together. `len` is exact; the link of the last block is undefined.
#[derive(Clone, Copy)]
pub struct Chain {
    /// First block, and the last; both or neither.
    ends: Option<(Block, Block)>,
    len: u32,
}

impl Chain {
    /// No blocks.
    pub const EMPTY: Self = Self { ends: None, len: 0 };

    /// Blocks from `first` to `last`, linked in this order.
    ///
    /// # Safety
    /// Following `len - 1` links from `first` arrives at `last`.
    pub unsafe fn new(first: Block, last: Block, len: u32) -> Self {
        Self {
            ends: Some((first, last)),
            len,
        }
    }

    /// Number of blocks.
    #[inline]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// First and last block.
    pub fn ends(&self) -> Option<(Block, Block)> {
        self.ends
    }

    /// A single block.
    #[inline]
    pub fn one(block: Block) -> Self {
        Self {
            ends: Some((block, block)),
            len: 1,
        }
    }

    /// Appends a block.
    ///
    /// # Safety
    /// The blocks of the chain are free, and so is the new one, which is in no chain.
    #[inline(always)]
    pub unsafe fn push(&mut self, block: Block) {
        let start = match self.ends {
            None => block,
            Some((start, end)) => {
                // SAFETY: blocks of a chain are free.
                unsafe { end.set_link(Some(block)) };
                start
            }
        };
        self.ends = Some((start, block));
        self.len += 1;
    }
}
