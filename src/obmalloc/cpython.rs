//! obmalloc with CPython's front: the MEM and OBJ domains over a raw allocator.
//!
//! What the recordings in `tests/data/` are replayed through. It shares every rule below with the
//! production allocator; what stands only here is CPython's own front (Objects/obmalloc.c 3.11,
//! `_PyObject_Malloc` and kin): requests of 0 or more than 512 bytes go to the raw domain, and a small
//! request does, too, when no arena can be had.

use super::arena::{Arena, ArenaMemory};
use super::block::Block;
use super::engine::{Backing, Engine};
use super::geometry::{Cpython, Geometry};
use super::report::Statistics;
use super::size_class::{ARENA_BYTES, POOL_BYTES, SMALL_MAX, SizeClass, resize_stays};
use core::ptr::NonNull;

/// CPython's arena allocator (`PyObjectArenaAllocator`).
pub trait Arenas {
    /// 1 MiB of memory, at any page.
    fn alloc(&mut self) -> Option<NonNull<u8>>;
    /// Takes it back.
    fn free(&mut self, base: NonNull<u8>);
}

/// CPython's raw domain (`PyMem_Raw*`): a C allocator.
pub trait Raw {
    /// `size` bytes, as `malloc`; a size of 0 gives a distinct block.
    fn malloc(&mut self, size: usize) -> Option<NonNull<u8>>;
    /// `size` zeroed bytes.
    fn calloc(&mut self, size: usize) -> Option<NonNull<u8>>;
    /// As C `realloc`, but a size of 0 gives a block.
    ///
    /// # Safety
    /// `old` came from this allocator.
    unsafe fn realloc(&mut self, old: NonNull<u8>, size: usize) -> Option<NonNull<u8>>;
    /// As C `free`.
    ///
    /// # Safety
    /// `block` came from this allocator.
    unsafe fn free(&mut self, block: NonNull<u8>);
}

/// Slots of address space an [`OwnerTable`] covers: 16 GiB.
const SLOTS: usize = 1 << 20;

/// Class by address, for arenas within 16 GiB of each other: which pools are ours. (CPython asks a radix
/// tree by arena; a pool is as good, since no block lies outside one.)
struct OwnerTable {
    low: usize,
    classes: Box<[u8]>,
}

/// CPython's arenas behind the engine.
pub struct CpythonBacking<A> {
    arenas: A,
    owners: OwnerTable,
}

impl<A: Arenas> Backing for CpythonBacking<A> {
    fn obtain(&mut self) -> Option<ArenaMemory> {
        let base = self.arenas.alloc()?;
        if self.owners.low == 0 {
            self.owners.low =
                (base.addr().get() & !(ARENA_BYTES - 1)).saturating_sub(SLOTS / 2 * POOL_BYTES);
        }
        // The descriptor lives outside the arena, as CPython's does.
        let place = Box::new(core::mem::MaybeUninit::<Arena>::uninit());
        let descriptor = NonNull::from(Box::leak(place)).cast();
        Some(ArenaMemory {
            base,
            descriptor,
            home: 0,
            zeroed: false,
        })
    }

    unsafe fn release(&mut self, arena: NonNull<Arena>) {
        // SAFETY: made by `obtain` from a box, and unused from now on.
        unsafe {
            self.arenas.free(arena.as_ref().base());
            drop(Box::from_raw(
                arena.cast::<core::mem::MaybeUninit<Arena>>().as_ptr(),
            ));
        }
    }

    fn label(&mut self, first: NonNull<u8>, span: usize, class: Option<SizeClass>) {
        let slot = (first.addr().get() - self.owners.low) / POOL_BYTES;
        let code = class.map_or(0, |class| class.index() as u8 + 1);
        self.owners.classes[slot..slot + span].fill(code);
    }
}

/// One interpreter's heap.
pub struct Obmalloc<A: Arenas, R: Raw> {
    engine: Engine<Cpython, CpythonBacking<A>>,
    raw: R,
    raw_blocks: i64,
}

