//! Sleeping, thread identity, thread exit.

use crate::sync::{AtomicU32, Park};

/// Linux futexes, for [`super::Lock`].
pub struct Futex;

impl Futex {
    /// Sleeps on `word` for at most `ms` milliseconds, unless it differs from `expected`.
    pub fn wait_for(word: &AtomicU32, expected: u32, ms: u64) {
        let limit = libc::timespec {
            tv_sec: (ms / 1000) as libc::time_t,
            tv_nsec: ((ms % 1000) * 1_000_000) as libc::c_long,
        };
        futex(
            word,
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            &limit,
        );
    }
}

impl Park for Futex {
    fn wait(word: &AtomicU32, expected: u32) {
        futex(
            word,
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            core::ptr::null(),
        );
    }

    fn wake_one(word: &AtomicU32) {
        futex(
            word,
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            1,
            core::ptr::null(),
        );
    }

    fn thread_id() -> usize {
        // SAFETY: reads the thread register.
        unsafe { libc::pthread_self() as usize }
    }
}

fn futex(word: &AtomicU32, op: i32, value: u32, limit: *const libc::timespec) {
    let saved = super::errno();
    // SAFETY: the word outlives the call; every outcome (woken, changed, interrupted) is welcome.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), op, value, limit) };
    super::set_errno(saved);
}

/// A function the C library calls at the exit of each thread that asked for it.
#[derive(Clone, Copy)]
pub struct ExitHook(libc::pthread_key_t);

impl ExitHook {
    /// Registers `hook` once for the process. `None` when the system has no key left.
    pub fn new(hook: unsafe extern "C" fn(*mut core::ffi::c_void)) -> Option<Self> {
        let mut key = 0;
        // SAFETY: `key` is a valid place to write.
        (unsafe { libc::pthread_key_create(&mut key, Some(hook)) } == 0).then_some(Self(key))
    }

    /// Asks for a call at the exit of this thread, with `value` (nonzero). May allocate; hold no lock.
    pub fn arm(self, value: usize) -> bool {
        // SAFETY: the key exists for the life of the process; the value is only carried.
        let p = core::ptr::without_provenance(value);
        unsafe { libc::pthread_setspecific(self.0, p) == 0 }
    }

    /// The key as a number, to keep in an atomic.
    pub fn to_raw(self) -> u32 {
        self.0
    }

    /// The key again.
    pub fn from_raw(raw: u32) -> Self {
        Self(raw)
    }
}

/// Starts a detached thread with a small stack and every signal blocked. May allocate; hold no lock.
pub fn spawn(run: extern "C" fn(*mut core::ffi::c_void) -> *mut core::ffi::c_void) -> bool {
    const STACK: usize = 256 * 1024;
    // SAFETY: plain C structures filled by their initialisers before use; `thread` and the masks live
    // on this stack for the duration of the calls.
    unsafe {
        let mut attributes = core::mem::zeroed::<libc::pthread_attr_t>();
        if libc::pthread_attr_init(&mut attributes) != 0 {
            return false;
        }
        libc::pthread_attr_setstacksize(&mut attributes, STACK);
        libc::pthread_attr_setdetachstate(&mut attributes, libc::PTHREAD_CREATE_DETACHED);
        let mut all = core::mem::zeroed::<libc::sigset_t>();
        let mut before = core::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let mut thread = 0;
        let made = libc::pthread_create(&mut thread, &attributes, run, core::ptr::null_mut()) == 0;
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, core::ptr::null_mut());
        libc::pthread_attr_destroy(&mut attributes);
        made
    }
}
