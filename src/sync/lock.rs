//! The one lock: spin a little, then sleep in the kernel.
//!
//! | word | written by | meaning |
//! |---|---|---|
//! | `owner` | holder | 0: free; else which thread holds it, which a fork inside a signal handler asks |
//! | `sleepers` | waiters | how many threads are about to sleep or asleep |
//! | `turn` | unlockers | changes at each wake-up; what sleepers sleep on |
//!
//! Invariants:
//! * I1 A thread between `lock` and `unlock` is the only one there.
//! * I2 No wake-up is lost: a waiter announces itself in `sleepers` and then tries the lock once more;
//!   an unlocker frees the lock and then reads `sleepers`. Both put a SeqCst fence between the two, so
//!   at least one of them sees the other (Dekker's argument).
//! * I3 One word says that the lock is taken and by whom: there is no instruction between the two, at which a
//!   signal handler would wait for the very thread it runs on.
//!
//! Uncontended it costs one compare-and-swap and one fence, paid per batch of blocks, never per block.

use super::{AtomicU32, AtomicUsize, Ordering, const_unless_loom, fence, spin_hint};

/// How a lock's waiters sleep and how a thread is named: supplied by the layer that talks to the
/// system, and by loom in the models.
pub trait Park {
    /// Sleeps until woken, unless `*word != expected`. May return early.
    fn wait(word: &AtomicU32, expected: u32);
    /// Wakes one sleeper on `word`.
    fn wake_one(word: &AtomicU32);
    /// A nonzero number no other live thread has.
    fn thread_id() -> usize;
}

/// Tries before sleeping: about the length of a short critical section, so that a preempted holder is
/// not waited for with a burnt time slice. None in a model: loom would let the holder run on at the hint, and
/// the way to sleep would hardly be explored.
const SPINS: u32 = if cfg!(loom) { 0 } else { 100 };

/// A mutual exclusion lock that guards no value of its own.
pub struct Lock<P: Park> {
    owner: AtomicUsize,
    sleepers: AtomicU32,
    turn: AtomicU32,
    park: core::marker::PhantomData<fn() -> P>,
}

/// Proof that the lock is held; frees it when dropped.
pub struct Locked<'a, P: Park>(&'a Lock<P>);

impl<P: Park> Drop for Locked<'_, P> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: a `Locked` exists only between a successful acquire and this drop.
        unsafe { self.0.unlock() }
    }
}

impl<P: Park> Default for Lock<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Park> Lock<P> {
    const_unless_loom! {
        /// A free lock.
        pub fn new() -> Self {
            Self {
                owner: AtomicUsize::new(0),
                sleepers: AtomicU32::new(0),
                turn: AtomicU32::new(0),
                park: core::marker::PhantomData,
            }
        }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<Locked<'_, P>> {
        // Acquire: pairs with the Release in `unlock`, to see what the last holder did. Relaxed: a failure reads
        // nothing that is guarded.
        let taken =
            self.owner
                .compare_exchange(0, P::thread_id(), Ordering::Acquire, Ordering::Relaxed);
        taken.ok().map(|_| Locked(self))
    }

    /// As [`Self::try_lock`], while another thread holds it for as long as `lock` waits awake.
    #[inline]
    pub fn try_lock_soon(&self) -> Option<Locked<'_, P>> {
        self.try_lock().or_else(|| self.spin())
    }

    /// Waits awake, and only looks while the lock is held: a try takes its cache line from the holder.
    #[cold]
    #[inline(never)]
    fn spin(&self) -> Option<Locked<'_, P>> {
        for _ in 0..SPINS {
            spin_hint();
            // Relaxed: a hint.
            if self.owner.load(Ordering::Relaxed) == 0
                && let Some(locked) = self.try_lock()
            {
                return Some(locked);
            }
        }
        None
    }

    /// Takes the lock, waiting for as long as another thread holds it.
    #[inline]
    pub fn lock(&self) -> Locked<'_, P> {
        match self.try_lock() {
            Some(locked) => locked,
            None => self.lock_slow(),
        }
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self) -> Locked<'_, P> {
        if let Some(locked) = self.spin() {
            return locked;
        }
        // Relaxed: ordered by the fence below (I2).
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        let locked = loop {
            // Acquire: a turn newer than ours means an unlock came between, so it is tried again.
            let turn = self.turn.load(Ordering::Acquire);
            // I2: announced before the last try; pairs with the fence in `unlock`.
            fence(Ordering::SeqCst);
            if let Some(locked) = self.try_lock() {
                break locked;
            }
            P::wait(&self.turn, turn);
        };
        // Relaxed: a count that is too high costs one needless wake-up.
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
        locked
    }

    /// # Safety
    /// The calling thread holds the lock and uses nothing it guards afterwards.
    #[inline]
    pub unsafe fn unlock(&self) {
        // Release: pairs with the Acquire in `try_lock`.
        self.owner.store(0, Ordering::Release);
        // I2: freed before `sleepers` is read; pairs with the fence in `lock_slow`.
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::Relaxed) != 0 {
            self.wake();
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&self) {
        // Release: pairs with the Acquire in `lock_slow`; a waiter that read the old turn before this
        // does not sleep, because `wait` compares.
        self.turn.fetch_add(1, Ordering::Release);
        P::wake_one(&self.turn);
    }

    /// Whether the calling thread itself holds the lock: a signal handler that interrupted it asks.
    pub fn is_mine(&self) -> bool {
        // Relaxed: only the thread that wrote its own number acts on finding it.
        self.owner.load(Ordering::Relaxed) == P::thread_id()
    }

    /// Makes the lock free and forgets all waiters, in a child after fork: the threads that waited do
    /// not exist there.
    ///
    /// # Safety
    /// No other thread exists, and what the lock guards is consistent.
    pub unsafe fn reset(&self) {
        // Relaxed, both: single-threaded.
        self.owner.store(0, Ordering::Relaxed);
        self.sleepers.store(0, Ordering::Relaxed);
    }
}
