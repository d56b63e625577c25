//! What is wrong with a block that came home and is none, and the lines that say so.

use super::address_map::{AddressMap, Owner, class_of, label_of};
use super::block::Block;
use super::geometry::{Geometry, Production};
use super::pool::Pool;
use super::size_class::{ALIGNMENT, ARENA_BYTES, POOL_BYTES, SizeClass, block_index};
use crate::os;
use core::ptr::NonNull;

/// What is wrong with a pointer that was freed.
#[derive(Clone, Copy)]
pub enum Wrong {
    /// It names no live block of the heap it was given to.
    NoBlock(NonNull<u8>),
    /// Its block, of that class, is free.
    Freed(NonNull<u8>, SizeClass),
    /// It points into the middle of a block of that class.
    Inside(NonNull<u8>, SizeClass),
}

impl Wrong {
    /// Says it in one line, and aborts; before the program's handler of that runs, `let_go` frees what the thread
    /// holds.
    #[cold]
    #[inline(never)]
    pub fn fatal(self, let_go: fn()) -> ! {
        match self {
            Self::NoBlock(p) => os::fatal_after(
                format_args!("free of {p:p}, which is not a block of this heap"),
                let_go,
            ),
            Self::Freed(p, class) => os::fatal_after(
                format_args!(
                    "double free of {p:p} (size class {} bytes)",
                    class.block_bytes()
                ),
                let_go,
            ),
            Self::Inside(p, class) => os::fatal_after(
                format_args!(
                    "free of {p:p}, which points inside a block (size class {} bytes)",
                    class.block_bytes()
                ),
                let_go,
            ),
        }
    }
}

/// What is wrong with a block that is none of its pool's that are out.
///
/// # Safety
/// `pool` serves `class`, and the block lies in it.
#[cold]
#[inline(never)]
pub unsafe fn not_out(pool: NonNull<Pool>, block: Block, class: SizeClass) -> Wrong {
    // SAFETY: the caller's.
    let offset = block.addr() - unsafe { Production::memory(pool) }.addr().get();
    match block_index(offset, class) {
        // SAFETY: as above.
        Some(k) if k < unsafe { pool.as_ref() }.carved() => Wrong::Freed(block.start(), class),
        Some(_) => Wrong::NoBlock(block.start()),
        None => Wrong::Inside(block.start(), class),
    }
}

/// The header of the pool or run that the slot of `p`, in an arena of ours, is part of or was last. Racy, and
/// of a slot that was never used anything: for reports only.
fn pool_around(p: NonNull<u8>) -> Option<NonNull<Pool>> {
    if p.addr().get() % ARENA_BYTES < POOL_BYTES {
        return None;
    }
    // SAFETY: in an arena, and not in its header slot. Of any class: the header of the slot itself.
    unsafe {
        let slot = Production::pool_of(p, SizeClass::new(0));
        let lead = slot.as_ref().lead();
        (lead <= Production::index(slot)).then(|| slot.sub(lead))
    }
}

/// The class a block at `p` had before its pool, in an arena of ours, came free; `None` where none began.
/// Racy, for reports only.
pub fn freed_class(p: NonNull<u8>) -> Option<SizeClass> {
    let pool = pool_around(p)?;
    // SAFETY: a header's place.
    unsafe {
        let class = pool.as_ref().class()?;
        let offset = p.addr().get() - Production::memory(pool).addr().get();
        let index = block_index(offset, class)?;
        (index < pool.as_ref().carved()).then_some(class)
    }
}

/// The class of the pool or run in use around `p`, in an arena of ours. Exact for a place in a live block;
/// racy for any other, for reports only.
pub fn class_around(map: &AddressMap, p: NonNull<u8>) -> Option<SizeClass> {
    let pool = pool_around(p)?;
    // SAFETY: a header's place. The first slot of a run has its label, since its first block begins there.
    let first = unsafe { Production::memory(pool) }.addr().get();
    class_of(map.label(first)).filter(|class| p.addr().get() - first < class.span() * POOL_BYTES)
}

/// What is wrong with a block that lies in no pool of its class. A pool that serves another class now, or none,
/// served `class` perhaps when the block was freed first.
#[cold]
#[inline(never)]
pub(super) fn wrong_pool(map: &AddressMap, block: Block, class: SizeClass) -> Wrong {
    if map.owner(block.addr()) == Owner::Arena {
        if freed_class(block.start()) == Some(class) {
            return Wrong::Freed(block.start(), class);
        }
        if map.label(block.addr()) == 0
            && let Some(around) = class_around(map, block.start())
        {
            return Wrong::Inside(block.start(), around);
        }
    }
    // The map knows no label for a misaligned address.
    if map.lookup(block.addr() & !(ALIGNMENT - 1)) == Some(label_of(class)) {
        return Wrong::Inside(block.start(), class);
    }
    Wrong::NoBlock(block.start())
}

/// Reports a pointer that names no live block of the heap it was given to, and aborts. Hold no lock.
pub fn not_a_block(p: NonNull<u8>) -> ! {
    Wrong::NoBlock(p).fatal(|| ())
}

/// Reports a double free and aborts. Hold no lock.
pub fn double_free(p: NonNull<u8>, class: SizeClass) -> ! {
    Wrong::Freed(p, class).fatal(|| ())
}

/// Reports a pointer into the middle of a block and aborts. Hold no lock.
pub fn interior(p: NonNull<u8>, class: SizeClass) -> ! {
    Wrong::Inside(p, class).fatal(|| ())
}
