//! From any address to what is there: the ownership test of every free.
//!
//! ```text
//! address:  | 0 (17) | root (15) | pool (18)        | in pool (10) | 0 (4) |
//!                        |          |
//!           root[..] -> leaf: labels[pool]: u8      one per 16 KiB: list index of its class, or 0
//!                             slots[pool / 64]      one per 1 MiB: who owns it
//!
//! address - base:   | pool in the window | in pool (10) | 0 (4) |
//!                        |
//!           window[pool]: u8    as labels, and 0 where frees are diverted; for C's `free`
//! ```
//!
//! A label of 0 means "ask the slow path": foreign, huge, private or free, or a pool of a run in which no block
//! begins. Because the address is rotated right by 4 before the range test, a misaligned pointer fails that one test, too.
//! CPython asks a radix tree of arenas (3.10+, `arena_map_is_used`); this one answers by pool, which is
//! as good, since no block lies outside a pool, and gives the class without reading the pool.
//!
//! C's `free` asks a *window* first: one table for the 5 GiB in which our first extent lies, a GiB below their end because
//! the kernel gives addresses downwards, mostly. It saves the walk and two tests of four; what lies beyond is looked up in
//! the root.
//!
//! Frees of a pool are *diverted* while a block in it is sampled: C's `free` then finds no list, takes the slow path,
//! and is seen. So the lists need not show what was freed.
//!
//! Invariants:
//! * I1 a leaf, once published, stays for ever; so does its address range's meaning.
//! * I2 a label changes only under the lock of the heap that owns the pool, and only while no block of
//!   the pool is live. Whoever holds a live block therefore reads its label without synchronisation:
//!   handing the block over ordered the label before it.
//!   Whether a pool is diverted changes only while a block of it is live: the sampled one. Its user got it after
//!   that; whoever frees another block may see either, and both ways lead to its list.
//! * I4 the window is laid once, before any label is set. Whoever does not see where asks a window of zeros at address 0,
//!   or one that does not reach so far: both ways lead to the root. Whoever holds a block sees it, as in I2.
//! * I3 a slot's owner is set before the first block in it is handed out and cleared after the last came
//!   back. A racing lookup of a foreign address may see either; it acts only after a check under a lock.

use super::size_class::{ARENA_BYTES, POOL_BYTES, SizeClass};
use crate::sync::{AtomicPtr, AtomicU8, AtomicUsize, Ordering, const_unless_loom};
use core::ptr::NonNull;
use static_assertions::const_assert;

/// Address bits of user space on x86-64 and aarch64 (the kernel gives more only to who asks for it).
const ADDRESS_BITS: u32 = 47;
/// A leaf covers 4 GiB; in a model one arena, and the root has room for eight: each entry is one of
/// loom's atomics and costs every execution.
const LEAF_BITS: u32 = if cfg!(loom) { 20 } else { 32 };
const ROOT: usize = if cfg!(loom) {
    8
} else {
    1 << (ADDRESS_BITS - LEAF_BITS)
};
const LEAF_POOLS: usize = (1 << LEAF_BITS) / POOL_BYTES;
const LEAF_SLOTS: usize = (1 << LEAF_BITS) / ARENA_BYTES;
/// Bytes of address space that C's `free` has a table for; it alone asks by address. At start it, the root and a
/// leaf take less than 1 MiB of address space together.
const WINDOW_BYTES: usize = if HAS_WINDOW { 5 << 30 } else { 0 };
const HAS_WINDOW: bool = cfg!(feature = "preload");
/// What the window's upper end is a multiple of, and as many bytes of it at least lie above the first extent.
const WINDOW_ALIGN: usize = 1 << 30;
const WINDOW_POOLS: usize = WINDOW_BYTES / POOL_BYTES;
/// In a leaf's label: frees are diverted.
const DIVERTED: Label = 1 << 7;
/// Low bits that are 0 in an aligned block's address.
const ALIGN_BITS: u32 = 4;

const_assert!(1 << ALIGN_BITS == super::size_class::ALIGNMENT);
const_assert!(SizeClass::COUNT < DIVERTED as usize);

/// Index of a thread list: 0 for none, else a class's index and 1.
pub type Label = u8;

