//! Fork: every lock is taken before it, so that no heap is half-changed in the child.
//!
//! | when | what |
//! |---|---|
//! | before | roster, thread records, heaps by number, huge, extents: taken in this order |
//! | parent | freed in the reverse order |
//! | child | reset: the threads that waited for them do not exist there |
//!
//! A fork from a signal handler may find that its own thread holds a lock. Waiting would hang; the lock
//! is passed over: it stays with the code that was interrupted, which goes on using what it guards when
//! the handler returns.

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
    each_lock(Lock::lock_for_fork);
}

unsafe extern "C" fn parent() {
    // The order of release does not matter: nobody can wait for a later one while holding an earlier.
    each_lock(|lock| {
        // SAFETY: passed to `lock_for_fork` in `before` by this thread, which used nothing since.
        unsafe { lock.unlock_after_fork() }
    });
}

unsafe extern "C" fn child() {
    // SAFETY: the child has one thread, and `before` left every heap consistent.
    unsafe {
        each_lock(|lock| lock.reset());
        thread::reset_after_fork();
        purge::reset_after_fork();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in a signal handler that forks and has interrupted the holder of a lock.
    #[test]
    fn a_lock_that_the_forking_thread_holds_stays_held() {
        let held = EXTENTS.lock().lock();
        // SAFETY: as fork calls them; the locks guard nothing that is in use here.
        unsafe {
            before();
            parent();
        }
        assert!(EXTENTS.lock().try_lock().is_none(), "freed under its holder");
        assert!(HUGE.lock().try_lock().is_some(), "not freed after the fork");
        drop(held);
        assert!(EXTENTS.lock().try_lock().is_some());
    }
}
