//! The library's own file in memory.
//!
//! ```text
//! | header | what is only read | code | what the loader writes … |
//!   ^ __ehdr_start: the linker's name for it
//! ```

use core::ffi::c_void;

unsafe extern "C" {
    /// The first byte of the file this code was linked into: its header begins there.
    static __ehdr_start: u8;
}

/// Lets go of the pages of the file that are neither written nor run: who reads there gets them from the kernel again.
/// The loader reads relocations once, 50 KiB of them, and the pages around them are mapped with them.
///
/// Not those of code: a debugger may have put breakpoints there.
pub fn forget_read_only() {
    let base = &raw const __ehdr_start;
    let header = base.cast::<libc::Elf64_Ehdr>();
    // SAFETY: the linker put a header there, at a multiple of a page, the loader maps it in front of the segments it names,
    // and neither changes.
    let (first, n) = unsafe {
        let first = base.add((*header).e_phoff as usize);
        (first.cast::<libc::Elf64_Phdr>(), (*header).e_phnum)
    };
    // SAFETY: `n` of them, as above. Copied, for what is let go of may hold them: who looked at one more would get it back.
    let mut segments = (0..usize::from(n))
        .map(|index| unsafe { first.add(index).read() })
        .filter(|segment| segment.p_type == libc::PT_LOAD)
        .peekable();
    let origin = segments.peek().map_or(0, |segment| segment.p_vaddr);
    let Some(segment) = segments.find(|segment| segment.p_flags == libc::PF_R) else {
        return;
    };
    let page = super::page_size();
    let offset = (segment.p_vaddr - origin) as usize;
    let len = segment.p_filesz as usize + offset % page;
    // SAFETY: pages of the file that nothing was written to: they read as before, whatever the kernel answers. Segments
    // keep their distances, and the first begins with the header.
    unsafe {
        let start = base.add(offset - offset % page).cast_mut();
        libc::madvise(start.cast::<c_void>(), len, libc::MADV_DONTNEED);
    }
}
