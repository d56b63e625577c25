//! Which heap a thread uses: its own while there are few threads, a shared one above that.
//!
//! | event | effect |
//! |---|---|
//! | thread starts | the idle heap with the lowest number, else a new one, else the one with fewest users |
//! | thread ends | its heap has one user less; at none it is idle, and waits for the next thread |
//!
//! A heap that loses its last user keeps its blocks, its inbox and its lock: other threads free into it,
//! trim it and report on it as before. That is all of abandonment and adoption.
//!
//! Invariants:
//! * I1 the sum of `users` is the number of live threads that joined.
//! * I2 a heap, once published, stays for ever.

use crate::os::Lock;
use crate::sync::{AtomicPtr, Ordering, SharedCell, const_unless_loom};

/// Most heaps a process has.
pub const MAX_HEAPS: usize = if cfg!(loom) { 2 } else { 256 };

/// Threads as the roster counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadCounts {
    /// Threads that have lists now.
    pub now: u64,
    /// The most there ever were.
    pub high: u64,
    /// Threads that ever had.
    pub total: u64,
}

struct State {
    users: [u32; MAX_HEAPS],
    /// Which thread joined each heap last; 0 once nobody uses it.
    latest: [u32; MAX_HEAPS],
    n_heaps: usize,
    threads: ThreadCounts,
}

/// The heaps of a process and their users.
pub struct Roster<H> {
    lock: Lock,
    state: SharedCell<State>,
    heaps: [AtomicPtr<H>; MAX_HEAPS],
}

impl<H> Default for Roster<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H> Roster<H> {
    const_unless_loom! {
        /// No heaps.
        pub fn new() -> Self {
            let threads = ThreadCounts { now: 0, high: 0, total: 0 };
            Self {
                lock: Lock::new(),
                state: SharedCell::new(State { users: [0; MAX_HEAPS], latest: [0; MAX_HEAPS], n_heaps: 0, threads }),
                #[cfg(not(loom))]
                heaps: [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_HEAPS],
                #[cfg(loom)]
                heaps: core::array::from_fn(|_| AtomicPtr::new(core::ptr::null_mut())),
            }
        }
    }

    /// The lock: for fork.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let _locked = self.lock.lock();
        // SAFETY: the lock is held.
        unsafe { self.state.with_mut(f) }
    }

    /// Gives the calling thread, number `thread`, a heap; `make` makes another when all of fewer than `most` are in
    /// use. `None` when there is none and `make` gives none.
    pub fn join(
        &self,
        most: usize,
        thread: u32,
        make: impl FnOnce() -> Option<&'static H>,
    ) -> Option<&'static H>
    where
        H: 'static,
    {
        self.with(|state| {
            let users = &state.users[..state.n_heaps];
            let least = (0..users.len()).min_by_key(|&index| users[index]);
            let index = match least {
                Some(index) if users[index] == 0 => index,
                shared => {
                    let may_add = state.n_heaps < most.clamp(1, MAX_HEAPS);
                    match may_add.then(make).flatten() {
                        Some(heap) => {
                            let place = &self.heaps[state.n_heaps];
                            // Release: publishes the heap to those who walk the roster.
                            place.store(core::ptr::from_ref(heap).cast_mut(), Ordering::Release);
                            state.n_heaps += 1;
                            state.n_heaps - 1
                        }
                        None => shared?,
                    }
                }
            };
            state.users[index] += 1;
            state.latest[index] = thread;
            let threads = &mut state.threads;
            threads.now += 1;
            threads.total += 1;
            threads.high = threads.high.max(threads.now);
            self.get(index)
        })
    }

    /// Takes a thread off its heap.
    pub fn leave(&self, heap: &H) {
        self.with(|state| {
            let mine =
                |index: &usize| core::ptr::eq(self.heaps[*index].load(Ordering::Relaxed), heap);
            if let Some(index) = (0..state.n_heaps).find(mine) {
                state.users[index] -= 1;
                state.threads.now -= 1;
                if state.users[index] == 0 {
                    state.latest[index] = 0;
                }
            }
        });
    }

    /// Heap number `index`, if there are that many.
    pub fn get(&self, index: usize) -> Option<&'static H> {
        // Acquire: pairs with the publication in `join`.
        let heap = self.heaps.get(index)?.load(Ordering::Acquire);
        // SAFETY: published heaps live for ever (I2).
        unsafe { heap.as_ref() }
    }

    /// Threads that use heap number `index`, and which of them joined last; 0 if none does.
    pub fn users(&self, index: usize) -> (u32, u32) {
        self.with(|state| {
            let users = state.users.get(index).copied();
            let latest = state.latest.get(index).copied();
            (users.unwrap_or(0), latest.unwrap_or(0))
        })
    }

    /// The number of a heap.
    pub fn number_of(&self, heap: &H) -> Option<usize>
    where
        H: 'static,
    {
        self.heaps().position(|other| core::ptr::eq(other, heap))
    }

    /// All heaps.
    pub fn heaps(&self) -> impl Iterator<Item = &'static H> + '_
    where
        H: 'static,
    {
        (0..MAX_HEAPS).map_while(|index| self.get(index))
    }

    /// Threads, now and ever.
    pub fn threads(&self) -> ThreadCounts {
        self.with(|state| state.threads)
    }

    /// In a child after fork: only the calling thread is left, number `thread` there, a user of `mine` if it has lists.
    ///
    /// # Safety
    /// No other thread exists.
    pub unsafe fn reset(&self, mine: Option<&H>, thread: u32) {
        // SAFETY: single-threaded by the caller's word.
        unsafe {
            self.lock.reset();
            self.state.with_mut(|state| {
                state.threads.now = u64::from(mine.is_some());
                for index in 0..state.n_heaps {
                    let heap = self.heaps[index].load(Ordering::Relaxed);
                    let is_mine = mine.is_some_and(|mine| core::ptr::eq(heap, mine));
                    state.users[index] = u32::from(is_mine);
                    state.latest[index] = if is_mine { thread } else { 0 };
                }
            });
        }
    }
}