/// The label of a class.
#[inline]
pub const fn label_of(class: SizeClass) -> Label {
    class.index() as u8 + 1
}

/// The class of a nonzero label.
#[inline]
pub const fn class_of(label: Label) -> Option<SizeClass> {
    match label {
        0 => None,
        label => Some(SizeClass::new(label as usize - 1)),
    }
}

/// Who owns a 1 MiB slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// Not ours, or given back.
    Nobody,
    /// An arena; its descriptor is in the slot's first page.
    Arena,
    /// An arena of a first-class heap, whose blocks enter no thread's list.
    PrivateArena,
    /// A huge block of so many bytes began here and was unmapped; anybody's now.
    Gone(usize),
    /// A huge block of so many bytes began here and was freed; the slot is ours, and free.
    Freed(usize),
    /// A huge block begins here; its descriptor's address.
    Huge(usize),
}

/// What is known of one 1 MiB slot. The links belong to `Extents`, under its lock.
pub struct Slot {
    owner: AtomicUsize,
    pub(super) next: AtomicUsize,
    pub(super) prev: AtomicUsize,
    /// Its state and what goes with it (`slots.rs`).
    pub(super) note: AtomicUsize,
}

const NOBODY: usize = 0;
const ARENA: usize = 1;
const PRIVATE_ARENA: usize = 2;
/// With the block's length in bytes above the tag: descriptors are aligned, so their low bits are 0.
const GONE: usize = 3;
const FREED: usize = 4;
const TAG_BITS: u32 = 3;

/// The root's entry for an address with these bits above [`LEAF_BITS`]; none beyond `ADDRESS_BITS`. A
/// model's root wraps around.
#[inline(always)]
const fn root_index(high: usize) -> usize {
    if cfg!(loom) && high < 1 << (ADDRESS_BITS - LEAF_BITS) {
        high % ROOT
    } else {
        high
    }
}

/// What is known of `1 << LEAF_BITS` bytes of address space.
pub struct Leaf {
    labels: [AtomicU8; LEAF_POOLS],
    slots: [Slot; LEAF_SLOTS],
}

/// The map of all address space.
pub struct AddressMap {
    /// What leads from an address to its place in the window: where that begins, negated (I4).
    to_window: AtomicUsize,
    root: [AtomicPtr<Leaf>; ROOT],
    window: [AtomicU8; WINDOW_POOLS],
}

impl Default for AddressMap {
    fn default() -> Self {
        Self::new()
    }
}

impl AddressMap {
    /// Bytes of the root and the window.
    pub const ROOT_BYTES: usize = size_of::<Self>();
    /// Bytes of a leaf.
    pub const LEAF_BYTES: usize = size_of::<Leaf>();

    const_unless_loom! {
        /// A map that owns nothing.
        pub fn new() -> Self {
            Self {
                to_window: AtomicUsize::new(0),
                #[cfg(not(loom))]
                window: [const { AtomicU8::new(0) }; WINDOW_POOLS],
                #[cfg(loom)]
                window: core::array::from_fn(|_| AtomicU8::new(0)),
                #[cfg(not(loom))]
                root: [const { AtomicPtr::new(core::ptr::null_mut()) }; ROOT],
                #[cfg(loom)]
                root: core::array::from_fn(|_| AtomicPtr::new(core::ptr::null_mut())),
            }
        }
    }

    /// The label at `addr`: nonzero for a 16-aligned address in a pool whose blocks may enter a list.
    /// `None` where nothing of ours can be.
    #[inline(always)]
    pub fn lookup(&self, addr: usize) -> Option<Label> {
        let (leaf, pool) = self.pool(addr)?;
        // Relaxed: I2.
        Some(leaf.labels[pool].load(Ordering::Relaxed) & !DIVERTED)
    }

