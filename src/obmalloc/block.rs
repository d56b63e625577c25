//! Free blocks, linked through their own first word.

use core::ptr::NonNull;

/// A block nobody uses: its bytes belong to the allocator.
#[derive(Clone, Copy, PartialEq, Eq)]
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

    /// Appends the blocks of `other`.
    ///
    /// # Safety
    /// The blocks of both chains are free and in no other chain.
    #[inline]
    pub unsafe fn append(&mut self, other: Self) {
        let Some((first, last)) = other.ends else {
            return;
        };
        let start = match self.ends {
            None => first,
            Some((start, end)) => {
                // SAFETY: blocks of a chain are free.
                unsafe { end.set_link(Some(first)) };
                start
            }
        };
        self.ends = Some((start, last));
        self.len += other.len;
    }
}

/// Calls `f` on the `n` blocks linked from `first` on, in order; `f` may overwrite the block. False when
/// the links do not end with the `n`th block, as they do in every list that nobody broke.
///
/// # Safety
/// `n - 1` links from `first` on lead to free blocks.
#[inline]
pub unsafe fn for_each_linked(first: Option<Block>, n: u32, mut f: impl FnMut(Block)) -> bool {
    let mut next = first;
    for _ in 0..n {
        let Some(block) = next else { return false };
        // SAFETY: linked by the caller's word; read before `f` overwrites it.
        next = unsafe { block.link() };
        f(block);
    }
    next.is_none()
}