impl<A: Arenas, R: Raw> Obmalloc<A, R> {
    /// A heap that owns nothing yet.
    pub fn new(arenas: A, raw: R) -> Self {
        let owners = OwnerTable {
            low: 0,
            classes: vec![0; SLOTS].into_boxed_slice(),
        };
        let engine = Engine::new(CpythonBacking { arenas, owners });
        Self {
            engine,
            raw,
            raw_blocks: 0,
        }
    }

    /// The arena allocator it was made with.
    pub fn arenas(&mut self) -> &mut A {
        &mut self.engine.backing_mut().arenas
    }

    /// The arena allocator it was made with.
    pub fn arenas_ref(&self) -> &A {
        &self.engine.backing().arenas
    }

    /// The class of the pool `p` lies in, if it lies in one.
    pub fn class_of(&self, p: NonNull<u8>) -> Option<SizeClass> {
        let owners = &self.engine.backing().owners;
        let slot = p.addr().get().checked_sub(owners.low)? / POOL_BYTES;
        match owners.classes.get(slot) {
            None | Some(0) => None,
            Some(code) => Some(SizeClass::new(*code as usize - 1)),
        }
    }

    fn pooled(&mut self, size: usize) -> Option<NonNull<u8>> {
        if size == 0 || size > SMALL_MAX {
            return None;
        }
        Some(self.engine.alloc(SizeClass::small(size))?.0.start())
    }

    fn count_raw(&mut self, block: Option<NonNull<u8>>) -> Option<NonNull<u8>> {
        self.raw_blocks += i64::from(block.is_some());
        block
    }

    /// `size` bytes (`PyObject_Malloc`).
    pub fn malloc(&mut self, size: usize) -> Option<NonNull<u8>> {
        match self.pooled(size) {
            Some(block) => Some(block),
            None => {
                let block = self.raw.malloc(size);
                self.count_raw(block)
            }
        }
    }

    /// `size` bytes, all zero (`PyObject_Calloc`, whose product the caller formed).
    pub fn calloc(&mut self, size: usize) -> Option<NonNull<u8>> {
        match self.pooled(size) {
            Some(block) => {
                // SAFETY: a block of at least `size` bytes, just handed out.
                unsafe { block.write_bytes(0, size) };
                Some(block)
            }
            None => {
                let block = self.raw.calloc(size);
                self.count_raw(block)
            }
        }
    }

    /// Resizes (`PyObject_Realloc`): in place within a quarter, else to a new block, which is taken
    /// before the old one is freed. On failure the old block is untouched.
    ///
    /// # Safety
    /// `old` is a live block of this heap.
    pub unsafe fn realloc(&mut self, old: NonNull<u8>, size: usize) -> Option<NonNull<u8>> {
        let Some(class) = self.class_of(old) else {
            // SAFETY: not in a pool, so a raw block by the caller's word.
            return unsafe { self.raw.realloc(old, size) };
        };
        if resize_stays(size, class.block_bytes()) {
            return Some(old);
        }
        let new = self.malloc(size)?;
        // SAFETY: both blocks hold at least the copied bytes and do not overlap; `old` is live.
        unsafe {
            new.copy_from_nonoverlapping(old, size.min(class.block_bytes()));
            self.free(old);
        }
        Some(new)
    }

    /// Frees (`PyObject_Free`).
    ///
    /// # Safety
    /// `block` is a live block of this heap.
    pub unsafe fn free(&mut self, block: NonNull<u8>) {
        // SAFETY: live by the caller's word.
        unsafe {
            match self.class_of(block) {
                Some(class) => {
                    self.engine.free(Block::new(block), class);
                }
                None => {
                    self.raw_blocks -= 1;
                    self.raw.free(block);
                }
            }
        }
    }

    /// The figures of CPython's report (`_PyObject_DebugMallocStats`).
    pub fn statistics(&self) -> Statistics {
        let mut statistics = Statistics::gather(&self.engine, Cpython::HEADER_BYTES);
        statistics.raw_blocks = self.raw_blocks as u64;
        statistics
    }
}
