//! This thread's lists and heap.
//!
//! | state | lists | entered | left |
//! |---|---|---|---|
//! | new | empty, no room | the thread is born | its first call finds an empty list: `start` |
//! | live | in use | `start` | its exit hook: `end` |
//! | ended | empty, no room | `end` | never: destructors that run later go to the heap block by block |
//!
//! In an executable the lists lie in thread-local storage. In the preload library that would take more
//! static TLS than a late `dlopen` can have, and the portable access would call `__tls_get_addr`, which
//! may itself call malloc: there two pointers lie in TLS, reached by the initial-exec relocation, and
//! the lists lie in mapped memory, in front of their stacks.

use super::countdown::Countdown;
use super::event::Told;
use super::tide::Tide;
use super::{
    EXTENTS, HUGE, MAP, OPTIONS, ROSTER, SharedHeap, exit, fork, guard, purge, regions, slot,
};
use crate::obmalloc::heap_backing::HeapBacking;
use crate::obmalloc::kept::Place;
use crate::obmalloc::list::Entry;
use crate::obmalloc::thread_lists::ThreadLists;
use crate::os;
use core::cell::Cell;
use core::ptr::NonNull;

/// What a thread has of its own.
#[repr(C)]
pub struct Thread {
    pub(super) lists: ThreadLists,
    heap: Cell<Option<&'static SharedHeap>>,
    ended: Cell<bool>,
    hooked: Cell<bool>,
    /// Where it keeps the huge block it freed last, once it freed one.
    kept: Cell<Option<&'static Place>>,
    /// Slow calls so far: paces what is done now and then.
    pub(super) ticks: Cell<u32>,
    /// Number of the watch for which its lists were closed last (`watch.rs`).
    pub(super) watch: Cell<u32>,
    /// Its lists, while every call of its is watched (`behind.rs`).
    pub(super) behind: Cell<Option<&'static ThreadLists>>,
    /// Whether it walks its stack.
    pub(super) walking: Cell<bool>,
    /// What observers know of it.
    pub(super) told: Told,
    /// Whether it works on its lists for the sampler, and what its draws are made of (`poisson.rs`).
    pub(super) drawing: Cell<bool>,
    pub(super) draws: Cell<u64>,
    /// Bytes to the next sample, if its lists are hidden (`countdown.rs`).
    pub(super) countdown: Countdown,
    /// What its heap has out, in the long run.
    pub(super) tide: Tide,
}

impl Thread {
    #[allow(
        clippy::declare_interior_mutable_const,
        reason = "a pattern to make records from"
    )]
    const EMPTY: Self = Self {
        lists: ThreadLists::EMPTY,
        heap: Cell::new(None),
        ended: Cell::new(false),
        hooked: Cell::new(false),
        kept: Cell::new(None),
        ticks: Cell::new(0),
        watch: Cell::new(0),
        behind: Cell::new(None),
        walking: Cell::new(false),
        told: Told::NOTHING,
        drawing: Cell::new(false),
        draws: Cell::new(0),
        countdown: Countdown::EMPTY,
        tide: Tide::EMPTY,
    };

    /// The lists that hold its blocks.
    #[inline]
    pub(super) fn active(&self) -> &ThreadLists {
        self.behind.get().unwrap_or(&self.lists)
    }
}

/// Who makes a slow call.
#[derive(Clone, Copy)]
pub(super) enum Caller {
    /// A thread with lists, and its heap.
    Live(&'static Thread, &'static SharedHeap),
    /// A thread that has no lists: its exit hook has run, or there was no memory for them.
    Late(&'static SharedHeap),
}

impl Caller {
    /// The heap it works with.
    pub(super) fn heap(self) -> &'static SharedHeap {
        match self {
            Self::Live(_, heap) | Self::Late(heap) => heap,
        }
    }
}

/// This thread's lists.
#[inline(always)]
pub(crate) fn lists() -> &'static ThreadLists {
    &place::current().lists
}

