//! The system as the allocator sees it: each call it makes is counted, and refused when its turn comes.
//!
//! The symbols below stand in the test's executable, so the allocator's calls arrive here; the C library's
//! own do not.

use std::ffi::{c_int, c_long, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

/// What can be refused.
pub const FAMILIES: [&str; 9] = [
    "mmap",
    "munmap",
    "madvise",
    "mprotect",
    "mremap",
    "pthread_create",
    "pthread_key_create",
    "pthread_setspecific",
    "mincore",
];

static ARMED: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicUsize = AtomicUsize::new(0);
static BY_FAMILY: [AtomicUsize; FAMILIES.len()] = [const { AtomicUsize::new(0) }; FAMILIES.len()];
/// Calls from this one on fail, this many; 0 of them: none.
static FIRST: AtomicUsize = AtomicUsize::new(0);
static HOW_MANY: AtomicUsize = AtomicUsize::new(0);
/// Of those, one in so many.
static EVERY: AtomicUsize = AtomicUsize::new(1);
/// Bit per family: which count and may fail.
static WHICH: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Whether `madvise` reports success and does nothing.
static LIES: AtomicBool = AtomicBool::new(false);

/// Counts from now on, and refuses `how_many` calls of the families in `which` from the `first` on.
pub fn arm(first: usize, how_many: usize, which: usize) {
    CALLS.store(0, Ordering::SeqCst);
    FIRST.store(first, Ordering::SeqCst);
    HOW_MANY.store(how_many, Ordering::SeqCst);
    EVERY.store(1, Ordering::SeqCst);
    WHICH.store(which, Ordering::SeqCst);
    ARMED.store(true, Ordering::SeqCst);
}

/// Counts from now on, and refuses call `k`, and every `k`th from there on.
pub fn arm_every(k: usize) {
    arm(k, usize::MAX, usize::MAX);
    EVERY.store(k, Ordering::SeqCst);
}

/// Refuses nothing more. Calls counted so far.
pub fn disarm() -> usize {
    ARMED.store(false, Ordering::SeqCst);
    CALLS.load(Ordering::SeqCst)
}

/// Calls of each family since the process began.
pub fn counts() -> [usize; FAMILIES.len()] {
    BY_FAMILY
        .each_ref()
        .map(|count| count.load(Ordering::SeqCst))
}

/// From now on `madvise` says that it did what it did not do.
pub fn lie() {
    LIES.store(true, Ordering::SeqCst);
}

/// Bytes of memory the machine promises at most, as without overcommit; `usize::MAX`: no limit.
static PROMISED_MOST: AtomicUsize = AtomicUsize::new(usize::MAX);

/// From now on the system promises `more` bytes beyond those it has promised, and refuses what goes beyond,
/// as one with `vm.overcommit_memory=2` does.
pub fn promise_at_most(more: usize) {
    PROMISED_MOST.store(promised() + more, Ordering::SeqCst);
}

/// Promises all that is asked for.
pub fn promise_everything() {
    PROMISED_MOST.store(usize::MAX, Ordering::SeqCst);
}

/// Bytes of private memory that may be written: what a system without overcommit accounts for.
fn promised() -> usize {
    let mut text = [0u8; 128];
    // SAFETY: a file of the kernel's, read into an array.
    let n = unsafe {
        let file = libc::open(c"/proc/self/statm".as_ptr(), libc::O_RDONLY);
        let n = libc::read(file, text.as_mut_ptr().cast(), text.len());
        libc::close(file);
        n
    };
    let text = std::str::from_utf8(&text[..n.max(0).cast_unsigned()]).unwrap_or("");
    let pages: Option<usize> = text.split(' ').nth(5).and_then(|word| word.parse().ok());
    pages.expect("proc is mounted") * 4096
}

/// Whether `len` more bytes that may be written are more than is promised.
fn is_too_much(len: usize, prot: c_int, flags: c_int) -> bool {
    let most = PROMISED_MOST.load(Ordering::SeqCst);
    let counts = prot & libc::PROT_WRITE != 0 && flags & libc::MAP_SHARED == 0;
    most != usize::MAX && counts && promised() + len > most
}

fn refuses(family: usize) -> bool {
    BY_FAMILY[family].fetch_add(1, Ordering::SeqCst);
    if !ARMED.load(Ordering::SeqCst) || WHICH.load(Ordering::SeqCst) >> family & 1 == 0 {
        return false;
    }
    let call = CALLS.fetch_add(1, Ordering::SeqCst) + 1;
    let first = FIRST.load(Ordering::SeqCst);
    call >= first
        && call - first < HOW_MANY.load(Ordering::SeqCst)
        && (call - first).is_multiple_of(EVERY.load(Ordering::SeqCst))
}

fn set_errno(value: c_int) {
    // SAFETY: this thread's own integer.
    unsafe { *libc::__errno_location() = value };
}

/// Makes the call as the C library would.
macro_rules! forward {
    ($number:expr, $($argument:expr),*) => {
        // SAFETY: the caller's arguments, unchanged.
        unsafe { libc::syscall($number, $($argument),*) }
    };
}

#[unsafe(no_mangle)]
extern "C" fn mmap(
    p: *mut c_void,
    len: usize,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    at: i64,
) -> *mut c_void {
    if refuses(0) || is_too_much(len, prot, flags) {
        set_errno(libc::ENOMEM);
        return libc::MAP_FAILED;
    }
    let result = forward!(
        libc::SYS_mmap,
        p,
        len,
        prot as c_long,
        flags as c_long,
        fd as c_long,
        at
    );
    std::ptr::with_exposed_provenance_mut(result as usize)
}

#[unsafe(no_mangle)]
extern "C" fn munmap(p: *mut c_void, len: usize) -> c_int {
    if refuses(1) {
        set_errno(libc::ENOMEM);
        return -1;
    }
    forward!(libc::SYS_munmap, p, len) as c_int
}

#[unsafe(no_mangle)]
extern "C" fn madvise(p: *mut c_void, len: usize, advice: c_int) -> c_int {
    if refuses(2) {
        set_errno(libc::EINVAL);
        return -1;
    }
    if LIES.load(Ordering::SeqCst) {
        return 0;
    }
    forward!(libc::SYS_madvise, p, len, advice as c_long) as c_int
}

#[unsafe(no_mangle)]
extern "C" fn mprotect(p: *mut c_void, len: usize, prot: c_int) -> c_int {
    if refuses(3) || is_too_much(len, prot, 0) {
        set_errno(libc::ENOMEM);
        return -1;
    }
    forward!(libc::SYS_mprotect, p, len, prot as c_long) as c_int
}

#[unsafe(no_mangle)]
extern "C" fn mincore(p: *mut c_void, len: usize, pages: *mut u8) -> c_int {
    if refuses(8) {
        set_errno(libc::ENOSYS);
        return -1;
    }
    forward!(libc::SYS_mincore, p, len, pages) as c_int
}

// Variadic in C; with integers only, the fifth argument arrives the same.
#[unsafe(no_mangle)]
extern "C" fn mremap(
    p: *mut c_void,
    old: usize,
    new: usize,
    flags: c_int,
    to: *mut c_void,
) -> *mut c_void {
    if refuses(4) || is_too_much(new.saturating_sub(old), libc::PROT_WRITE, 0) {
        set_errno(libc::ENOMEM);
        return libc::MAP_FAILED;
    }
    let result = forward!(libc::SYS_mremap, p, old, new, flags as c_long, to);
    std::ptr::with_exposed_provenance_mut(result as usize)
}

/// The C library's own function of this name.
fn next(name: &std::ffi::CStr) -> *mut c_void {
    // SAFETY: the name ends in a nul.
    let function = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    assert!(!function.is_null(), "{name:?}");
    function
}

type Start = extern "C" fn(*mut c_void) -> *mut c_void;
type Create = extern "C" fn(*mut libc::pthread_t, *const c_void, Start, *mut c_void) -> c_int;

#[unsafe(no_mangle)]
extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const c_void,
    start: Start,
    value: *mut c_void,
) -> c_int {
    if refuses(5) {
        return libc::EAGAIN;
    }
    // SAFETY: the function has this type in C.
    let create: Create = unsafe { std::mem::transmute(next(c"pthread_create")) };
    create(thread, attributes, start, value)
}

