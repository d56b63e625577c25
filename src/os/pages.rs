//! Address space and the memory behind it.

use core::ffi::CStr;
use core::ptr::NonNull;

/// Bytes of a page on the machine the program runs on (4 KiB, 16 KiB or 64 KiB).
pub fn page_size() -> usize {
    if cfg!(target_arch = "x86_64") {
        return 4096;
    }
    // SAFETY: getauxval reads a table the kernel left on the stack.
    match unsafe { libc::getauxval(libc::AT_PAGESZ) } {
        0 => 4096,
        size => size as usize,
    }
}

fn new_mapping(len: usize, protection: i32) -> Option<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
    let p = unsafe { libc::mmap(core::ptr::null_mut(), len, protection, flags, -1, 0) };
    if p == libc::MAP_FAILED {
        return None;
    }
    // Whole mappings are exposed here, once: `AddressMap` turns addresses back into pointers.
    let _ = p.expose_provenance();
    NonNull::new(p.cast())
}

/// A mapping of `len` bytes whose address is a multiple of `align` (a power of two of at least a page):
/// maps more and trims both ends.
fn aligned_mapping(len: usize, align: usize, protection: i32) -> Option<NonNull<u8>> {
    if len.is_multiple_of(align) {
        // The kernel places mappings side by side: after others of this kind it is aligned already.
        let first = new_mapping(len, protection)?;
        if first.addr().get() & (align - 1) == 0 {
            return Some(first);
        }
        // SAFETY: just mapped, nobody knows it.
        unsafe { unmap(first, len) };
    }
    let wide_len = len.checked_add(align)?.checked_sub(page_size())?;
    let wide = new_mapping(wide_len, protection)?;
    let head = wide.addr().get().wrapping_neg() & (align - 1);
    // SAFETY: `head <= align - page`, so the aligned part ends inside the wide mapping.
    let start = unsafe { wide.add(head) };
    // A failed trim leaves address space unused, nothing worse.
    // SAFETY: both ends lie in the wide mapping and outside the part handed out.
    unsafe {
        if head > 0 {
            unmap(wide, head);
        }
        let tail = wide_len - head - len;
        if tail > 0 {
            unmap(start.add(len), tail);
        }
    }
    Some(start)
}

/// Gets `len` bytes of address space without memory, at a multiple of `align`.
pub fn reserve(len: usize, align: usize) -> Option<NonNull<u8>> {
    aligned_mapping(len, align, libc::PROT_NONE)
}

/// Gets `len` bytes of zeroed memory at a multiple of `align`.
pub fn map(len: usize, align: usize) -> Option<NonNull<u8>> {
    aligned_mapping(len, align, libc::PROT_READ | libc::PROT_WRITE)
}

/// Makes reserved pages readable and writable; they read as zero. False when memory is out.
///
/// # Safety
/// `start` and `len` lie in one reservation.
pub unsafe fn commit(start: NonNull<u8>, len: usize) -> bool {
    // SAFETY: the pages are ours by the caller's word.
    unsafe {
        libc::mprotect(
            start.as_ptr().cast(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
        ) == 0
    }
}

/// Makes pages inaccessible: whoever touches them ends the process. [`commit`] is the way back. False when the
/// kernel refuses.
///
/// # Safety
/// The range is mapped by this module, and nothing in it is used until it is committed again.
pub unsafe fn protect(start: NonNull<u8>, len: usize) -> bool {
    // SAFETY: the pages are ours by the caller's word.
    unsafe { libc::mprotect(start.as_ptr().cast(), len, libc::PROT_NONE) == 0 }
}

/// Gives addresses and memory back. False (and nothing changed) when the kernel refuses, as it does
/// when the hole would split one mapping too many.
///
/// # Safety
/// The range is mapped by this module, and nothing in it is used any more.
pub unsafe fn unmap(start: NonNull<u8>, len: usize) -> bool {
    // SAFETY: unused by the caller's word.
    unsafe { libc::munmap(start.as_ptr().cast(), len) == 0 }
}

/// Gives memory back and keeps the addresses. True when the pages are known to read as zero now.
///
/// # Safety
/// The range is committed, and no live data is in it.
pub unsafe fn purge(start: NonNull<u8>, len: usize) -> bool {
    // SAFETY: no live data by the caller's word.
    unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_DONTNEED) == 0 }
}

