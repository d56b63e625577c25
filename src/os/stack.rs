//! Where a call came from.

use core::ffi::c_void;
use core::ptr::NonNull;

/// The unwinder's view of one frame.
#[repr(C)]
struct Context {
    opaque: [u8; 0],
}

type Visit = extern "C" fn(*mut Context, *mut c_void) -> i32;
type Backtrace = unsafe extern "C" fn(Visit, *mut c_void) -> i32;
type ProgramCounter = unsafe extern "C" fn(*mut Context) -> usize;

/// The library that C++ and std unwind by: libgcc, or LLVM's where the target is static.
#[derive(Clone, Copy)]
pub struct Unwinder {
    backtrace: Backtrace,
    program_counter: ProgramCounter,
}

#[cfg(not(feature = "preload"))]
mod linked {
    use super::{Context, Visit, c_void};

    unsafe extern "C" {
        pub fn _Unwind_Backtrace(visit: Visit, data: *mut c_void) -> i32;
        pub fn _Unwind_GetIP(context: *mut Context) -> usize;
    }
}

impl Unwinder {
    /// Finds it. The preload library does not link it, since most programs have no use for it, and loads it here:
    /// that takes the loader's lock and may allocate; hold no lock.
    pub fn find() -> Option<Self> {
        #[cfg(not(feature = "preload"))]
        return Some(Self {
            backtrace: linked::_Unwind_Backtrace,
            program_counter: linked::_Unwind_GetIP,
        });
        // SAFETY: names that end in a nul; the functions' types are those of the Itanium C++ ABI.
        #[cfg(feature = "preload")]
        unsafe {
            let backtrace = unwinder_symbol(c"_Unwind_Backtrace")?;
            let counter = unwinder_symbol(c"_Unwind_GetIP")?;
            Some(Self::from_raw([backtrace, counter]))
        }
    }

    /// The two functions, to be kept.
    pub fn to_raw(self) -> [NonNull<c_void>; 2] {
        let functions = [
            self.backtrace as *mut c_void,
            self.program_counter as *mut c_void,
        ];
        functions.map(|function| NonNull::new(function).expect("functions are not at 0"))
    }

    /// From what [`Self::to_raw`] gave.
    ///
    /// # Safety
    /// It did give them, in this order.
    pub unsafe fn from_raw([backtrace, program_counter]: [NonNull<c_void>; 2]) -> Self {
        // SAFETY: functions of these types by the caller's word.
        unsafe {
            Self {
                backtrace: core::mem::transmute::<NonNull<c_void>, Backtrace>(backtrace),
                program_counter: core::mem::transmute::<NonNull<c_void>, ProgramCounter>(
                    program_counter,
                ),
            }
        }
    }

    /// Writes the return addresses of this thread's frames to `out`, innermost first, and returns their number.
    ///
    /// By the unwind tables that every object carries, so frames without frame pointers are seen, too. It does
    /// not allocate. On glibc 2.35 and later it takes no lock; before, the loader's, which a thread that waits for
    /// us may not hold.
    pub fn return_addresses(self, out: &mut [usize]) -> usize {
        let mut walk = Walk {
            program_counter: self.program_counter,
            out,
            len: 0,
        };
        // SAFETY: the walk outlives the call.
        unsafe { (self.backtrace)(visit, (&raw mut walk).cast()) };
        walk.len
    }
}

/// The unwinder's function of that name, from the library that is loaded for it: hold no lock.
#[cfg(feature = "preload")]
pub fn unwinder_symbol(name: &core::ffi::CStr) -> Option<NonNull<c_void>> {
    // SAFETY: names that end in a nul.
    unsafe {
        let library = libc::dlopen(c"libgcc_s.so.1".as_ptr(), libc::RTLD_NOW);
        if library.is_null() {
            return None;
        }
        NonNull::new(libc::dlsym(library, name.as_ptr()))
    }
}

const GO_ON: i32 = 0;
const STOP: i32 = 5;

struct Walk<'a> {
    program_counter: ProgramCounter,
    out: &'a mut [usize],
    len: usize,
}

extern "C" fn visit(context: *mut Context, data: *mut c_void) -> i32 {
    // SAFETY: `return_addresses` passed its own walk, which nobody else uses meanwhile.
    let walk = unsafe { &mut *data.cast::<Walk<'_>>() };
    // SAFETY: the unwinder's own context.
    let address = unsafe { (walk.program_counter)(context) };
    if address == 0 || walk.len == walk.out.len() {
        return STOP;
    }
    walk.out[walk.len] = address;
    walk.len += 1;
    GO_ON
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn deeper(n: usize, out: &mut [usize]) -> usize {
        match n {
            0 => Unwinder::find()
                .expect("libgcc is there")
                .return_addresses(out),
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
