//! Options from the environment, read once, before the first block is handed out.
//!
//! | variable | values |
//! |---|---|
//! | `PYMALLOC` | `pymalloc` (default), `debug` (CPython's debug hooks), by preload only: `malloc` (pass everything to the next malloc), `serve:ADDRESS` (figures over HTTP) |
//! | `PYMALLOC_CONF` | `key:value,key:value`, keys below |
//! | `PYMALLOCSTATS` | not empty: CPython's report on standard error before each new arena and at exit |
//! | `PYMALLOC_STATS_FILE` | path: a summary for the launcher, at exit |
//! | `PYMALLOC_VERBOSE` | not empty or 0: say what was noticed once |
//!
//! | key | values | default | meaning |
//! |---|---|---|---|
//! | `checks` | `off`, `on` | `off` | guard every block, and say in one line what was misused |
//! | `deepbind` | `clear`, `keep` | `clear` | preload only: whether `dlopen` clears RTLD_DEEPBIND, so that a library calls the malloc that all call |
//! | `frames` | 0 to 32 | 12 | frames kept of where a guarded block was made and freed, with `debug` |
//! | `foreign` | `forward`, `abort`, `leak` | `forward` by preload, `abort` else | a free of what is not ours |
//! | `limit` | bytes, with K, M or G | none | the most memory held; requests beyond it fail |
//! | `mismatch` | `on`, `off` | `on` | whether it is misuse that a guarded block is made by one API and freed by another, such as `malloc` and `delete` |
//! | `purge_delay` | milliseconds | 250 | age at which free memory goes back |
//! | `purge_thread` | `auto`, `on`, `off` | `auto` | whether a thread returns memory of an idle process |
//! | `sample` | 0 to 4294967295 | 0 | preload only: guard about one of so many allocations; 0: none |
//! | `thp` | `default`, `never`, `always` | `default` | huge pages behind arenas, when a thread's heap is large, and blocks above 1 MiB; none; all |
//! | `zero_size` | `trap`, `block` | `trap` | what C's `malloc(0)` gives: an address that must not be used, or 16 bytes |
//! | `zero_realloc` | `free`, `alloc` | `free` | what `realloc(p, 0)` does |
//! | `verbose` | `0`, `1` | 0 | as `PYMALLOC_VERBOSE` |
//!
//! An unknown key or value is one line on standard error and is otherwise ignored: an allocator that
//! refuses to start a program over a typo helps nobody, one that stays silent misleads. Privileged
//! programs ignore all of it.

use crate::obmalloc::extents::HugePages;
#[cfg(feature = "preload")]
use crate::obmalloc::list::Buffers;
use crate::os::{self, Lock};
use crate::sync::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering, const_unless_loom};
use core::ffi::CStr;

/// The keys there are.
const KEYS: &str = "checks, deepbind, foreign, frames, limit, mismatch, purge_delay, purge_thread, sample, thp, verbose, zero_realloc, zero_size";

/// What to do with a pointer that is not ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Foreign {
    /// Pass it to the next `free` in link order.
    Forward,
    /// One line and abort.
    Abort,
    /// Do nothing.
    Leak,
}

/// Whether a thread purges what an idle process no longer needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum PurgeThread {
    /// Once the process has a second thread.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// How blocks are guarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Guards {
    /// Not at all.
    None,
    /// By pads, tags and a quarantine.
    Checks,
    /// As CPython's debug hooks do.
    Debug,
}

/// The options in force. Written once under `lock`; read by anybody after `ready`.
pub struct Store {
    lock: Lock,
    ready: AtomicBool,
    guards: AtomicU8,
    frames: AtomicU32,
    sample: AtomicU32,
    foreign: AtomicU8,
    limit: AtomicUsize,
    reports_mismatch: AtomicBool,
    purge_thread: AtomicU8,
    purge_delay: AtomicU32,
    thp: AtomicU8,
    clears_deepbind: AtomicBool,
    zero_realloc_allocates: AtomicBool,
    zero_size_traps: AtomicBool,
    verbose: AtomicBool,
    #[cfg_attr(
        not(feature = "preload"),
        allow(dead_code, reason = "a Rust program's lists have buffers")
    )]
    records_sample: AtomicBool,
    reports: AtomicBool,
    pass_through: AtomicBool,
    executable_malloc: AtomicBool,
    max_heaps: AtomicU32,
    page: AtomicU32,
}

const DEFAULT_FOREIGN: Foreign = if cfg!(feature = "preload") {
    Foreign::Forward
} else {
    Foreign::Abort
};