    /// As [`Self::lookup`], and 0 where frees are diverted, too: the list that a block freed there may enter at once.
    /// `None` beyond the window, which says nothing.
    #[cfg_attr(
        not(feature = "preload"),
        allow(dead_code, reason = "a question of the C front")
    )]
    #[inline(always)]
    pub fn open_list(&self, addr: usize) -> Option<Label> {
        // One test for both: the window begins at a pool, so a misaligned address has its low bits on top now.
        let pool = self.offset(addr).rotate_right(ALIGN_BITS) / (POOL_BYTES >> ALIGN_BITS);
        // Relaxed: I2.
        Some(self.window.get(pool)?.load(Ordering::Relaxed))
    }

    /// As [`Self::open_list`], of any address.
    #[cfg_attr(
        not(feature = "preload"),
        allow(dead_code, reason = "a question of the C front")
    )]
    pub fn open_list_anywhere(&self, addr: usize) -> Option<Label> {
        let (leaf, pool) = self.pool(addr)?;
        // Relaxed: I2.
        let label = leaf.labels[pool].load(Ordering::Relaxed);
        Some(if label & DIVERTED == 0 { label } else { 0 })
    }

    /// Diverts frees from the pool of a live block, or no longer. Nothing comes of it where frees do not ask.
    pub fn divert(&self, addr: usize, diverted: bool) {
        let Some((leaf, pool)) = self.pool(addr) else {
            return;
        };
        let label = leaf.labels[pool].load(Ordering::Relaxed) & !DIVERTED;
        let (noted, open) = match diverted {
            true => (label | DIVERTED, 0),
            false => (label, label),
        };
        // Relaxed: I2.
        leaf.labels[pool].store(noted, Ordering::Relaxed);
        self.show(addr, open);
    }

    /// Bytes from the window's start to an address: too many, if it lies in front of it.
    #[inline(always)]
    fn offset(&self, addr: usize) -> usize {
        // Relaxed: I4.
        addr.wrapping_add(self.to_window.load(Ordering::Relaxed))
    }

    /// Sets what the window has for a pool, if it lies there.
    fn show(&self, addr: usize, label: Label) {
        if !HAS_WINDOW {
            return;
        }
        if let Some(shown) = self.window.get(self.offset(addr) / POOL_BYTES) {
            // Relaxed: I2.
            shown.store(label, Ordering::Relaxed);
        }
    }

    /// The leaf of an aligned address, and the pool there.
    #[inline(always)]
    fn pool(&self, addr: usize) -> Option<(&Leaf, usize)> {
        let rotated = addr.rotate_right(ALIGN_BITS);
        // One test for three errors: a misaligned address has its low bits on top now, a kernel address
        // its high ones, and both lie beyond the root.
        // Acquire: pairs with the publication in `cover`, so that a leaf's zeros are seen.
        let leaf = self
            .root
            .get(root_index(rotated >> (LEAF_BITS - ALIGN_BITS)))?
            .load(Ordering::Acquire);
        // SAFETY: leaves live for ever (I1).
        let leaf = unsafe { leaf.as_ref() }?;
        Some((leaf, (rotated / (POOL_BYTES >> ALIGN_BITS)) % LEAF_POOLS))
    }

    /// What free blocks are marked with: where the kernel loaded us.
    #[inline(always)]
    pub fn secret(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// As [`Self::lookup`], with 0 for `None`.
    #[inline]
    pub fn label(&self, addr: usize) -> Label {
        self.lookup(addr).unwrap_or(0)
    }

    fn leaf(&self, addr: usize) -> Option<&Leaf> {
        let leaf = self
            .root
            .get(root_index(addr >> LEAF_BITS))?
            .load(Ordering::Acquire);
        // SAFETY: leaves live for ever (I1).
        unsafe { leaf.as_ref() }
    }

    /// The slot `addr` lies in, if its range is covered.
    pub fn slot(&self, addr: usize) -> Option<&Slot> {
        Some(&self.leaf(addr)?.slots[(addr / ARENA_BYTES) % LEAF_SLOTS])
    }

    /// Who owns the slot `addr` lies in.
    pub fn owner(&self, addr: usize) -> Owner {
        self.slot(addr).map_or(Owner::Nobody, Slot::owner)
    }

    /// Makes leaves for `len` bytes from `start` on, from zeroed memory that `memory` gives and that is
    /// never taken back. False when it gives none, or the range lies above `ADDRESS_BITS`.
    pub fn cover(
        &self,
        start: NonNull<u8>,
        len: usize,
        mut memory: impl FnMut() -> Option<NonNull<u8>>,
    ) -> bool {
        let first = start.addr().get() >> LEAF_BITS;
        let last = (start.addr().get() + len - 1) >> LEAF_BITS;
        if HAS_WINDOW && self.to_window.load(Ordering::Relaxed) == 0 {
            let end = (start.addr().get() + len).next_multiple_of(WINDOW_ALIGN) + WINDOW_ALIGN;
            // Not at 0, which says that there is none yet.
            let base = end.saturating_sub(WINDOW_BYTES).max(POOL_BYTES);
            // Relaxed: I4; the holder of the extents' lock alone writes.
            self.to_window.store(base.wrapping_neg(), Ordering::Relaxed);
        }
        for index in first..=last {
            let Some(entry) = self.root.get(root_index(index)) else {
                return false;
            };
            if !entry.load(Ordering::Acquire).is_null() {
                continue;
            }
            let Some(leaf) = memory() else { return false };
            let leaf = Leaf::made_of(leaf);
            // Release: publishes the leaf's zeros. Only the holder of the extents' lock covers, so
            // nobody else stored meanwhile.
            entry.store(leaf.as_ptr(), Ordering::Release);
        }
        true
    }

    /// Labels the `span` pools from `first` on, those in which no block of the label's class begins with 0: a
    /// pointer there is none to take into a list.
    pub fn set_labels(&self, first: NonNull<u8>, span: usize, label: Label) {
        let start = first.addr().get();
        let Some(leaf) = self.leaf(start) else { return };
        let index = (start / POOL_BYTES) % LEAF_POOLS;
        // An arena never crosses a leaf: both are aligned powers of two.
        let class = class_of(label);
        for slot in 0..span {
            let begins = class.is_none_or(|class| class.begins_in(slot));
            let (label, place) = (if begins { label } else { 0 }, &leaf.labels[index + slot]);
            // Of a long run most have none, before and after. Relaxed: I2.
            if place.load(Ordering::Relaxed) != label {
                place.store(label, Ordering::Relaxed);
                self.show(start + slot * POOL_BYTES, label);
            }
        }
    }

    /// Number of leaves made so far.
    pub fn n_leaves(&self) -> usize {
        self.root
            .iter()
            .filter(|leaf| !leaf.load(Ordering::Relaxed).is_null())
            .count()
    }
}

