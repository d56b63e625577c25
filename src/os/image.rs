//! The library's own file in memory.
//!
//! ```text
//! | header | what is only read | code | what the loader writes … |
//!   ^ __ehdr_start: the linker's name for it
//! ```

use core::ffi::c_void;

unsafe extern "C" {
    /// The header of the file this code was linked into.
    static __ehdr_start: libc::Elf64_Ehdr;
}

/// Lets go of the pages of the file that are neither written nor run: who reads there gets them from the kernel again.
/// The loader reads relocations once, 50 KiB of them, and the pages around them are mapped with them.
///
/// Not those of code: a debugger may have put breakpoints there.
pub fn forget_read_only() {
    let header = &raw const __ehdr_start;
    // SAFETY: the linker put a header there, the loader maps it in front of the segments it names, and neither changes.
    let (first, n) = unsafe {
        let first = header.cast::<u8>().add((*header).e_phoff as usize);
        (first.cast::<libc::Elf64_Phdr>(), (*header).e_phnum)
    };
    let is_read_only = |segment: &libc::Elf64_Phdr| {
        segment.p_type == libc::PT_LOAD && segment.p_flags == libc::PF_R
    };
    // SAFETY: `n` of them, as above. Copied, for what is let go of may hold them: who looked at one more would get it back.
    let Some(segment) = (0..usize::from(n))
        .map(|index| unsafe { first.add(index).read() })
        .find(is_read_only)
    else {
        return;
    };
    let first_page = segment.p_vaddr as usize & !(super::page_size() - 1);
    let end = (segment.p_vaddr + segment.p_filesz) as usize;
    // SAFETY: pages of the file that nothing was written to: they read as before, whatever the kernel answers. The first
    // segment is at 0, where the header is.
    unsafe {
        let start = header.cast::<u8>().add(first_page).cast_mut();
        libc::madvise(
            start.cast::<c_void>(),
            end - first_page,
            libc::MADV_DONTNEED,
        );
    }
}
