//! Makes some of the machine's free memory ready before a process is measured.
//!
//! Free memory is not all alike. A virtual machine may have given it back to its host, which then has to find it again
//! when it is touched, page by page; memory that was in use just now is at hand. Whoever runs after a process that has
//! touched much would have an advantage.

use std::ptr::{null_mut, write_volatile};

/// So much of it: more than all but the heavy workloads use, and done within some 16 ms where it is at hand.
const READY_BYTES: usize = 128 << 20;
/// A huge page; less than that is not given back to a host.
const HUGE_BYTES: usize = 2 << 20;
/// The least page.
const PAGE_BYTES: usize = 4 << 10;

/// Touches so much memory, in huge pages where the machine has them, and gives it back at once: to whatever starts
/// next. Where it cannot be mapped, everything stays as it is.
pub fn make_ready() {
    touch(READY_BYTES);
}

/// Maps, touches and unmaps `bytes`; whether they could be had.
fn touch(bytes: usize) -> bool {
    let mapped_bytes = bytes.saturating_add(HUGE_BYTES);
    // SAFETY: a new mapping, which overlaps nothing.
    let mapping = unsafe {
        libc::mmap(
            null_mut(),
            mapped_bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if mapping == libc::MAP_FAILED {
        return false;
    }
    let start = mapping.map_addr(|address| address.next_multiple_of(HUGE_BYTES));
    // SAFETY: inside the mapping, which is one huge page longer. Advice that is refused changes nothing.
    unsafe { libc::madvise(start, bytes, libc::MADV_HUGEPAGE) };
    for offset in (0..bytes).step_by(PAGE_BYTES) {
        // SAFETY: below `bytes`, so inside the mapping.
        let page = unsafe { start.cast::<u8>().add(offset) };
        // SAFETY: writable, and nobody else's.
        unsafe { write_volatile(page, 1) };
    }
    // SAFETY: the whole of the mapping from above, which nobody looks at any more.
    unsafe { libc::munmap(mapping, mapped_bytes) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute;
    use pymalloc_bench::outcome::Outcome;
    use std::process::Command;
    use std::time::Duration;

    /// Pages this thread has touched first, large or small.
    fn n_faults() -> usize {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: a writable rusage, for which zeroed is a value; a thread can always ask for its own.
        let usage = unsafe {
            libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
            usage.assume_init()
        };
        usage.ru_minflt as usize
    }

    #[test]
    fn every_part_is_touched_before_a_process_is_measured() {
        let line = serde_json::to_string(&Outcome::default()).unwrap();
        let mut command = Command::new("echo");
        let before = n_faults();
        execute::outcome(command.arg(line), Duration::from_secs(60), false).unwrap();
        let n = n_faults() - before;
        assert!(n >= READY_BYTES / HUGE_BYTES, "{n} faults");
    }

    #[test]
    fn it_is_given_back() {
        assert!(touch(HUGE_BYTES));
    }

    #[test]
    fn a_mapping_that_is_refused_is_borne() {
        assert!(!touch(1 << 60));
    }
}
