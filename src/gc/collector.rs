//! The collector's state: one per heap.

use crate::global::{object_memory, watch};
use crate::object::handle::{Erased, Gc};
use crate::object::header::Raw;
use crate::object::heap::{Heap, Phase};
use crate::object::passes::Marker;
use core::any::Any;
use core::cell::{Cell, RefCell};
use core::ptr::NonNull;
use std::rc::Rc;

/// Generations.
pub const GENERATIONS: usize = 3;
/// Thresholds of a new heap (CPython 3.10–3.12, Modules/gcmodule.c; 3.13 has 2000 for the first).
const THRESHOLDS: [u32; GENERATIONS] = [700, 10, 10];
/// Objects the marking stack holds; what finds no room is left pending.
const STACK: usize = 1 << 15;

/// What one generation's collections did so far.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GenerationStats {
    /// Collections of this generation.
    pub collections: u64,
    /// Objects they freed.
    pub collected: u64,
    /// Objects they found and could not free.
    pub uncollectable: u64,
}

/// When a callback is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Before a collection.
    Start,
    /// After it.
    Stop,
}

/// What a callback is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Info {
    /// The oldest generation collected.
    pub generation: usize,
    /// Objects freed; 0 at the start.
    pub collected: usize,
    /// Objects found that cannot be freed; 0 at the start.
    pub uncollectable: usize,
}

/// Called before and after each collection.
pub type Callback = Rc<dyn Fn(When, &Info)>;

/// See the module.
pub struct Collector {
    /// What is collected.
    pub heap: Heap,
    /// Thresholds.
    pub thresholds: [Cell<u32>; GENERATIONS],
    /// Collections of generation 0 since the last of 1, and of 1 since the last of 2.
    pub counts: [Cell<u32>; 2],
    /// Whether collections run by themselves.
    pub enabled: Cell<bool>,
    /// Whether those wait for `poll`.
    pub deferred: Cell<bool>,
    /// What a layer above keeps about this heap: see [`super::notes`].
    pub notes: RefCell<Option<Rc<dyn Any>>>,
    /// Whether one waits.
    pub scheduled: Cell<bool>,
    /// Objects in generation 2 after the last full collection.
    pub long_lived_total: Cell<usize>,
    /// Objects that came into generation 2 since.
    pub long_lived_pending: Cell<usize>,
    /// Whether generation 2 must be looked at even if no card is set.
    pub must_look: Cell<bool>,
    /// Whether full collections count downwards; see [`Collector::find`].
    pub downwards: Cell<bool>,
    /// Debug flags.
    pub debug: Cell<u32>,
    /// By generation.
    pub stats: [Cell<GenerationStats>; GENERATIONS],
    /// Called in order.
    pub callbacks: RefCell<Vec<Callback>>,
    /// What could not be freed.
    pub garbage: RefCell<Vec<Gc<Erased>>>,
    /// Ids of objects that serde is writing.
    #[cfg(feature = "serde")]
    pub written: RefCell<std::collections::BTreeSet<usize>>,
    stack: Cell<Option<Box<[core::mem::MaybeUninit<Raw>]>>>,
}

impl Collector {
    /// A collector with a new heap.
    pub fn new() -> Box<Self> {
        let collector = Box::new(Self {
            heap: Heap::new(super::trigger::on_limit, super::current::end_orphan),
            thresholds: THRESHOLDS.map(Cell::new),
            counts: [const { Cell::new(0) }; 2],
            enabled: Cell::new(true),
            deferred: Cell::new(false),
            notes: RefCell::default(),
            scheduled: Cell::new(false),
            long_lived_total: Cell::new(0),
            long_lived_pending: Cell::new(0),
            must_look: Cell::new(false),
            downwards: Cell::new(false),
            debug: Cell::new(0),
            stats: [const {
                Cell::new(GenerationStats {
                    collections: 0,
                    collected: 0,
                    uncollectable: 0,
                })
            }; GENERATIONS],
            callbacks: RefCell::default(),
            garbage: RefCell::default(),
            #[cfg(feature = "serde")]
            written: RefCell::default(),
            stack: Cell::new(Some(Box::new_uninit_slice(STACK))),
        });
        collector.update_limit();
        collector
    }

    /// Tells the heap where its collector is, and the thread that it has one more. The collector has its place now.
    pub fn settle(this: NonNull<Self>) {
        // SAFETY: made by `new`, and nobody has it mutably.
        let heap = unsafe { &this.as_ref().heap };
        heap.upper.set(Some(this.cast()));
        heap.join_siblings(NonNull::new(object_memory::newest().cast()));
        object_memory::set_newest(NonNull::from(heap).as_ptr().cast());
        watch::set_heaps(look);
        heap.look();
    }

    /// The collector of a heap.
    pub fn of(heap: &Heap) -> &Self {
        let upper = heap
            .upper
            .get()
            .expect("heaps are made with their collector");
        // SAFETY: set by `settle`; the heap is a field of it.
        unsafe { upper.cast::<Self>().as_ref() }
    }

    /// The thread has it no more: called before it goes.
    pub fn leave(&self) {
        if let Some(newest) = self.heap.leave_siblings() {
            let newest = newest.map_or(core::ptr::null_mut(), NonNull::as_ptr);
            object_memory::set_newest(newest.cast());
        }
    }

    /// Sets the count at which an allocation asks for a collection.
    pub fn update_limit(&self) {
        let waits = self.deferred.get() && self.scheduled.get();
        let idle = self.heap.phase.get() == Phase::Idle;
        let first = self.thresholds[0].get();
        let runs = self.enabled.get() && idle && !waits && first != 0;
        self.heap.limit.set(if runs { first } else { u32::MAX });
    }

    /// Calls `f` with a marker whose stack is the collector's.
    pub fn with_marker<R>(&self, f: impl FnOnce(&mut Marker) -> R) -> R {
        let mut stack = self.stack.take().expect("one marking pass at a time");
        let bottom = NonNull::from(&mut *stack).cast::<Raw>();
        // SAFETY: the stack is ours until it is put back.
        let mut marker = unsafe { Marker::new(bottom, STACK) };
        let result = f(&mut marker);
        self.stack.set(Some(stack));
        result
    }
}

/// The calling thread begins to watch.
fn look() {
    let newest = NonNull::new(object_memory::newest().cast::<Heap>());
    if let Some(heap) = newest {
        // SAFETY: heaps leave the thread's list before they go.
        unsafe { heap.as_ref() }.look_with_older();
    }
}