/// The calling thread, started if it was new. `None` when memory is out.
pub(super) fn caller() -> Option<Caller> {
    let thread = place::current();
    match thread.heap.get() {
        Some(heap) => {
            if !thread.hooked.get() {
                hook(thread);
            }
            Some(Caller::Live(thread, heap))
        }
        None if thread.ended.get() => ROSTER.get(0).map(Caller::Late),
        None => start(),
    }
}

#[cold]
fn start() -> Option<Caller> {
    OPTIONS.load();
    if OPTIONS.pass_through() {
        // No lists: a block of ours that comes back goes home at once.
        return ROSTER.get(0).map(Caller::Late);
    }
    let heap = ROSTER.join(OPTIONS.max_heaps(), os::kernel_thread_id(), new_heap)?;
    let Some(thread) = place::claim() else {
        // No memory for lists, this time: block by block, then.
        ROSTER.leave(heap);
        return Some(Caller::Late(heap));
    };
    thread.heap.set(Some(heap));
    hook(thread);
    purge::note_thread();
    Some(Caller::Live(thread, heap))
}

fn new_heap() -> Option<&'static SharedHeap> {
    EXTENTS.set_huge_pages(OPTIONS.huge_pages());
    if OPTIONS.limit() != usize::MAX {
        EXTENTS.set_limit(OPTIONS.limit());
    }
    let page = OPTIONS.page();
    let len = size_of::<SharedHeap>().next_multiple_of(page);
    let place = os::map(len, page)?.cast::<SharedHeap>();
    EXTENTS.note_mapped(len);
    EXTENTS.note_heap();
    let mut backing = HeapBacking::new(&EXTENTS, place.addr().get(), true);
    backing.holds_back = OPTIONS.reports();
    backing.let_go = fork::let_go;
    let mut heap = SharedHeap::new(backing, &MAP);
    if OPTIONS.is_guarded() {
        heap.shuffle(guard::secret());
        EXTENTS.guard_books(guard::most_frames());
    }
    // SAFETY: mapped just now, large enough, page-aligned; a heap lives for ever.
    unsafe {
        place.write(heap);
        Some(place.as_ref())
    }
}

/// Arms the exit hook, once the process has one; the call may come back to us for memory.
fn hook(thread: &Thread) {
    let Some(key) = exit::thread_hook() else {
        return;
    };
    thread.hooked.set(true);
    key.arm(core::ptr::from_ref(thread).addr());
}

/// Where the calling thread keeps a huge block, if it does.
pub(super) fn kept() -> Option<&'static Place> {
    place::current().kept.get()
}

/// As [`kept`], and it does from now on, if there is a place and it is no thread that ended.
pub(super) fn keep() -> Option<&'static Place> {
    let thread = place::current();
    if thread.kept.get().is_none() && thread.heap.get().is_some() {
        thread.kept.set(HUGE.join());
        purge::note_keeper();
    }
    thread.kept.get()
}

/// Gives back what the thread holds: its lists go home, its heap to the next thread.
pub(super) fn end() {
    let thread = place::current();
    let Some(heap) = thread.heap.get() else {
        return;
    };
    super::behind::open(thread, heap);
    if let Some(kept) = thread.kept.take() {
        HUGE.leave(kept);
    }
    if let Some(log) = thread.told.log.take() {
        slot::say_farewell(log);
    }
    thread.heap.set(None);
    thread.watch.set(0);
    thread.ended.set(true);
    place::release(thread);
    ROSTER.leave(heap);
}

/// The thread goes on without its lists, which may be half sent home, and block by block from now on. What they
/// hold is lost, and its heap is not given to another thread.
pub(super) fn forget() {
    let thread = place::current();
    // A record that threads share is not written.
    if thread.heap.take().is_none() {
        return;
    }
    thread.behind.set(None);
    thread.watch.set(0);
    thread.ended.set(true);
    place::forget(thread);
}

