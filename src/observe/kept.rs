//! State of the whole process under a lock: made when it is first asked for, never freed, whole after fork.
//!
//! * **I1** The lock is taken while no lock of the allocator is held, and around every fork, before theirs: a child
//!   finds the state whole and the lock free.
//! * **I2** What the state's own tables ask for is not observed: an observer returns at once on the thread that
//!   holds its lock.

use crate::global::slot::{self, Keeper};
use crate::os::{self, Lock};
use crate::sync::SharedCell;
use std::ptr::NonNull;

/// The state of one keeper.
#[repr(C)]
pub(super) struct Kept<T> {
    /// First, so that fork finds it whatever the state is.
    lock: Lock,
    state: SharedCell<T>,
}

impl<T: Default + Send> Kept<T> {
    /// The keeper's state, made if there is none. A keeper has one type of state.
    pub fn of(keeper: Keeper) -> &'static Self {
        if let Some(kept) = Self::existing(keeper) {
            return kept;
        }
        let made = Box::leak(Box::new(Self {
            lock: Lock::new(),
            state: SharedCell::new(T::default()),
        }));
        if slot::keep(keeper, NonNull::from(&mut *made).cast()) {
            // Once for each keeper: a hook that finds the locks taken leaves them so.
            os::on_fork(before_fork, after_fork_in_parent, after_fork_in_child);
        }
        // Another thread may have been first.
        Self::existing(keeper).unwrap_or(made)
    }

    /// The keeper's state, if there is one.
    pub fn existing(keeper: Keeper) -> Option<&'static Self> {
        let place = slot::kept(keeper)?;
        // SAFETY: only `of` fills the slot, with this type, and it is never freed.
        Some(unsafe { place.cast::<Self>().as_ref() })
    }

    /// Whether the calling thread is at work on the state (I2).
    pub fn is_mine(&self) -> bool {
        self.lock.is_mine()
    }

    /// Runs `f` on the state under the lock. `f` must not come back here.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let _locked = self.lock.lock();
        // SAFETY: the lock is held, and a second call by `f` would wait for it for ever.
        unsafe { self.state.with_mut(f) }
    }
}

/// Calls `f` on the lock of each keeper that keeps something of [`Kept`].
fn each_lock(mut f: impl FnMut(&'static Lock)) {
    for keeper in [Keeper::Tracer, Keeper::Regions] {
        if let Some(place) = slot::kept(keeper) {
            // SAFETY: a `Kept` begins with its lock and is never freed.
            f(unsafe { place.cast::<Lock>().as_ref() });
        }
    }
}

unsafe extern "C" fn before_fork() {
    each_lock(|lock| {
        if !lock.is_mine() {
            std::mem::forget(lock.lock());
        }
    });
}

unsafe extern "C" fn after_fork_in_parent() {
    each_lock(|lock| {
        if lock.is_mine() {
            // SAFETY: taken in `before_fork` by this thread, which used nothing since.
            unsafe { lock.unlock() };
        }
    });
}

unsafe extern "C" fn after_fork_in_child() {
    each_lock(|lock| {
        // SAFETY: no other thread exists here; the lock was held, so the state is whole (I1).
        unsafe { lock.reset() };
    });
}
