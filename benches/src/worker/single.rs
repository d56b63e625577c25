//! How long does one call take, in CPU time?
//!
//! Reading the thread's CPU clock is a system call, ten times as long as what is measured. So each call
//! lies between two readings of the monotonic clock, which cost some 20 ns, and the CPU clock is read
//! only where the time between two readings exceeds [`SLOW`]:
//!
//! ```text
//!  CPU clock   c0 ─────────────────────────────────────────────── c1
//!  monotonic   t0 ─ gap ─[call]─ gap ─[call]─ gap ─[ slow call ]─ t1
//! ```
//!
//! I1. A thread that loses its CPU loses it for longer than `SLOW`. So whatever the window from `t0` to
//!     `t1` has lost, `(t1 - t0) - (c1 - c0)`, was lost in its last piece: every piece that is slow, a
//!     call or a gap, closes a window.
//! I2. A window is at most [`WINDOW`] long, so that two clocks that run apart by a ten-thousandth
//!     differ by a tenth of a microsecond.
//!
//! What interrupts and a hypervisor take from a running thread counts as CPU time: the largest of a
//! run says little, the median of the largest over many runs more.

use crate::outcome::Latency;
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// From here on a piece is looked at with the CPU clock.
const SLOW: Duration = Duration::from_micros(1);
/// Longest window.
const WINDOW: Duration = Duration::from_millis(1);
/// Longest call told apart, nanoseconds.
const LONGEST: u64 = 10_000_000_000;

/// CPU time of this thread so far.
fn cpu_clock() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable, and the clock exists for every thread.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Measures the calls of one thread.
pub struct Single {
    calls: Histogram<u64>,
    window: (Instant, Duration),
    /// When the last piece ended.
    last: Instant,
}

impl Default for Single {
    fn default() -> Single {
        Single::new()
    }
}

impl Single {
    /// A measurement without calls.
    pub fn new() -> Single {
        let now = Instant::now();
        Single {
            calls: Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are in order"),
            window: (now, cpu_clock()),
            last: now,
        }
    }

    /// Makes a call and measures it.
    #[inline]
    pub fn call<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let before = Instant::now();
        if before - self.last > SLOW || before - self.window.0 > WINDOW {
            self.open();
        }
        let before = Instant::now();
        let value = call();
        let after = Instant::now();
        self.last = after;
        let took = after - before;
        let took = if took > SLOW {
            took.saturating_sub(self.lost(after))
        } else {
            took
        };
        self.calls.saturating_record(took.as_nanos() as u64);
        value
    }

    /// Opens a window now.
    #[cold]
    fn open(&mut self) {
        let cpu = cpu_clock();
        self.last = Instant::now();
        self.window = (self.last, cpu);
    }

    /// Closes the window at `end`: how long this thread was without a CPU in it.
    #[cold]
    fn lost(&mut self, end: Instant) -> Duration {
        let (started, cpu) = self.window;
        let ran = cpu_clock() - cpu;
        self.open();
        (end - started).saturating_sub(ran)
    }

    /// Adds the calls of another thread.
    pub fn add(&mut self, other: &Single) {
        self.calls
            .add(&other.calls)
            .expect("all have the same bounds");
    }

    /// The percentiles, less what an empty call takes.
    pub fn latency(&self) -> Latency {
        let clock = empty_call();
        let net = |ns: u64| (ns as f64 - clock).max(0.0);
        let at = |quantile: f64| net(self.calls.value_at_quantile(quantile));
        let tail = (0..=24).map(|i| {
            let fraction = 10f64.powf(-f64::from(i) / 4.0);
            (fraction, at(1.0 - fraction))
        });
        Latency {
            calls: self.calls.len(),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: net(self.calls.max()),
            clock,
            tail: tail.collect(),
        }
    }
}

/// The median of calls that do nothing, nanoseconds.
fn empty_call() -> f64 {
    let mut empty = Single::new();
    for _ in 0..10_000 {
        empty.call(|| std::hint::black_box(()));
    }
    empty.calls.value_at_quantile(0.5) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_is_no_cpu_time_and_work_is() {
        let mut single = Single::new();
        single.call(|| std::thread::sleep(Duration::from_millis(20)));
        assert!(single.latency().max < 5e6, "{}", single.latency().max);
        single.call(|| {
            let until = cpu_clock() + Duration::from_millis(20);
            while cpu_clock() < until {}
        });
        let longest = single.latency().max;
        assert!((19e6..60e6).contains(&longest), "{longest}");
    }

    #[test]
    fn sleep_between_calls_is_charged_to_none() {
        let mut single = Single::new();
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(1));
            single.call(|| std::hint::black_box(1));
        }
        let latency = single.latency();
        assert_eq!(latency.calls, 20);
        assert!(latency.max < 500_000.0, "{}", latency.max);
    }
}
