//! Fork: every lock is taken before it, so that no heap is half-changed in the child.
//!
//! | when | what |
//! |---|---|
//! | before | roster, thread records, heaps by number, huge, extents: taken in this order |
//! | parent | freed in the reverse order |
//! | child | reset: the threads that waited for them do not exist there |
//!
//! A fork from a signal handler may find that its own thread holds a lock. Waiting for the others then
//! could deadlock with a second such fork, so none is taken: the child of such a fork may use what no
//! other thread was changing.

use super::{EXTENTS, HUGE, ROSTER, purge, thread};
use crate::os::{self, Lock};

/// Registers the handlers, once. May allocate; hold no lock.
pub(super) fn register() {
    os::on_fork(before, parent, child);
}

/// Calls `f` on every lock, in the order they are taken.
fn each_lock(mut f: impl FnMut(&'static Lock)) {
    f(ROSTER.lock());
    if let Some(lock) = thread::records_lock() {
        f(lock);
    }
    for heap in ROSTER.heaps() {
        f(heap.gate().lock());
    }
    f(HUGE.lock());
    f(EXTENTS.lock());
}

/// Whether this thread took all locks in [`before`]: the roster's is held by nobody else who forks.
fn took_all() -> bool {
    ROSTER.lock().is_mine()
}

unsafe extern "C" fn before() {
    let mut holds_one = false;
    each_lock(|lock| holds_one |= lock.is_mine());
    if !holds_one {
        each_lock(|lock| core::mem::forget(lock.lock()));
    }
}

unsafe extern "C" fn parent() {
    if took_all() {
        // The order of release does not matter: nobody waits for a later one while holding an earlier.
        each_lock(|lock| {
            // SAFETY: taken in `before` by this thread, which used nothing since.
            unsafe { lock.unlock() }
        });
        // Chains may have arrived meanwhile, and whoever delivered them left them to the lock's holder.
        for heap in ROSTER.heaps() {
            heap.gate().settle();
        }
    }
}

unsafe extern "C" fn child() {
    let all = took_all();
    // SAFETY: the child has one thread. If it took all locks, every heap is consistent; if not, what it
    // interrupted goes on with the lock it holds, and nobody is left to free the others.
    unsafe {
        each_lock(|lock| {
            if all || !lock.is_mine() {
                lock.reset();
            }
        });
        if all {
            thread::reset_after_fork();
        }
        purge::reset_after_fork();
    }
}
