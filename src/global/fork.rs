//! Fork: every lock is taken before it, so that no heap is half-changed in the child.
//!
//! | when | what |
//! |---|---|
//! | before | roster, thread records, heaps by number, huge, extents: taken in this order |
//! | parent | freed in the reverse order |
//! | child | reset: the threads that waited for them do not exist there |
//!
//! A fork from a signal handler may find that its own thread holds a lock. Waiting would hang; the lock
//! is passed over, and the child's copy stays taken only if the parent's was.

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

unsafe extern "C" fn before() {
    each_lock(|lock| {
        if !lock.is_mine() {
            core::mem::forget(lock.lock());
        }
    });
}

unsafe extern "C" fn parent() {
    // The order of release does not matter: nobody can wait for a later one while holding an earlier.
    each_lock(|lock| {
        // SAFETY: taken in `before` by this thread, which used nothing since.
        unsafe { lock.unlock() }
    });
    // Chains may have arrived meanwhile, and whoever delivered them left them to the lock's holder.
    for heap in ROSTER.heaps() {
        heap.gate().settle();
    }
}

unsafe extern "C" fn child() {
    // SAFETY: the child has one thread, and `before` left every heap consistent.
    unsafe {
        each_lock(|lock| lock.reset());
        thread::reset_after_fork();
        purge::reset_after_fork();
    }
}
