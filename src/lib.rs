//! pymalloc.
use core::alloc::{GlobalAlloc, Layout};
/// Placeholder until the engine lands.
pub struct PyMalloc;
// SAFETY: forwards to libc.
unsafe impl GlobalAlloc for PyMalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut p = core::ptr::null_mut();
        unsafe { libc::posix_memalign(&mut p, layout.align().max(16), layout.size()) };
        p.cast()
    }
    unsafe fn dealloc(&self, p: *mut u8, _: Layout) {
        unsafe { libc::free(p.cast()) }
    }
}