impl Store {
    const_unless_loom! {
        /// The defaults.
        pub fn new() -> Self {
            Self {
                lock: Lock::new(),
                ready: AtomicBool::new(false),
                guards: AtomicU8::new(Guards::None as u8),
                frames: AtomicU32::new(12),
                sample: AtomicU32::new(0),
                foreign: AtomicU8::new(DEFAULT_FOREIGN as u8),
                limit: AtomicUsize::new(usize::MAX),
                reports_mismatch: AtomicBool::new(true),
                purge_thread: AtomicU8::new(PurgeThread::Auto as u8),
                purge_delay: AtomicU32::new(250),
                thp: AtomicU8::new(HugePages::WhenLarge as u8),
                clears_deepbind: AtomicBool::new(true),
                zero_realloc_allocates: AtomicBool::new(false),
                zero_size_traps: AtomicBool::new(true),
                verbose: AtomicBool::new(false),
                records_sample: AtomicBool::new(false),
                reports: AtomicBool::new(false),
                pass_through: AtomicBool::new(false),
                executable_malloc: AtomicBool::new(false),
                max_heaps: AtomicU32::new(1),
                page: AtomicU32::new(4096),
            }
        }
    }

    /// Reads the environment, the first time.
    #[inline]
    pub fn load(&self) {
        // Acquire: pairs with the Release below; the options are read Relaxed after it.
        if !self.ready.load(Ordering::Acquire) {
            self.load_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn load_slow(&self) {
        let _locked = self.lock.lock();
        if self.ready.load(Ordering::Relaxed) {
            return;
        }
        self.page.store(os::page_size() as u32, Ordering::Relaxed);
        self.max_heaps
            .store(4 * os::cpus() as u32, Ordering::Relaxed);
        if !os::is_privileged() {
            self.read_environment();
        }
        self.ready.store(true, Ordering::Release);
    }

    fn read_environment(&self) {
        let samples = [c"PYMALLOC_RECORD_SAMPLE", c"PYMALLOC_SERVE_SAMPLE"];
        if samples.iter().any(|name| os::environment(name).is_some()) {
            self.records_sample.store(true, Ordering::Relaxed);
        }
        if os::environment(c"PYMALLOCSTATS").is_some_and(|value| !value.is_empty()) {
            self.reports.store(true, Ordering::Relaxed);
        }
        if let Some(value) = os::environment(c"PYMALLOC_VERBOSE") {
            self.verbose
                .store(!matches!(value.to_bytes(), b"" | b"0"), Ordering::Relaxed);
        }
        if let Some(mode) = os::environment(c"PYMALLOC") {
            match mode.to_bytes() {
                b"" | b"pymalloc" => {}
                b"debug" => self.guards.store(Guards::Debug as u8, Ordering::Relaxed),
                b"malloc" if cfg!(feature = "preload") => {
                    self.pass_through.store(true, Ordering::Relaxed);
                }
                // Where to serve is the matter of who does.
                other if cfg!(feature = "preload") && other.starts_with(b"serve:") => {}
                other => os::say(format_args!(
                    "PYMALLOC: unknown mode \"{}\" (accepted: pymalloc, debug, malloc, serve:ADDRESS)",
                    Shown(other)
                )),
            }
        }
        let conf = os::environment(c"PYMALLOC_CONF").map_or(&b""[..], CStr::to_bytes);
        for pair in conf
            .split(|byte| *byte == b',')
            .filter(|pair| !pair.is_empty())
        {
            let colon = pair
                .iter()
                .position(|byte| *byte == b':')
                .unwrap_or(pair.len());
            let (key, value) = (&pair[..colon], pair.get(colon + 1..).unwrap_or(b""));
            self.set(key, value);
        }
    }

    fn set(&self, key: &[u8], value: &[u8]) {
        let accepted = self
            .set_for_misuse(key, value)
            .or_else(|| self.set_for_memory(key, value))
            .or_else(|| self.set_for_behaviour(key, value));
        match accepted {
            Some(Ok(())) => {}
            Some(Err(values)) => os::say(format_args!(
                "PYMALLOC_CONF: bad value \"{}\" for {} (accepted: {values})",
                Shown(value),
                Shown(key)
            )),
            None => os::say(format_args!(
                "PYMALLOC_CONF: unknown key \"{}\" (accepted: {KEYS})",
                Shown(key)
            )),
        }
    }

    /// The keys about misuse. `None` for another key; the accepted values if it is a bad one.
    fn set_for_misuse(&self, key: &[u8], value: &[u8]) -> Option<Result<(), &'static str>> {
        Some(match (key, value) {
            (b"checks", b"on" | b"off") => {
                // Relaxed, as all of them: published by `ready`. Debug mode has them all.
                if self.guards.load(Ordering::Relaxed) != Guards::Debug as u8 {
                    let guards = if value == b"on" {
                        Guards::Checks
                    } else {
                        Guards::None
                    };
                    self.guards.store(guards as u8, Ordering::Relaxed);
                }
                Ok(())
            }
            (b"checks", _) => Err("on, off"),
            (b"frames", _) => {
                let n = number(value).filter(|n| *n <= 32);
                n.map(|n| self.frames.store(n, Ordering::Relaxed))
                    .ok_or("0 to 32")
            }
            (b"foreign", _) => {
                let choices = [
                    (&b"forward"[..], Foreign::Forward as u8),
                    (b"abort", Foreign::Abort as u8),
                    (b"leak", Foreign::Leak as u8),
                ];
                choose(&self.foreign, &choices, value).ok_or("forward, abort, leak")
            }
            (b"sample", _) if cfg!(feature = "preload") => number(value)
                .map(|n| self.sample.store(n, Ordering::Relaxed))
                .ok_or("0 to 4294967295"),
            (b"sample", _) => Err("only in the preload library"),
            _ => return None,
        })
    }

    /// The keys about memory and the system; otherwise as [`Self::set_for_misuse`].
    fn set_for_memory(&self, key: &[u8], value: &[u8]) -> Option<Result<(), &'static str>> {
        Some(match key {
            b"purge_thread" => {
                let choices = [
                    (&b"auto"[..], PurgeThread::Auto as u8),
                    (b"on", PurgeThread::On as u8),
                    (b"off", PurgeThread::Off as u8),
                ];
                choose(&self.purge_thread, &choices, value).ok_or("auto, on, off")
            }
            b"thp" => {
                let choices = [
                    (&b"default"[..], HugePages::WhenLarge as u8),
                    (b"never", HugePages::Never as u8),
                    (b"always", HugePages::Always as u8),
                ];
                choose(&self.thp, &choices, value).ok_or("default, never, always")
            }
            b"limit" => bytes(value)
                .map(|bytes| self.limit.store(bytes, Ordering::Relaxed))
                .ok_or("bytes, such as 1500000, 512M or 2G"),
            b"purge_delay" => number(value)
                .map(|ms| self.purge_delay.store(ms, Ordering::Relaxed))
                .ok_or("milliseconds, 0 to 4294967295"),
            _ => return None,
        })
    }

