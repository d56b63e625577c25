//! Fork: every lock is taken before it, so that no heap is half-changed in the child.
//!
//! | when | what |
//! |---|---|
//! | before | sampled blocks, quarantine, roster, regions, heaps by number, huge, extents: taken in this order |
//! | parent | freed in the reverse order |
//! | child | reset: the threads that waited for them do not exist there |
//!
//! A fork from a signal handler may find that its own thread holds a lock. Waiting for the others then
//! could deadlock with a second such fork, so none is taken: the child of such a fork may use what no
//! other thread was changing.

use super::{EXTENTS, HUGE, ROSTER, guard, poisson, purge, regions, thread};
use crate::os::{self, Lock};
use crate::sync::{AtomicBool, Ordering};

/// Registers the handlers, once. May allocate; hold no lock.
pub(super) fn register() {
    os::on_fork(before, parent, child);
}

/// Calls `f` on every lock, in the order they are taken.
fn each_lock(mut f: impl FnMut(&'static Lock)) {
    f(poisson::lock());
    f(guard::lock());
    f(ROSTER.lock());
    f(regions::lock());
    for heap in ROSTER.heaps() {
        f(heap.gate().lock());
    }
    f(HUGE.lock());
    f(EXTENTS.lock());
}

/// Whether some thread took all locks in [`before`] and has not come to the end of its fork.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether this thread did: then the roster's lock is its own. That alone is no proof, because the code
/// that a signal interrupted may hold it, but then nobody took all.
fn took_all() -> bool {
    // Relaxed: whoever holds the roster's lock wrote it last, or sees it written by who held it before.
    ROSTER.lock().is_mine() && TAKEN.load(Ordering::Relaxed)
}

/// Takes a lock, or gives up after some seconds: its holder may have been interrupted by a signal handler that
/// does not return, such as one that waits for this very fork.
fn take(lock: &'static Lock) -> bool {
    const TRIES: u32 = 3000;
    (0..TRIES).any(|n| {
        if n > 0 {
            os::nap_ms(1);
        }
        lock.try_lock().map(core::mem::forget).is_some()
    })
}

unsafe extern "C" fn before() {
    let mut holds_one = false;
    each_lock(|lock| holds_one |= lock.is_mine());
    if holds_one {
        return;
    }
    let mut n_taken = 0;
    let mut all = true;
    each_lock(|lock| {
        all = all && take(lock);
        n_taken += u32::from(all);
    });
    if all {
        TAKEN.store(true, Ordering::Relaxed);
        return;
    }
    each_lock(|lock| {
        if n_taken > 0 {
            n_taken -= 1;
            // SAFETY: taken above by this thread, which used nothing since.
            unsafe { lock.unlock() }
        }
    });
}

/// Frees every lock that this thread holds, and forgets its lists, before the process ends: what the program runs
/// for SIGABRT may allocate, and fork. What is found wrong under a lock is found before anything is changed there.
pub(super) fn let_go() {
    each_lock(|lock| {
        if lock.is_mine() {
            // SAFETY: this thread's, which does not come back to what it did under it.
            unsafe { lock.unlock() }
        }
    });
    thread::forget();
}

unsafe extern "C" fn parent() {
    if took_all() {
        TAKEN.store(false, Ordering::Relaxed);
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
    TAKEN.store(false, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As in a signal handler that forks and has interrupted the holder of `lock`.
    fn fork_under(lock: &'static Lock) {
        let held = lock.lock();
        // SAFETY: as fork calls them; the locks guard nothing that is in use here.
        unsafe {
            before();
            parent();
        }
        assert!(lock.try_lock().is_none(), "freed under its holder");
        drop(held);
        // Other tests use the allocator, too.
        let is_free = |lock: &'static Lock| {
            (0..5000).any(|_| {
                let free = lock.try_lock().is_some();
                if !free {
                    os::nap_ms(1);
                }
                free
            })
        };
        each_lock(|lock| assert!(is_free(lock), "not freed after the fork"));
    }

    #[test]
    fn a_lock_that_the_forking_thread_holds_stays_held() {
        each_lock(fork_under);
    }
}