/// Which of the pages from `start` on hold memory: one byte each, the lowest bit says so. What is swapped out
/// does not count. False when the system does not tell.
///
/// # Safety
/// The pages are mapped by this module.
pub unsafe fn resident(start: NonNull<u8>, pages: &mut [u8]) -> bool {
    let len = pages.len() * page_size();
    // SAFETY: asks about pages of ours; there is one byte for each.
    unsafe { libc::mincore(start.as_ptr().cast(), len, pages.as_mut_ptr()) == 0 }
}

/// Whether something is mapped at `p`.
pub fn is_mapped(p: NonNull<u8>) -> bool {
    let page = page_size();
    let start = p.as_ptr().map_addr(|addr| addr & !(page - 1));
    let mut resident = 0u8;
    // SAFETY: asks about one page; answers ENOMEM where nothing is mapped.
    unsafe { libc::mincore(start.cast(), page, &mut resident) == 0 }
}

/// Asks for huge pages behind a range, when it is touched.
///
/// # Safety
/// The range is mapped.
pub unsafe fn ask_for_huge_pages(start: NonNull<u8>, len: usize) {
    // SAFETY: advice only; a kernel without huge pages answers EINVAL.
    unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_HUGEPAGE) };
}

/// Asks for no huge pages behind a range.
///
/// # Safety
/// The range is mapped.
pub unsafe fn refuse_huge_pages(start: NonNull<u8>, len: usize) {
    // SAFETY: advice only; a kernel without huge pages answers EINVAL.
    unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_NOHUGEPAGE) };
}

/// Fills a range with a huge page, where the kernel has one, and asks for no more of them there.
///
/// # Safety
/// The range is mapped, of a huge page's length and alignment, and used by nobody.
pub unsafe fn fill_huge_page(start: NonNull<u8>, len: usize) {
    // SAFETY: advice, and a write to memory nobody uses.
    unsafe {
        if libc::madvise(start.as_ptr().cast(), len, libc::MADV_HUGEPAGE) == 0 {
            start.write_volatile(0);
            refuse_huge_pages(start, len);
        }
    }
}

/// Lengthens or shortens a mapping where it stands.
///
/// # Safety
/// `start..start + old_len` is a whole mapping of [`map`]'s; when shortening, the tail is unused.
pub unsafe fn grow(start: NonNull<u8>, old_len: usize, new_len: usize) -> bool {
    // SAFETY: without MREMAP_MAYMOVE the mapping stays where it is or the call fails.
    unsafe { libc::mremap(start.as_ptr().cast(), old_len, new_len, 0) != libc::MAP_FAILED }
}

/// Moves a mapping, longer or not, onto addresses reserved for it; the contents travel by page table.
/// On failure the reservation may be gone, the old mapping is untouched.
///
/// # Safety
/// As [`grow`]; `target..target + new_len` is a reservation nobody uses.
pub unsafe fn relocate(
    start: NonNull<u8>,
    old_len: usize,
    new_len: usize,
    target: NonNull<u8>,
) -> bool {
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    let to: *mut libc::c_void = target.as_ptr().cast();
    // SAFETY: both ranges are ours by the caller's word.
    unsafe { libc::mremap(start.as_ptr().cast(), old_len, new_len, flags, to) != libc::MAP_FAILED }
}

/// Names a mapping in `/proc/PID/maps`. False where the kernel knows no names, and never will.
///
/// # Safety
/// The range is mapped.
pub unsafe fn label(start: NonNull<u8>, len: usize, name: &'static CStr) -> bool {
    const PR_SET_VMA: i32 = 0x5356_4d41;
    const PR_SET_VMA_ANON_NAME: usize = 0;
    let saved = super::errno();
    // SAFETY: names only.
    let done = unsafe {
        libc::prctl(
            PR_SET_VMA,
            PR_SET_VMA_ANON_NAME,
            start.as_ptr(),
            len,
            name.as_ptr(),
        )
    };
    // The range and the name are good, so it is the whole call that is not.
    let unknown = done != 0 && super::errno() == libc::EINVAL;
    super::set_errno(saved);
    !unknown
}
