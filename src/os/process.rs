//! The process: its processors, clock, environment, fork, and symbols.

use core::ffi::{CStr, c_void};

/// This thread's `errno`.
pub fn errno() -> i32 {
    // SAFETY: the C library's thread-local integer.
    unsafe { *libc::__errno_location() }
}

/// Sets this thread's `errno`.
pub fn set_errno(value: i32) {
    // SAFETY: the C library's thread-local integer.
    unsafe { *libc::__errno_location() = value }
}

/// Runs `f` and puts `errno` back, as `free` and a successful `malloc` promise.
#[inline]
pub fn keep_errno<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: the C library's thread-local integer, which stays where it is as long as the thread runs.
    unsafe {
        let place = libc::__errno_location();
        let saved = *place;
        let result = f();
        *place = saved;
        result
    }
}

/// This process's number.
pub fn pid() -> u32 {
    // SAFETY: no conditions.
    unsafe { libc::getpid() as u32 }
}

/// Writes the path of this program's file to `path`; its length, 0 when it is not known.
pub fn executable_path(path: &mut [u8]) -> usize {
    target_of(c"/proc/self/exe", path)
}

/// As [`executable_path`], of the calling thread's working folder.
pub fn working_folder(path: &mut [u8]) -> usize {
    target_of(c"/proc/thread-self/cwd", path)
}

fn target_of(link: &CStr, path: &mut [u8]) -> usize {
    // SAFETY: the buffer is as long as said.
    let n = unsafe { libc::readlink(link.as_ptr(), path.as_mut_ptr().cast(), path.len()) };
    usize::try_from(n).unwrap_or(0)
}

/// Processors this process may run on, at least one.
pub fn cpus() -> usize {
    // SAFETY: the set is plain data of the stated size.
    unsafe {
        let mut set = core::mem::zeroed::<libc::cpu_set_t>();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) == 0 {
            return (libc::CPU_COUNT(&set) as usize).max(1);
        }
    }
    1
}

/// Mappings the kernel lets a process have.
pub fn most_mappings() -> usize {
    /// The kernel's own default, for where it does not say.
    const DEFAULT: usize = 65_530;
    let mut text = [0; 24];
    let n = super::File::open(c"/proc/sys/vm/max_map_count").map_or(0, |file| file.read(&mut text));
    let number = core::str::from_utf8(&text[..n])
        .unwrap_or("")
        .trim()
        .parse();
    number.unwrap_or(DEFAULT)
}

/// Milliseconds of a clock that only goes forward, to about 4 ms.
pub fn now_ms() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place to write; answered from the vdso.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// A word that nobody outside this process can guess: the kernel's gift to each new program.
pub fn secret() -> usize {
    // SAFETY: reads the kernel's table; the entry, if there, is the address of 16 random bytes that stay.
    unsafe {
        let random = libc::getauxval(libc::AT_RANDOM) as usize;
        let random = core::ptr::with_exposed_provenance::<[usize; 2]>(random);
        random.as_ref().map_or(0, |_| {
            let [a, b] = random.read_unaligned();
            a ^ b.rotate_left(17)
        })
    }
}

/// Whether the program runs with more rights than its user: then the environment is not to be trusted.
pub fn is_privileged() -> bool {
    // SAFETY: reads the kernel's table.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// The value of an environment variable.
pub fn environment(name: &CStr) -> Option<&'static CStr> {
    unsafe extern "C" {
        static environ: *const *const core::ffi::c_char;
    }
    // SAFETY: called while the process starts, before other threads could change the environment; read
    // directly because getenv is not ours to call before the C library is initialised.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let bytes = CStr::from_ptr(*entry).to_bytes_with_nul();
            let name = name.to_bytes();
            if bytes.len() > name.len() && bytes.starts_with(name) && bytes[name.len()] == b'=' {
                return Some(CStr::from_ptr((*entry).add(name.len() + 1)));
            }
            entry = entry.add(1);
        }
    }
    None
}

/// Registers what runs before fork, and after it in parent and child. May allocate; hold no lock.
pub fn on_fork(
    before: unsafe extern "C" fn(),
    parent: unsafe extern "C" fn(),
    child: unsafe extern "C" fn(),
) -> bool {
    // SAFETY: the functions stay mapped: the library is never unloaded.
    unsafe { libc::pthread_atfork(Some(before), Some(parent), Some(child)) == 0 }
}

