//! glibc's questions and knobs.

use crate::global::{self, PyMalloc, next_malloc, slow};
use crate::os;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt::Write;
use core::ptr::NonNull;

/// `struct mallinfo` of glibc.
#[repr(C)]
#[derive(Default)]
pub struct MallInfo {
    arena: c_int,
    ordblks: c_int,
    smblks: c_int,
    hblks: c_int,
    hblkhd: c_int,
    usmblks: c_int,
    fsmblks: c_int,
    uordblks: c_int,
    fordblks: c_int,
    keepcost: c_int,
}

/// `struct mallinfo2` of glibc 2.33.
#[repr(C)]
#[derive(Default)]
pub struct MallInfo2 {
    /// Bytes in arenas.
    arena: usize,
    ordblks: usize,
    smblks: usize,
    /// Huge blocks and their bytes.
    hblks: usize,
    hblkhd: usize,
    usmblks: usize,
    fsmblks: usize,
    /// Bytes in use and free.
    uordblks: usize,
    fordblks: usize,
    keepcost: usize,
}

/// The other allocator's function of this name, when everything is passed to it.
fn other<F: Copy>(name: &'static CStr) -> Option<F> {
    const {
        assert!(
            size_of::<F>() == size_of::<*mut c_void>(),
            "a function pointer"
        )
    };
    if !global::passes_through() {
        return None;
    }
    let function = next_malloc::lookup(name)?;
    // SAFETY: callers name the type that C gives the function.
    Some(unsafe { core::mem::transmute_copy(&function) })
}

/// mallinfo2(3).
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo2() -> MallInfo2 {
    if let Some(other) = other::<extern "C" fn() -> MallInfo2>(c"mallinfo2") {
        return other();
    }
    let stats = PyMalloc.stats();
    let huge = stats.huge_bytes as usize;
    let arena = (stats.mapped_bytes as usize).saturating_sub(huge);
    let used = (stats.block_bytes as usize).saturating_sub(huge);
    MallInfo2 {
        arena,
        ordblks: stats
            .classes
            .iter()
            .map(|class| class.available as usize)
            .sum(),
        hblks: stats.huge_blocks as usize,
        hblkhd: huge,
        uordblks: used,
        fordblks: arena.saturating_sub(used),
        ..MallInfo2::default()
    }
}

/// mallinfo(3): as [`mallinfo2`], cut to `int`, which is why glibc deprecates it.
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo() -> MallInfo {
    let info = mallinfo2();
    let int = |n: usize| c_int::try_from(n).unwrap_or(c_int::MAX);
    MallInfo {
        arena: int(info.arena),
        ordblks: int(info.ordblks),
        hblks: int(info.hblks),
        hblkhd: int(info.hblkhd),
        uordblks: int(info.uordblks),
        fordblks: int(info.fordblks),
        ..MallInfo::default()
    }
}

/// malloc_trim(3): gives all free memory back, from any thread. 1 when there was some.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_trim(pad: usize) -> c_int {
    if let Some(other) = other::<extern "C" fn(usize) -> c_int>(c"malloc_trim") {
        return other(pad);
    }
    os::keep_errno(|| c_int::from(PyMalloc.collect() > 0))
}

/// malloc_stats(3): CPython's report on standard error.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_stats() {
    if let Some(other) = other::<extern "C" fn()>(c"malloc_stats") {
        return other();
    }
    os::keep_errno(global::print_report);
}

/// mallopt(3): the parameters tune another allocator; known ones are accepted, and ignored.
#[unsafe(no_mangle)]
pub extern "C" fn mallopt(parameter: c_int, value: c_int) -> c_int {
    if let Some(other) = other::<extern "C" fn(c_int, c_int) -> c_int>(c"mallopt") {
        return other(parameter, value);
    }
    /// M_MXFAST, and M_ARENA_MAX to M_CHECK_ACTION of `malloc.h`.
    const KNOWN: [c_int; 9] = [1, -1, -2, -3, -4, -5, -6, -7, -8];
    c_int::from(KNOWN.contains(&parameter))
}

/// malloc_info(3): the figures as XML on a C stream.
///
/// # Safety
/// `stream` is an open C stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_info(options: c_int, stream: *mut libc::FILE) -> c_int {
    type Info = unsafe extern "C" fn(c_int, *mut libc::FILE) -> c_int;
    if let Some(other) = other::<Info>(c"malloc_info") {
        // SAFETY: passed on.
        return unsafe { other(options, stream) };
    }
    if options != 0 {
        return libc::EINVAL;
    }
    let stats = PyMalloc.stats();
    let mut text = os::Text::<16384>::new();
    let _ = write!(text, "<malloc version=\"pymalloc-1\">\n<sizes>\n");
    for class in stats.classes.iter().filter(|class| class.pools > 0) {
        let (to, count) = (class.block_bytes, class.in_use);
        let _ = writeln!(
            text,
            "<size to=\"{to}\" count=\"{count}\" total=\"{}\"/>",
            to as u64 * count
        );
    }
    let _ = write!(
        text,
        "</sizes>\n<system type=\"current\" size=\"{}\"/>\n<system type=\"max\" size=\"{}\"/>\n\
         <mmap count=\"{}\" size=\"{}\"/>\n</malloc>\n\0",
        stats.mapped_bytes, stats.mapped_bytes_high, stats.huge_blocks, stats.huge_bytes
    );
    // SAFETY: a text that ends in a nul; an open stream by the caller's word.
    let written = unsafe { libc::fputs(text.as_bytes().as_ptr().cast::<c_char>(), stream) };
    if written < 0 { os::errno() } else { 0 }
}

/// Bytes of the block at `p` that may be used; 0 for null.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(p: *const c_void) -> usize {
    let Some(p) = NonNull::new(p.cast_mut().cast::<u8>()) else {
        return 0;
    };
    match slow::usable_unknown(p) {
        Some(bytes) => bytes,
        // SAFETY: not ours, so the other allocator's by the caller's word.
        None if slow::is_foreign(p) => unsafe { next_malloc::usable_size(p) },
        None => 0,
    }
}
