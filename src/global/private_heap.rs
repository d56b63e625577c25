//! First-class heaps.

use super::{EXTENTS, MAP};
use crate::obmalloc::block::Block;
use crate::obmalloc::engine::Engine;
use crate::obmalloc::geometry::Production;
use crate::obmalloc::heap::{not_a_block, not_out, verify_in};
use crate::obmalloc::heap_backing::HeapBacking;
use crate::obmalloc::size_class::SizeClass;
use crate::os;
use crate::sync::{AtomicUsize, Ordering};
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr::NonNull;

/// A heap of its own: arenas that nobody shares, freed all at once.
///
/// A complete obmalloc without lock and without lists. What is allocated in it lives as long as it does:
/// dropping the heap gives every arena back without visiting a block. Destructors are not run.
///
/// ```
/// let heap = pymalloc::Heap::new();
/// let number: &mut u64 = heap.alloc_value(7).expect("memory");
/// *number += 1;
/// assert_eq!(*number, 8);
/// drop(heap); // and `number` with it
/// ```
///
/// A reference into a heap cannot outlive it:
///
/// ```compile_fail
/// let heap = pymalloc::Heap::new();
/// let number: &mut u64 = heap.alloc_value(7).expect("memory");
/// drop(heap);
/// *number += 1;
/// ```
pub struct Heap {
    engine: UnsafeCell<Engine<Production, HeapBacking>>,
    huge: UnsafeCell<Option<NonNull<HugeLink>>>,
    /// Its number, which its arenas and huge blocks name: a block of another heap is recognised.
    home: usize,
}

/// Number of the next heap; 0 is nobody's.
static NEXT_HOME: AtomicUsize = AtomicUsize::new(1);

/// A huge block of a heap carries its link in front of the user's bytes.
struct HugeLink {
    next: Option<NonNull<HugeLink>>,
    prev: Option<NonNull<HugeLink>>,
    home: usize,
}

// SAFETY: the heap owns its arenas; it is not `Sync`, so one thread uses it at a time.
unsafe impl Send for Heap {}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

impl Heap {
    /// A heap without memory; it gets some when first asked.
    pub fn new() -> Self {
        super::OPTIONS.load();
        // Relaxed: only uniqueness matters.
        let home = NEXT_HOME.fetch_add(1, Ordering::Relaxed);
        let engine = Engine::new(HeapBacking::new(&EXTENTS, home, false));
        Self {
            engine: UnsafeCell::new(engine),
            huge: UnsafeCell::new(None),
            home,
        }
    }

    #[allow(
        clippy::mut_from_ref,
        reason = "the heap is not Sync and no callback runs inside"
    )]
    fn engine(&self) -> &mut Engine<Production, HeapBacking> {
        // SAFETY: one thread at a time, and never held across a call to the user.
        unsafe { &mut *self.engine.get() }
    }

    /// A block for `layout`; `None` when memory is out. Its contents are unspecified.
    pub fn alloc(&self, layout: Layout) -> Option<NonNull<u8>> {
        match SizeClass::aligned(layout.size(), layout.align()) {
            Some(class) => Some(os::keep_errno(|| self.engine().alloc(class))?.0.start()),
            None => self.alloc_huge(layout),
        }
    }

    /// Moves `value` into the heap; `None` (and the value dropped) when memory is out. The value's
    /// destructor is not run when the heap goes.
    #[allow(clippy::mut_from_ref, reason = "each call gives another block")]
    pub fn alloc_value<T>(&self, value: T) -> Option<&mut T> {
        let mut place = self.alloc(Layout::new::<T>())?.cast::<T>();
        // SAFETY: a block of this layout that nobody else knows; it lives as long as the heap.
        unsafe {
            place.write(value);
            Some(place.as_mut())
        }
    }

    /// Frees one block early.
    ///
    /// # Safety
    /// 1. `p` is a live block of this heap, allocated for `layout`.
    /// 2. Nothing refers to it any more.
    pub unsafe fn dealloc(&self, p: NonNull<u8>, layout: Layout) {
        match SizeClass::aligned(layout.size(), layout.align()) {
            // SAFETY: 1 and 2.
            Some(class) => os::keep_errno(|| unsafe {
                let block = Block::new(p);
                let pool = verify_in(&MAP, block, class, self.home);
                if !self.engine().free(block, class) {
                    not_out(pool, block, class).fatal(|| ());
                }
            }),
            // SAFETY: 1 and 2.
            None => unsafe { self.free_huge(p, layout) },
        }
    }

    /// Bytes of the blocks that are out, huge ones not counted.
    pub fn block_bytes(&self) -> u64 {
        self.engine().counters().block_bytes
    }

    /// Where the user's bytes begin behind a link: at the layout's alignment.
    fn huge_layout(layout: Layout) -> Option<(Layout, usize)> {
        Layout::new::<HugeLink>().extend(layout).ok()
    }

    fn alloc_huge(&self, layout: Layout) -> Option<NonNull<u8>> {
        let (whole, offset) = Self::huge_layout(layout)?;
        let p = NonNull::new(super::huge::alloc_block(whole.size(), whole.align()))?;
        let link = p.cast::<HugeLink>();
        // SAFETY: one thread at a time; the links are ours.
        unsafe {
            let first = &mut *self.huge.get();
            link.write(HugeLink {
                next: *first,
                prev: None,
                home: self.home,
            });
            if let Some(mut next) = *first {
                next.as_mut().prev = Some(link);
            }
            *first = Some(link);
            Some(p.add(offset))
        }
    }

    unsafe fn free_huge(&self, p: NonNull<u8>, layout: Layout) {
        let Some((_, offset)) = Self::huge_layout(layout) else {
            return;
        };
        // SAFETY: by the caller's word a live huge block, with its link in front.
        unsafe {
            let start = NonNull::new_unchecked(p.as_ptr().wrapping_sub(offset));
            // The link is read only where a live huge block begins.
            let live = super::HUGE.usable_bytes(start).is_some();
            if !live || start.cast::<HugeLink>().as_ref().home != self.home {
                not_a_block(p);
            }
            let &HugeLink { next, prev, .. } = start.cast::<HugeLink>().as_ref();
            // The global allocator's user may own the memory next, and must not be taken for us.
            start.cast::<HugeLink>().as_mut().home = 0;
            match prev {
                Some(mut prev) => prev.as_mut().next = next,
                None => *self.huge.get() = next,
            }
            if let Some(mut next) = next {
                next.as_mut().prev = prev;
            }
            super::slow::free_unknown(start);
        }
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: references into the heap borrow it, so none is left.
        unsafe { self.engine.get_mut().release_all() };
        let mut next = self.huge.get_mut().take();
        while let Some(link) = next {
            // SAFETY: the list's links are live blocks, freed once each.
            unsafe {
                next = link.as_ref().next;
                super::slow::free_unknown(link.cast());
            }
        }
        // Nobody else may look at what lies free for long.
        os::keep_errno(|| super::purge::poll(0));
    }
}
