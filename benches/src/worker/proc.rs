//! The kernel's figures about this process, read without a single allocation.

use std::ffi::CStr;

/// CPU time and faults so far, of all threads, ended ones included.
#[derive(Clone, Copy, Default)]
pub struct Usage {
    /// Nanoseconds in user mode.
    pub user_ns: u64,
    /// Nanoseconds in the kernel.
    pub sys_ns: u64,
    /// Faults served without reading from a disk.
    pub minor_faults: u64,
    /// Involuntary context switches.
    pub preemptions: u64,
}

/// Figures of this process now.
pub fn usage() -> Usage {
    let mut raw = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `raw` is a writable rusage, and RUSAGE_SELF always exists.
    let raw = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, raw.as_mut_ptr());
        raw.assume_init()
    };
    let ns = |t: libc::timeval| t.tv_sec as u64 * 1_000_000_000 + t.tv_usec as u64 * 1_000;
    Usage {
        user_ns: ns(raw.ru_utime),
        sys_ns: ns(raw.ru_stime),
        minor_faults: raw.ru_minflt as u64,
        preemptions: raw.ru_nivcsw as u64,
    }
}

/// Calls `take` with the pieces of a file in order; nothing when it cannot be opened.
fn read_pieces(path: &CStr, mut take: impl FnMut(&[u8])) {
    let mut buffer = [0u8; 8192];
    // SAFETY: a valid path, and a buffer of the length given.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return;
        }
        loop {
            let n = libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len());
            if n <= 0 {
                break;
            }
            take(&buffer[..n as usize]);
        }
        libc::close(fd);
    }
}

/// The KiB figure on the line that starts with `key` in the first 8 KiB of a file of `Key:  N kB` lines; else 0.
fn kib(path: &CStr, key: &[u8]) -> u64 {
    let mut head = [0u8; 8192];
    let mut length = 0;
    read_pieces(path, |piece| {
        let n = piece.len().min(head.len() - length);
        head[length..length + n].copy_from_slice(&piece[..n]);
        length += n;
    });
    head[..length]
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(key))
        .map_or(0, |rest| {
            rest.iter()
                .filter(|b| b.is_ascii_digit())
                .fold(0, |sum, b| sum * 10 + u64::from(b - b'0'))
        })
}

/// Resident set now, KiB. From `smaps_rollup`, which counts pages; `status` may lag by 256 KiB.
pub fn rss_kib() -> u64 {
    kib(c"/proc/self/smaps_rollup", b"Rss:")
}

/// How much of the resident set lies in huge pages, KiB.
pub fn huge_kib() -> u64 {
    kib(c"/proc/self/smaps_rollup", b"AnonHugePages:")
}

/// High-water mark of the resident set, KiB. A new program starts a new mark, so nothing of the parent is in it.
pub fn peak_rss_kib() -> u64 {
    kib(c"/proc/self/status", b"VmHWM:")
}

/// Memory mappings of the process.
pub fn mappings() -> u64 {
    let mut lines = 0;
    read_pieces(c"/proc/self/maps", |piece| {
        lines += piece.iter().filter(|&&b| b == b'\n').count() as u64
    });
    lines
}
