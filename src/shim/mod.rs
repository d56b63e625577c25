//! L4: the C malloc family and C++ `new`/`delete`, for the preload library.
//!
//! Compiled only with feature `preload`, because a `malloc` exported from an executable replaces the C
//! library's for the whole process. Contract: the glibc manual's "Replacing malloc" and the pages
//! malloc(3), posix_memalign(3), malloc_usable_size(3), mallinfo(3), malloc_trim(3), mallopt(3).
//!
//! | file | functions |
//! |---|---|
//! | `malloc.rs` | malloc free calloc realloc |
//! | `called.rs` | malloc and realloc again, for who watches |
//! | `aligned.rs` | aligned_alloc memalign posix_memalign valloc pvalloc, free_sized free_aligned_sized |
//! | `aliases.rs` | `__libc_*` and other second names, reallocarray |
//! | `cxx.rs` | the 20 operators `new` and `delete` |
//! | `info.rs` | malloc_usable_size mallinfo malloc_trim malloc_stats malloc_info mallopt |
//! | `dlopen.rs` | dlopen: no malloc, but what RTLD_DEEPBIND opens frees our blocks by the C library's `free`; on x86-64 with glibc |
//!
//! `errno` is ENOMEM after a null result, and untouched otherwise.

mod aliases;
mod aligned;
mod called;
mod cxx;
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod dlopen;
mod info;
mod malloc;

use crate::global;
use crate::os;
use core::ffi::c_void;
use core::ptr::NonNull;

pub use info::malloc_usable_size;
pub use malloc::{calloc, free, malloc, realloc};

/// Whether a function is one of those the forwarding would look up: calling it would come back here.
pub(crate) fn is_export(function: NonNull<c_void>) -> bool {
    let ours = [
        malloc as *const c_void,
        free as *const c_void,
        calloc as *const c_void,
        realloc as *const c_void,
        aligned::memalign as *const c_void,
        malloc_usable_size as *const c_void,
    ];
    ours.contains(&function.as_ptr().cast_const())
}

/// Whether the program's own calls of `malloc` come here. A program with an entry of its own that only
/// leads to another object's `malloc` counts as calling that one.
fn is_called() -> bool {
    os::default_symbol(c"malloc").is_some_and(|found| is_export(found) || !os::is_definition(found))
}

/// 1 when this library serves the process's malloc: a test's proof that the preload took hold.
#[unsafe(no_mangle)]
pub extern "C" fn pymalloc_is_in_charge() -> i32 {
    i32::from(is_called() && !global::passes_through())
}

/// Runs before the program's own constructors: reads the options, finds out whether the executable has
/// a malloc of its own, registers the hooks. What the loader read of the library is not needed any more then.
extern "C" fn constructor() {
    global::load_options();
    global::next_malloc::set_is_ours(is_export);
    if !is_called() {
        global::pass_to_executable();
    }
    global::next_malloc::resolve();
    #[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
    global::deepbind::next();
    global::register_hooks();
    os::forget_read_only();
}

/// Numbered, so that it comes before the library's other constructors.
#[used]
#[unsafe(link_section = ".init_array.00200")]
static CONSTRUCTOR: extern "C" fn() = constructor;

/// What `build.rs` puts in the place of `__tls_get_addr`, which std imports and which may allocate:
/// reached only by a mistake of ours.
extern "C" fn no_tls() -> ! {
    os::fatal(format_args!(
        "thread-local storage was reached the slow way"
    ))
}

core::arch::global_asm!(
    ".pushsection .text.pymalloc_no_tls,\"ax\"",
    ".hidden pymalloc_no_tls",
    ".globl pymalloc_no_tls",
    ".type pymalloc_no_tls,@function",
    "pymalloc_no_tls:",
    #[cfg(target_arch = "x86_64")]
    "jmp {target}",
    #[cfg(target_arch = "aarch64")]
    "b {target}",
    ".popsection",
    target = sym no_tls,
);
