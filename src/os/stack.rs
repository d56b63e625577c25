//! Where a call came from.

use core::ffi::c_void;

/// The unwinder's view of one frame.
#[repr(C)]
struct Context {
    opaque: [u8; 0],
}

unsafe extern "C" {
    // Of the library that std unwinds panics with: libgcc, or LLVM's where the target is static. In the preload library
    // these names lead to functions that load it.
    fn _Unwind_Backtrace(
        visit: extern "C" fn(*mut Context, *mut c_void) -> i32,
        data: *mut c_void,
    ) -> i32;
    fn _Unwind_GetIP(context: *mut Context) -> usize;
}

const GO_ON: i32 = 0;
const STOP: i32 = 5;

struct Walk<'a> {
    out: &'a mut [usize],
    len: usize,
}

extern "C" fn visit(context: *mut Context, data: *mut c_void) -> i32 {
    // SAFETY: `return_addresses` passed its own walk, which nobody else uses meanwhile.
    let walk = unsafe { &mut *data.cast::<Walk<'_>>() };
    // SAFETY: the unwinder's own context.
    let address = unsafe { _Unwind_GetIP(context) };
    if address == 0 || walk.len == walk.out.len() {
        return STOP;
    }
    walk.out[walk.len] = address;
    walk.len += 1;
    GO_ON
}

/// Writes the return addresses of this thread's frames to `out`, innermost first, and returns their number.
///
/// By the unwind tables that every object carries, so frames without frame pointers are seen, too. It does
/// not allocate, but for the first time in the preload library. On glibc 2.35 and later it takes no lock; before, the loader's, which a thread that waits for
/// us may not hold.
pub fn return_addresses(out: &mut [usize]) -> usize {
    let mut walk = Walk { out, len: 0 };
    // SAFETY: the walk outlives the call.
    unsafe { _Unwind_Backtrace(visit, (&raw mut walk).cast()) };
    walk.len
}

/// The unwinder's function of that name, from the library that is loaded for it: hold no lock.
#[cfg(feature = "preload")]
pub fn unwinder_symbol(name: &core::ffi::CStr) -> Option<core::ptr::NonNull<c_void>> {
    // SAFETY: names that end in a nul.
    unsafe {
        let library = libc::dlopen(c"libgcc_s.so.1".as_ptr(), libc::RTLD_NOW);
        if library.is_null() {
            return None;
        }
        core::ptr::NonNull::new(libc::dlsym(library, name.as_ptr()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn deeper(n: usize, out: &mut [usize]) -> usize {
        match n {
            0 => return_addresses(out),
            _ => core::hint::black_box(deeper(n - 1, out)),
        }
    }

    #[test]
    fn frames_are_counted_and_cut_at_the_room_given() {
        let mut all = [0; 64];
        let shallow = deeper(1, &mut all);
        let deep = deeper(11, &mut all);
        assert_eq!(deep - shallow, 10);
        assert_eq!(deeper(11, &mut all[..5]), 5);
        assert!(all[..5].iter().all(|address| *address != 0));
    }
}
