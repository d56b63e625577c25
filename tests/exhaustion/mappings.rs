//! Mappings of somebody else's, as many as the kernel lets a process have.

use std::ffi::c_void;

const PAGE: usize = 4096;

/// Single pages, each of them a mapping; gone when dropped.
pub struct Others {
    start: *mut c_void,
    len: usize,
}

impl Others {
    /// As many as there is room for, but `left`.
    pub fn all_but(left: usize) -> Self {
        keep_memory_of_the_test();
        let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").expect("proc is mounted");
        let limit: usize = limit.trim().parse().expect("a number");
        let len = (limit + 16) * PAGE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping; calls that only this test's hooks see.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        let others = Self { start, len };
        // Every second page readable: two more mappings for each, until there is room for no more.
        let pages = (1..len / PAGE).step_by(2);
        let made = pages
            .take_while(|&page| others.protect(page, libc::PROT_READ))
            .count();
        assert!(
            made > 100,
            "room for {made} pairs only: the limit is {limit}"
        );
        // Whole again, from the last one on: two mappings less for each.
        for n in 1..=left.div_ceil(2) {
            assert!(others.protect(1 + 2 * (made - n), libc::PROT_NONE));
        }
        others
    }

    fn protect(&self, page: usize, prot: i32) -> bool {
        // SAFETY: a page of our own mapping, which nobody reads.
        unsafe { libc::mprotect(self.start.byte_add(page * PAGE), PAGE, prot) == 0 }
    }
}

/// The test's own memory, which the system's malloc serves, must not need a mapping later.
fn keep_memory_of_the_test() {
    const ENOUGH: usize = 8 << 20;
    // SAFETY: plain settings of this process's malloc.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 29);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 29);
    }
    // Parts that are no single mapping, freed and kept.
    let parts: Vec<Vec<u8>> = (0..ENOUGH / 65536).map(|_| vec![1; 65536]).collect();
    drop(std::hint::black_box(parts));
}

impl Drop for Others {
    fn drop(&mut self) {
        // SAFETY: our own mapping, whole.
        let gone = unsafe { libc::munmap(self.start, self.len) };
        assert_eq!(gone, 0);
    }
}