    /// The keys about what calls do; otherwise as [`Self::set_for_misuse`].
    fn set_for_behaviour(&self, key: &[u8], value: &[u8]) -> Option<Result<(), &'static str>> {
        let (place, off, on, both) = match key {
            b"deepbind" => (&self.clears_deepbind, "keep", "clear", "clear, keep"),
            b"mismatch" => (&self.reports_mismatch, "off", "on", "on, off"),
            b"zero_realloc" => (&self.zero_realloc_allocates, "free", "alloc", "free, alloc"),
            b"zero_size" => (&self.zero_size_traps, "block", "trap", "trap, block"),
            b"verbose" => (&self.verbose, "0", "1", "0, 1"),
            _ => return None,
        };
        if value != off.as_bytes() && value != on.as_bytes() {
            return Some(Err(both));
        }
        place.store(value == on.as_bytes(), Ordering::Relaxed);
        Some(Ok(()))
    }

    /// Whether every block is guarded.
    pub fn is_guarded(&self) -> bool {
        self.guards.load(Ordering::Relaxed) != Guards::None as u8
    }

    /// Whether blocks are guarded as CPython's debug hooks do.
    pub fn is_debug(&self) -> bool {
        self.guards.load(Ordering::Relaxed) == Guards::Debug as u8
    }

    /// Frames to keep of where a guarded block was made and freed: a cost that one line does not want.
    pub fn frames(&self) -> usize {
        let frames = self.frames.load(Ordering::Relaxed) as usize;
        if self.is_debug() { frames } else { 0 }
    }

    /// Whether a guarded block that is made by one API and freed by another is reported.
    pub fn reports_mismatch(&self) -> bool {
        self.reports_mismatch.load(Ordering::Relaxed)
    }

    /// One of how many allocations is guarded; 0: none.
    pub fn sample(&self) -> u32 {
        self.sample.load(Ordering::Relaxed)
    }

    /// What to do with a pointer that is not ours.
    pub fn foreign(&self) -> Foreign {
        match self.foreign.load(Ordering::Relaxed) {
            0 => Foreign::Forward,
            1 => Foreign::Abort,
            _ => Foreign::Leak,
        }
    }

    /// Whether a thread purges.
    pub fn purge_thread(&self) -> PurgeThread {
        match self.purge_thread.load(Ordering::Relaxed) {
            0 => PurgeThread::Auto,
            1 => PurgeThread::On,
            _ => PurgeThread::Off,
        }
    }

    /// Of what kind threads' lists are: hidden where somebody samples for a recording or a heap profile.
    #[cfg(feature = "preload")]
    pub fn buffers(&self) -> Buffers {
        if self.records_sample.load(Ordering::Relaxed) {
            Buffers::Hidden
        } else {
            Buffers::Without
        }
    }

    /// Which memory is to be backed by huge pages.
    pub fn huge_pages(&self) -> HugePages {
        [HugePages::WhenLarge, HugePages::Never, HugePages::Always]
            .into_iter()
            .find(|choice| *choice as u8 == self.thp.load(Ordering::Relaxed))
            .unwrap_or(HugePages::WhenLarge)
    }

    /// The most bytes of memory to hold.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Milliseconds after which free memory goes back.
    pub fn purge_delay(&self) -> u32 {
        self.purge_delay.load(Ordering::Relaxed)
    }

    /// Whether `dlopen` clears RTLD_DEEPBIND.
    #[cfg_attr(
        not(all(feature = "preload", target_arch = "x86_64", target_env = "gnu")),
        allow(dead_code, reason = "a question of C's dlopen")
    )]
    pub fn clears_deepbind(&self) -> bool {
        self.clears_deepbind.load(Ordering::Relaxed)
    }

    /// Whether `realloc(p, 0)` gives a block instead of null.
    #[cfg_attr(
        not(feature = "preload"),
        allow(dead_code, reason = "a question of C's realloc")
    )]
    pub fn zero_realloc_allocates(&self) -> bool {
        self.zero_realloc_allocates.load(Ordering::Relaxed)
    }

    /// Whether `malloc(0)` gives an address that must not be used.
    pub fn zero_size_traps(&self) -> bool {
        self.zero_size_traps.load(Ordering::Relaxed) && !self.is_debug()
    }

    /// Whether CPython's report is printed before each arena and at exit.
    pub fn reports(&self) -> bool {
        self.reports.load(Ordering::Relaxed)
    }

    /// Whether to say what was noticed.
    pub fn verbose(&self) -> bool {
        self.verbose.load(Ordering::Relaxed)
    }

    /// Whether everything goes to another malloc.
    #[cfg_attr(
        not(feature = "preload"),
        allow(dead_code, reason = "a question of the preload")
    )]
    pub fn pass_through(&self) -> bool {
        self.pass_through.load(Ordering::Relaxed)
    }

    /// Whether the executable brought its own malloc.
    pub fn executable_malloc(&self) -> bool {
        self.executable_malloc.load(Ordering::Relaxed)
    }

    /// Sends everything to the executable's own malloc from now on.
    #[cfg_attr(
        not(feature = "preload"),
        allow(dead_code, reason = "a question of the preload")
    )]
    pub fn set_executable_malloc(&self) {
        self.executable_malloc.store(true, Ordering::Relaxed);
        self.pass_through.store(true, Ordering::Relaxed);
    }

    /// Most heaps: four per processor this process may use.
    pub fn max_heaps(&self) -> usize {
        self.max_heaps.load(Ordering::Relaxed) as usize
    }

    /// Bytes of a page of the machine.
    pub fn page(&self) -> usize {
        self.page.load(Ordering::Relaxed) as usize
    }
}

