//! User CPU time and resident memory of this process.

use super::Sample;

fn user_ns() -> f64 {
    // SAFETY: a plain struct, filled by the call.
    let usage = unsafe {
        let mut usage = core::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    // System time, too: page faults are part of what an allocator costs.
    let ns = |time: libc::timeval| time.tv_sec as f64 * 1e9 + time.tv_usec as f64 * 1e3;
    ns(usage.ru_utime) + ns(usage.ru_stime)
}

/// Bytes resident now.
pub fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|field| field.parse::<f64>().ok());
    pages.expect("statm has numbers") * 4096.0
}

/// Runs `work` on `n` objects: nanoseconds of CPU per object.
pub fn time(n: usize, work: impl FnOnce()) -> Sample {
    let before = user_ns();
    work();
    Sample {
        value: (user_ns() - before) / n as f64,
        more: Vec::new(),
    }
}