impl Leaf {
    /// Zeroed memory is a leaf that owns nothing. Loom's atomics are not made of zeros: a model writes
    /// them.
    fn made_of(memory: NonNull<u8>) -> NonNull<Self> {
        let leaf = memory.cast::<Self>();
        #[cfg(loom)]
        // SAFETY: fresh memory of `LEAF_BYTES` that nobody else knows.
        unsafe {
            leaf.write(Self {
                labels: core::array::from_fn(|_| AtomicU8::new(0)),
                slots: core::array::from_fn(|_| Slot {
                    owner: AtomicUsize::new(NOBODY),
                    next: AtomicUsize::new(0),
                    prev: AtomicUsize::new(0),
                    note: AtomicUsize::new(0),
                }),
            });
        }
        leaf
    }
}

impl Slot {
    /// Who owns it.
    pub fn owner(&self) -> Owner {
        // Acquire: pairs with `set_owner`, so that a descriptor found here is written.
        match self.owner.load(Ordering::Acquire) {
            NOBODY => Owner::Nobody,
            ARENA => Owner::Arena,
            PRIVATE_ARENA => Owner::PrivateArena,
            word if word % (1 << TAG_BITS) == GONE => Owner::Gone(word >> TAG_BITS),
            word if word % (1 << TAG_BITS) == FREED => Owner::Freed(word >> TAG_BITS),
            descriptor => Owner::Huge(descriptor),
        }
    }

    /// Names its owner.
    pub fn set_owner(&self, owner: Owner) {
        // Release: publishes the descriptor.
        self.owner.store(Self::encode(owner), Ordering::Release);
    }

    fn encode(owner: Owner) -> usize {
        match owner {
            Owner::Nobody => NOBODY,
            Owner::Arena => ARENA,
            Owner::PrivateArena => PRIVATE_ARENA,
            Owner::Gone(bytes) => bytes << TAG_BITS | GONE,
            Owner::Freed(bytes) => bytes << TAG_BITS | FREED,
            Owner::Huge(descriptor) => descriptor,
        }
    }
}

#[cfg(not(loom))]
#[cfg(test)]
#[path = "address_map_tests.rs"]
mod tests;
