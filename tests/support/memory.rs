//! What the kernel says about this process's memory, read without allocating.

#![allow(dead_code, reason = "each test binary uses the part it needs")]

use std::io::Read;
use std::time::{Duration, Instant};

/// Calls `f` with each line of a file, which is read through a buffer on the stack.
fn each_line(path: &str, mut f: impl FnMut(&[u8])) {
    let mut file = std::fs::File::open(path).expect("proc is mounted");
    let mut buffer = [0; 8192];
    let mut held = 0;
    loop {
        let n = file.read(&mut buffer[held..]).expect("proc is readable");
        if n == 0 {
            return;
        }
        held += n;
        let mut from = 0;
        while let Some(length) = buffer[from..held].iter().position(|&byte| byte == b'\n') {
            f(&buffer[from..from + length]);
            from += length + 1;
        }
        buffer.copy_within(from..held, 0);
        held -= from;
    }
}

fn number(line: &[u8]) -> usize {
    line.iter()
        .filter(|byte| byte.is_ascii_digit())
        .fold(0, |n, byte| n * 10 + usize::from(byte - b'0'))
}

/// The sum of a field of `/proc/self/smaps_rollup` or `status`, in bytes.
fn field(path: &str, name: &[u8]) -> usize {
    let mut bytes = 0;
    each_line(path, |line| {
        if line.starts_with(name) {
            bytes = number(&line[name.len()..]) * 1024;
        }
    });
    bytes
}

/// Bytes of this process in huge pages.
#[allow(dead_code, reason = "not every test that measures memory looks")]
pub fn huge_pages() -> usize {
    field("/proc/self/smaps_rollup", b"AnonHugePages:")
}

/// Resident bytes, pages of files not counted. `statm` would do, but it counts in batches per processor.
pub fn resident() -> usize {
    field("/proc/self/smaps_rollup", b"Anonymous:")
}

/// Bytes of address space.
pub fn address_space() -> usize {
    field("/proc/self/status", b"VmSize:")
}

/// Number of mappings.
pub fn mappings() -> usize {
    let mut n = 0;
    each_line("/proc/self/maps", |_| n += 1);
    n
}

/// Number of threads.
pub fn threads() -> usize {
    field("/proc/self/status", b"Threads:") / 1024
}

/// Polls until `f` holds; false after `limit`.
pub fn comes_true(limit: Duration, mut f: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if f() {
            return true;
        }
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes as MiB, for messages.
pub fn mib(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64)
}