/// Lets the calling thread's lists grow into a region. They are of the kind that is wanted now.
///
/// # Safety
/// As [`ThreadLists::attach`].
pub(super) unsafe fn attach(thread: &Thread, region: NonNull<Entry>) {
    // SAFETY: passed on.
    unsafe { thread.lists.attach(region, place::buffers()) };
    place::show(thread);
}

/// Where this thread's allocs look for a block: its lists, or others without any, if its own are hidden.
#[cfg(feature = "preload")]
#[inline(always)]
pub(crate) fn shown() -> &'static ThreadLists {
    place::shown()
}

/// Calls `f` with this thread's lists, if it has any.
pub(super) fn if_live(f: impl FnOnce(&'static Thread, &'static SharedHeap)) {
    let thread = place::current();
    if let Some(heap) = thread.heap.get() {
        f(thread, heap);
    }
}

/// This thread's record, if it may be written: threads that have ended share one in the preload library.
pub(super) fn own() -> Option<&'static Thread> {
    let thread = place::current();
    (thread.heap.get().is_some() || !cfg!(feature = "preload")).then_some(thread)
}

/// This thread's record, if its lists were closed for that watch and nothing of its start is left to be done.
#[inline(always)]
pub(super) fn watched(watch: u32) -> Option<&'static Thread> {
    let thread = place::current();
    (thread.watch.get() == watch && thread.hooked.get()).then_some(thread)
}

/// This thread's record: one that threads share, if it has none.
#[inline(always)]
pub(super) fn current() -> &'static Thread {
    place::current()
}

/// This thread's place for a log, if it has a heap.
#[inline]
pub(super) fn place_for_log() -> Option<&'static Cell<Option<NonNull<u8>>>> {
    let thread = place::current();
    thread.heap.get().map(|_| &thread.told.log)
}

/// In a child after fork: only this thread is left.
///
/// # Safety
/// No other thread exists.
pub(super) unsafe fn reset_after_fork() {
    let thread = place::current();
    HUGE.forget_others(thread.kept.get());
    // SAFETY: passed on.
    unsafe { ROSTER.reset(thread.heap.get(), os::kernel_thread_id()) };
}

#[cfg(not(feature = "preload"))]
mod place {
    use super::super::watch;
    use super::{Thread, regions};
    use crate::obmalloc::list::Buffers;

    std::thread_local! {
        static THREAD: Thread = const { Thread::EMPTY };
    }

    /// This thread's record.
    #[inline(always)]
    pub fn current() -> &'static Thread {
        // SAFETY: the record needs no destructor, so it is valid as long as code of this thread runs;
        // nobody keeps the reference beyond the call.
        THREAD.with(|thread| unsafe { &*core::ptr::from_ref(thread) })
    }

    /// Whether a thread's lists have buffers.
    pub fn buffers() -> Buffers {
        if watch::is_drawn() {
            Buffers::With
        } else {
            Buffers::Without
        }
    }

    /// Nothing to do: allocs look at the lists themselves.
    pub fn show(_: &Thread) {}

    /// The record to start with: the one in place.
    pub fn claim() -> Option<&'static Thread> {
        let region = regions::obtain()?;
        let thread = current();
        // SAFETY: ours until it is given back.
        unsafe { super::attach(thread, region.cast()) };
        Some(thread)
    }

    /// Leaves the record without lists; nobody gets their memory.
    pub fn forget(thread: &'static Thread) {
        thread.lists.forget();
    }

    /// Gives the lists' memory to the next thread. The record goes with this one.
    pub fn release(thread: &'static Thread) {
        if let Some(region) = thread.lists.detach() {
            regions::give(region.cast());
        }
    }
}

#[cfg(feature = "preload")]
#[path = "thread_pointer.rs"]
mod place;

#[cfg(test)]
#[path = "shuffle_tests.rs"]
mod shuffle_tests;
