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

/// A nonzero number that no other live thread has.
pub fn thread_id() -> usize {
    Futex::thread_id()
}

/// The system's number of this thread, as `ps` and `/proc` have it.
pub fn kernel_thread_id() -> u32 {
    // SAFETY: no conditions.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

/// Sleeps. Async-signal-safe.
pub fn nap_ms(ms: u64) {
    let word = AtomicU32::new(0);
    Futex::wait_for(&word, 0, ms);
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
        own_block()
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
        let p = core::ptr::without_provenance(value);
        // SAFETY: the key exists for the life of the process; the value is only carried.
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

/// Bytes of the stack of a thread made by [`spawn`].
const STACK: usize = 64 * 1024;
/// Bytes of the stack of a thread made by [`spawn_apart`].
const STACK_APART: usize = 512 * 1024;

/// What such a thread runs.
pub type Run = extern "C" fn(*mut core::ffi::c_void) -> i32;

/// Starts a thread that the C library does not know of. True when it runs.
///
/// It may be called anywhere, also inside a `free` that the C library itself makes while it holds the
/// lock of its list of stacks, where `pthread_create` would wait for ever. And because the C library
/// does not count it, it does not keep a process alive whose other threads have ended.
///
/// The price: the thread has no thread-local storage but a blank block around the thread pointer, large
/// enough for `errno`. So `run` may use nothing of the C library but system calls. All signals are blocked
/// in it. When it returns, its stack stays mapped.
pub fn spawn(run: Run) -> bool {
    start(run, libc::CLONE_FS | libc::CLONE_FILES, STACK)
}

/// As [`spawn`], of a thread with files of its own: it begins with none, and what it opens has no number in the
/// program, which can neither close it nor hand it to a child by fork. Its working folder is its own, too.
pub fn spawn_apart(run: Run) -> bool {
    start(run, 0, STACK_APART)
}

/// Closes all files of a thread that [`spawn_apart`] made: at its beginning they are the program's, again.
pub fn close_files() {
    // SAFETY: numbers; what they name is this thread's alone.
    if unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) } == 0 {
        return;
    }
    // A kernel before 5.9.
    const MOST: libc::c_long = 65_536;
    for file in 0..MOST {
        // SAFETY: as above.
        unsafe { libc::syscall(libc::SYS_close, file) };
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn start(run: Run, shared: i32, stack_bytes: usize) -> bool {
    const ROOM: usize = 8192;
    let here = thread_pointer();
    // SAFETY: the C library's thread-local integer.
    let errno = unsafe { libc::__errno_location() }.addr();
    let below = here.saturating_sub(errno).next_multiple_of(ROOM) + ROOM;
    let above = errno.saturating_sub(here).next_multiple_of(ROOM) + ROOM;
    let page = super::page_size();
    let len = (stack_bytes + below + above).next_multiple_of(page);
    let Some(base) = super::map(len, page) else {
        return false;
    };
    let flags = libc::CLONE_VM
        | shared
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM
        | libc::CLONE_SETTLS;
    // SAFETY: stack and block lie in the new mapping, which the thread keeps.
    unsafe {
        let block = base.add(stack_bytes + below).cast::<usize>();
        // On x86-64 the first and third word hold the block's own address; elsewhere nobody reads them.
        block.write(block.addr().get());
        block.add(2).write(block.addr().get());
        let none = core::ptr::null_mut::<core::ffi::c_void>();
        let stack = base.add(stack_bytes).as_ptr().cast();
        let thread =
            without_signals(|| libc::clone(run, stack, flags, none, none, block.as_ptr(), none));
        if thread < 0 {
            super::unmap(base, len);
        }
        thread >= 0
    }
}

/// No such thread on this architecture.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn start(_: Run, _: i32, _: usize) -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: the ABI keeps the thread pointer at offset 0 of its block.
    unsafe {
        core::arch::asm!("mov {0}, fs:[0]", out(reg) pointer, options(nostack, pure, readonly))
    };
    pointer
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads the thread pointer.
    unsafe {
        core::arch::asm!("mrs {0}, tpidr_el0", out(reg) pointer, options(nostack, pure, nomem))
    };
    pointer
}

/// The address of the calling thread's block, which no other live thread has.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
fn own_block() -> usize {
    thread_pointer()
}

/// As above, by a call.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn own_block() -> usize {
    // SAFETY: reads the thread register.
    unsafe { libc::pthread_self() as usize }
}

/// Runs `f` with all signals blocked: threads that it makes have them blocked for good.
pub fn without_signals<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: two masks on this stack, both filled by the calls.
    let before = unsafe {
        let mut all = core::mem::zeroed::<libc::sigset_t>();
        let mut before = core::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        before
    };
    let result = f();
    // SAFETY: a mask that the system gave.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, core::ptr::null_mut()) };
    result
}

/// Names the calling thread, for `ps` and debuggers.
pub fn name_thread(name: &'static core::ffi::CStr) {
    // SAFETY: a text that ends in a nul.
    unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

#[cfg(test)]
mod tests {
    use super::super::Lock;
    use crate::sync::Ordering;
    use core::sync::atomic::AtomicU32;

    static LOCK: Lock = Lock::new();
    static STEPS: AtomicU32 = AtomicU32::new(0);
    static NOBODYS: AtomicU32 = AtomicU32::new(0);

    /// Runs before each instruction of the thread that is followed; no other thread knows the lock.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "steps are this processor's")
    )]
    extern "C" fn step(_: i32) {
        STEPS.fetch_add(1, Ordering::Relaxed);
        if !LOCK.is_mine() && LOCK.try_lock().is_none() {
            NOBODYS.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A fork in a signal handler would wait there for the thread that it runs on, until it gives up.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn at_no_instruction_is_a_lock_taken_and_nobodys() {
        let handler: extern "C" fn(i32) = step;
        // SAFETY: the handler does what a signal handler may. The flag, which the processor clears in the handler,
        // is of this thread, and only there for these lines; the stack is as it was.
        unsafe {
            let before = libc::signal(libc::SIGTRAP, handler as libc::sighandler_t);
            core::arch::asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq");
            drop(LOCK.lock());
            core::arch::asm!("pushfq", "and qword ptr [rsp], -257", "popfq");
            libc::signal(libc::SIGTRAP, before);
        }
        let [steps, nobodys] = [&STEPS, &NOBODYS].map(|count| count.load(Ordering::Relaxed));
        assert!(steps > 5, "{steps} steps");
        assert_eq!(nobodys, 0, "of {steps} steps");
    }
}
