//! The unwinder that std imports, loaded when it is first called.
//!
//! Linked, it would be one more library in every process, for what nearly none of them does: a panic of ours, or a
//! thread that is cancelled inside of us, when the C library unwinds through our frames and asks std's personality
//! routine what to clean up. `build.rs` leads each name that std imports to the function here that goes on to
//! libgcc's of that name. All of them take at most three words and give one, or none, or do not return.

use crate::os;
use crate::sync::{AtomicUsize, Ordering};
use core::ffi::CStr;

type Function = unsafe extern "C-unwind" fn(usize, usize, usize) -> usize;

/// The function of that name, kept in `place`.
#[cold]
fn find(place: &AtomicUsize, name: &CStr) -> usize {
    let found = os::keep_errno(|| os::unwinder_symbol(name))
        .map(|p| p.as_ptr().expose_provenance())
        .unwrap_or_else(|| {
            os::fatal(format_args!(
                "libgcc_s.so.1, to unwind by, cannot be loaded, or has no {name:?}"
            ))
        });
    // Relaxed: whoever finds it not yet stored looks for it himself.
    place.store(found, Ordering::Relaxed);
    found
}

/// Defines a function that goes on to libgcc's, and a hidden name for the linker to lead to it.
macro_rules! forward {
    ($($ours:ident $label:literal => $name:literal,)*) => {
        $(
            /// Goes on to libgcc's.
            ///
            /// # Safety
            /// As its.
            unsafe extern "C-unwind" fn $ours(a: usize, b: usize, c: usize) -> usize {
                static PLACE: AtomicUsize = AtomicUsize::new(0);
                let address = match PLACE.load(Ordering::Relaxed) {
                    0 => find(&PLACE, $name),
                    address => address,
                };
                // SAFETY: a function of that name, which takes no more than three words; passed on.
                unsafe {
                    let function = core::mem::transmute::<*const (), Function>(core::ptr::with_exposed_provenance(address));
                    function(a, b, c)
                }
            }

            core::arch::global_asm!(
                concat!(".pushsection .text.", $label, ",\"ax\""),
                concat!(".hidden ", $label),
                concat!(".globl ", $label),
                concat!(".type ", $label, ",@function"),
                concat!($label, ":"),
                #[cfg(target_arch = "x86_64")]
                "jmp {target}",
                #[cfg(target_arch = "aarch64")]
                "b {target}",
                ".popsection",
                target = sym $ours,
            );
        )*
    };
}

forward! {
    backtrace "pymalloc_unwind_Backtrace" => c"_Unwind_Backtrace",
    get_data_rel_base "pymalloc_unwind_GetDataRelBase" => c"_Unwind_GetDataRelBase",
    get_ip "pymalloc_unwind_GetIP" => c"_Unwind_GetIP",
    get_ip_info "pymalloc_unwind_GetIPInfo" => c"_Unwind_GetIPInfo",
    get_language_specific_data "pymalloc_unwind_GetLanguageSpecificData" => c"_Unwind_GetLanguageSpecificData",
    get_region_start "pymalloc_unwind_GetRegionStart" => c"_Unwind_GetRegionStart",
    get_text_rel_base "pymalloc_unwind_GetTextRelBase" => c"_Unwind_GetTextRelBase",
    raise_exception "pymalloc_unwind_RaiseException" => c"_Unwind_RaiseException",
    resume "pymalloc_unwind_Resume" => c"_Unwind_Resume",
    set_gr "pymalloc_unwind_SetGR" => c"_Unwind_SetGR",
    set_ip "pymalloc_unwind_SetIP" => c"_Unwind_SetIP",
}
