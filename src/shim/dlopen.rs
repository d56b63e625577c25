//! `dlopen` that clears RTLD_DEEPBIND: the one export that is not of the malloc family.
//!
//! A library opened with that flag looks symbols up among its own dependencies before it looks in the process, and the C
//! library is one of them. Its `free` is then the C library's, while what it frees often is not: the C library's own
//! functions and all other objects allocate here. Debian's PHP opens each extension so, and dies at the first. No malloc
//! can help from inside, since its `free` is not called: what can be changed is the flag.
//!
//! ```text
//! caller ── call ──▶ dlopen ── jmp ──▶ next dlopen            no RTLD_DEEPBIND, the usual case
//!                      └ call ▶ ready, and then the same jmp   RTLD_DEEPBIND, or nobody looked for the next one so far
//! ```
//!
//! | who serves the process | `deepbind:clear` | `deepbind:keep` |
//! |---|---|---|
//! | this library | the flag is cleared | it stays |
//! | another malloc: `PYMALLOC=malloc`, the program's own, or the library was opened late | it stays | it stays |
//!
//! I1: the next `dlopen` is jumped to, with the stack as the caller left it. By its return address it finds the calling
//! object, and by that the RUNPATH, `$ORIGIN` and the namespace. So this is written in instructions, and only for x86-64.
//!
//! I2: all flags but that one, and the file, arrive as they were given: so do errors, and what `dlerror` says of them.
//!
//! `dlmopen` is not here: in a namespace of its own a library finds none of our exports, with the flag or without it.

use crate::global::deepbind;
use core::ffi::{c_char, c_int, c_void};
use core::ptr::{NonNull, null_mut};

/// glibc's value of the flag.
const RTLD_DEEPBIND: c_int = 8;

/// The C library's `dlopen`, without RTLD_DEEPBIND where this library serves the process.
///
/// # Safety
/// As C's: `file` is null or a string that ends in a nul, and the library's constructors may run.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "mov rax, [rip + {next}]",
        "test rax, rax",
        "jz 2f",
        "test esi, {deepbind}",
        "jnz 2f",
        "jmp rax",
        "2:",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        // Keeps the stack at a multiple of 16, too.
        "sub rsp, 16",
        ".cfi_adjust_cfa_offset 16",
        "call {ready}",
        "add rsp, 16",
        ".cfi_adjust_cfa_offset -16",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "mov esi, edx",
        "jmp rax",
        ".cfi_endproc",
        next = sym deepbind::NEXT,
        deepbind = const RTLD_DEEPBIND,
        ready = sym ready,
    )
}

/// A `dlopen`.
type Open = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;

/// Where to go on, and with which flags: in the two registers that a function returns.
#[repr(C)]
struct Ready {
    next: Open,
    flags: c_int,
}

/// # Safety
/// As [`dlopen`].
#[cold]
unsafe extern "C" fn ready(file: *const c_char, flags: c_int) -> Ready {
    let mut ready = Ready {
        next: opens_nothing,
        flags,
    };
    if let Some(next) = deepbind::next() {
        // SAFETY: `dlopen` has this type in C.
        ready.next = unsafe { core::mem::transmute::<NonNull<c_void>, Open>(next) };
    }
    let is_deep = flags & RTLD_DEEPBIND != 0;
    if is_deep && deepbind::is_cleared() && super::pymalloc_is_in_charge() != 0 {
        ready.flags &= !RTLD_DEEPBIND;
        // SAFETY: `file` by the caller's word.
        unsafe { deepbind::say_once(file) };
    }
    ready
}

/// Where no object after this library has a `dlopen`, nothing can be opened.
extern "C" fn opens_nothing(_: *const c_char, _: c_int) -> *mut c_void {
    null_mut()
}