type KeyCreate =
    extern "C" fn(*mut libc::pthread_key_t, Option<extern "C" fn(*mut c_void)>) -> c_int;

#[unsafe(no_mangle)]
extern "C" fn pthread_key_create(
    key: *mut libc::pthread_key_t,
    destructor: Option<extern "C" fn(*mut c_void)>,
) -> c_int {
    if refuses(6) {
        return libc::EAGAIN;
    }
    // SAFETY: the function has this type in C.
    let create: KeyCreate = unsafe { std::mem::transmute(next(c"pthread_key_create")) };
    create(key, destructor)
}

type SetSpecific = extern "C" fn(libc::pthread_key_t, *const c_void) -> c_int;

#[unsafe(no_mangle)]
extern "C" fn pthread_setspecific(key: libc::pthread_key_t, value: *const c_void) -> c_int {
    if refuses(7) {
        return libc::ENOMEM;
    }
    // SAFETY: the function has this type in C.
    let set: SetSpecific = unsafe { std::mem::transmute(next(c"pthread_setspecific")) };
    set(key, value)
}

/// What a request for a mapping's name gets, and how many there were. 0 is success.
static NAMING: AtomicI32 = AtomicI32::new(0);
static NAMED: AtomicUsize = AtomicUsize::new(0);

/// From now on a request for a mapping's name fails with `error`, or succeeds if that is 0. Requests so far.
pub fn names(error: c_int) -> usize {
    NAMING.store(error, Ordering::SeqCst);
    NAMED.load(Ordering::SeqCst)
}

// Variadic in C, as `mremap`. Names make no difference to any test but the one that counts them.
#[unsafe(no_mangle)]
extern "C" fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int {
    const PR_SET_VMA: c_int = 0x5356_4d41;
    if option != PR_SET_VMA {
        return forward!(libc::SYS_prctl, option as c_long, a, b, c, d) as c_int;
    }
    NAMED.fetch_add(1, Ordering::SeqCst);
    match NAMING.load(Ordering::SeqCst) {
        0 => 0,
        error => {
            set_errno(error);
            -1
        }
    }
}