/// The next definition of `name` after this library in link order. Takes the loader's lock and may
/// allocate; hold no lock.
pub fn next_symbol(name: &CStr) -> Option<core::ptr::NonNull<c_void>> {
    // SAFETY: `name` ends in a nul.
    core::ptr::NonNull::new(unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) })
}

/// The definition of `name` that the program itself would find. As [`next_symbol`] otherwise.
pub fn default_symbol(name: &CStr) -> Option<core::ptr::NonNull<c_void>> {
    // SAFETY: `name` ends in a nul.
    core::ptr::NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) })
}

/// Whether `code` lies in the executable, and not in a library.
#[cfg(not(feature = "preload"))]
pub fn is_in_executable(code: *const ()) -> bool {
    let start_of = |address: *const c_void| {
        // SAFETY: all its fields may be zero.
        let mut object: libc::Dl_info = unsafe { core::mem::zeroed() };
        // SAFETY: looks the address up, whatever it is.
        let found = unsafe { libc::dladdr(address, &raw mut object) };
        (found != 0).then_some(object.dli_fbase)
    };
    // SAFETY: reads the kernel's table.
    let headers = unsafe { libc::getauxval(libc::AT_PHDR) };
    // Nothing is found in a program without a loader.
    start_of(core::ptr::without_provenance(headers as usize)) == start_of(code.cast())
}

/// Whether an object defines a symbol at `function`. A program that takes the address of a function of
/// another object may have an entry of its own for it, which only leads there, and which the loader then
/// gives out as the function's address: that is no definition.
#[cfg(target_env = "gnu")]
pub fn is_definition(function: core::ptr::NonNull<c_void>) -> bool {
    /// `Elf64_Sym`.
    #[repr(C)]
    struct Symbol {
        name: u32,
        info: u8,
        other: u8,
        section: u16,
        value: u64,
        size: u64,
    }
    const RTLD_DL_SYMENT: i32 = 1;
    unsafe extern "C" {
        fn dladdr1(
            addr: *const c_void,
            info: *mut libc::Dl_info,
            extra: *mut *const Symbol,
            flags: i32,
        ) -> i32;
    }
    // SAFETY: plain C structures that the call fills; the symbol found lives as long as its object.
    unsafe {
        let mut info = core::mem::zeroed::<libc::Dl_info>();
        let mut symbol = core::ptr::null();
        let found = dladdr1(function.as_ptr(), &mut info, &mut symbol, RTLD_DL_SYMENT);
        found != 0 && symbol.as_ref().is_some_and(|symbol| symbol.section != 0)
    }
}

/// As far as can be known here.
#[cfg(not(target_env = "gnu"))]
pub fn is_definition(_: core::ptr::NonNull<c_void>) -> bool {
    true
}

/// Replaces the file `path` by `text`. False when it cannot be written whole.
pub fn write_file(path: &CStr, text: &[u8]) -> bool {
    // SAFETY: plain system calls on a descriptor of our own.
    unsafe {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC;
        let file = libc::open(path.as_ptr(), flags, 0o600);
        if file < 0 {
            return false;
        }
        let mut rest = text;
        while !rest.is_empty() {
            let n = libc::write(file, rest.as_ptr().cast(), rest.len());
            if n <= 0 {
                libc::close(file);
                return false;
            }
            rest = &rest[n as usize..];
        }
        libc::close(file) == 0
    }
}

/// Runs `hook` when the process ends by `exit` or by returning from `main`. May allocate; hold no lock.
pub fn at_exit(hook: extern "C" fn()) -> bool {
    // SAFETY: the hook stays mapped: the library is never unloaded.
    unsafe { libc::atexit(hook) == 0 }
}

/// Writes `text` to standard error.
pub fn write_error(text: &[u8]) {
    let mut rest = text;
    while !rest.is_empty() {
        // SAFETY: plain write; a closed descriptor is the user's choice.
        let n = unsafe { libc::write(2, rest.as_ptr().cast(), rest.len()) };
        if n <= 0 {
            return;
        }
        rest = &rest[n as usize..];
    }
}