fn choose(place: &AtomicU8, choices: &[(&[u8], u8)], value: &[u8]) -> Option<()> {
    let (_, code) = choices.iter().find(|(name, _)| *name == value)?;
    place.store(*code, Ordering::Relaxed);
    Some(())
}

/// Digits alone: std would take a sign, too.
fn number(text: &[u8]) -> Option<u32> {
    let digits = text.iter().all(u8::is_ascii_digit);
    let text = core::str::from_utf8(text).ok().filter(|_| digits)?;
    text.parse().ok()
}

/// A number with a unit of 1024's powers, above 0.
fn bytes(text: &[u8]) -> Option<usize> {
    let (digits, shift) = match text.split_last()? {
        (b'K' | b'k', digits) => (digits, 10),
        (b'M' | b'm', digits) => (digits, 20),
        (b'G' | b'g', digits) => (digits, 30),
        _ => (text, 0),
    };
    let number = number(digits)? as usize;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

/// Bytes as text for a message: the first [`SHOWN`], and of them `?` for what is not printable ASCII.
pub(super) struct Shown<'a>(pub(super) &'a [u8]);

/// Bytes of an option that a message shows: it must keep room for what would be accepted.
const SHOWN: usize = 48;

impl core::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        use core::fmt::Write;
        for &byte in self.0.iter().take(SHOWN) {
            let printable = (32..127).contains(&byte);
            f.write_char(if printable { byte as char } else { '?' })?;
        }
        match self.0.len() > SHOWN {
            true => f.write_str("..."),
            false => Ok(()),
        }
    }
}
