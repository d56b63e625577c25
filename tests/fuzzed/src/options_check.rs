//! Options mean what their table says, whatever the environment holds: each bad one is a line on standard
//! error that names it, and changes nothing; each good one holds.
//!
//! The input is the values of `PYMALLOC`, `PYMALLOC_CONF` and `PYMALLOC_VERBOSE`, a line each. The shipped file
//! reads them; a naive reader of the same table says what must come of it.

use crate::obmalloc::extents::HugePages;
use crate::options::{Foreign, PurgeThread, Store};
use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

/// Reads the options that `input` holds. For a process of one thread: it writes the environment.
///
/// # Panics
/// When they do not mean what the table says.
pub fn check(input: &[u8]) {
    // The environment holds no nul.
    let mut lines = input.split(|byte| *byte == b'\n').map(|line| {
        let end = line.iter().position(|byte| *byte == 0);
        &line[..end.unwrap_or(line.len())]
    });
    let mut line = |name| {
        let value = lines.next().unwrap_or(b"");
        // SAFETY: nobody else reads the environment meanwhile.
        unsafe { std::env::set_var(name, OsStr::from_bytes(value)) };
        value
    };
    let (mode, conf, verbose) = (
        line("PYMALLOC"),
        line("PYMALLOC_CONF"),
        line("PYMALLOC_VERBOSE"),
    );
    let store = Store::new();
    let said = said_by(|| store.load());
    let (expected, complaints) = Expected::of(mode, conf, verbose);
    assert_eq!(Expected::in_force(&store), expected);
    let said: Vec<&[u8]> = said.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(said.len(), complaints.len(), "{said:?}");
    for (line, complaint) in said.iter().zip(&complaints) {
        assert!(line.starts_with(b"pymalloc: PYMALLOC"), "{line:?}");
        assert!(line.ends_with(b"\n"), "{line:?}");
        let text = &line[..line.len() - 1];
        assert!(text.iter().all(|byte| (32..127).contains(byte)), "{line:?}");
        let text = String::from_utf8_lossy(text);
        assert!(text.contains(complaint), "{text}: {complaint}");
    }
}

/// Some options are the preload library's alone.
const PRELOAD: bool = cfg!(feature = "preload");

/// What the shipped options say, and what they should.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    guarded: bool,
    debug: bool,
    frames: usize,
    sample: u32,
    foreign: Foreign,
    purge_thread: PurgeThread,
    purge_delay: u32,
    huge_pages: HugePages,
    limit: usize,
    reports_mismatch: bool,
    clears_deepbind: bool,
    zero_realloc_allocates: bool,
    zero_size_traps: bool,
    verbose: bool,
    pass_through: bool,
}

impl Expected {
    fn in_force(store: &Store) -> Self {
        Self {
            guarded: store.is_guarded(),
            debug: store.is_debug(),
            frames: store.frames(),
            sample: store.sample(),
            foreign: store.foreign(),
            purge_thread: store.purge_thread(),
            purge_delay: store.purge_delay(),
            huge_pages: store.huge_pages(),
            limit: store.limit(),
            reports_mismatch: store.reports_mismatch(),
            clears_deepbind: store.clears_deepbind(),
            zero_realloc_allocates: store.zero_realloc_allocates(),
            zero_size_traps: store.zero_size_traps(),
            verbose: store.verbose(),
            pass_through: store.pass_through(),
        }
    }

    /// And what is complained of, a word of each line.
    fn of(mode: &[u8], conf: &[u8], verbose: &[u8]) -> (Self, Vec<&'static str>) {
        let mut complaints = Vec::new();
        let debug = mode == b"debug";
        let pass_through = PRELOAD && mode == b"malloc";
        let serves = PRELOAD && mode.starts_with(b"serve:");
        if !matches!(mode, b"" | b"pymalloc" | b"debug") && !pass_through && !serves {
            complaints.push("unknown mode");
        }
        let mut values = Self {
            guarded: debug,
            debug,
            frames: 12,
            sample: 0,
            foreign: if PRELOAD {
                Foreign::Forward
            } else {
                Foreign::Abort
            },
            purge_thread: PurgeThread::Auto,
            purge_delay: 250,
            huge_pages: HugePages::WhenLarge,
            limit: usize::MAX,
            reports_mismatch: true,
            clears_deepbind: true,
            zero_realloc_allocates: false,
            zero_size_traps: true,
            verbose: !matches!(verbose, b"" | b"0"),
            pass_through,
        };
        for pair in conf.split(|byte| *byte == b',') {
            if pair.is_empty() {
                continue;
            }
            let mut parts = pair.splitn(2, |byte| *byte == b':');
            let key = parts.next().unwrap_or(b"");
            let value = parts.next().unwrap_or(b"");
            match values.set(key, value) {
                Some(true) => {}
                Some(false) => complaints.push("bad value"),
                None => complaints.push("unknown key"),
            }
        }
        values.frames = if debug { values.frames } else { 0 };
        values.zero_size_traps &= !debug;
        (values, complaints)
    }

    /// `None` for an unknown key, false for a bad value.
    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<bool> {
        let mut good = true;
        match (key, value) {
            (b"checks", b"on") => self.guarded = true,
            (b"checks", b"off") => self.guarded = self.debug,
            (b"deepbind", b"clear") => self.clears_deepbind = true,
            (b"deepbind", b"keep") => self.clears_deepbind = false,
            (b"foreign", b"forward") => self.foreign = Foreign::Forward,
            (b"foreign", b"abort") => self.foreign = Foreign::Abort,
            (b"foreign", b"leak") => self.foreign = Foreign::Leak,
            (b"mismatch", b"on") => self.reports_mismatch = true,
            (b"mismatch", b"off") => self.reports_mismatch = false,
            (b"purge_thread", b"auto") => self.purge_thread = PurgeThread::Auto,
            (b"purge_thread", b"on") => self.purge_thread = PurgeThread::On,
            (b"purge_thread", b"off") => self.purge_thread = PurgeThread::Off,
            (b"thp", b"default") => self.huge_pages = HugePages::WhenLarge,
            (b"thp", b"never") => self.huge_pages = HugePages::Never,
            (b"thp", b"always") => self.huge_pages = HugePages::Always,
            (b"zero_realloc", b"free") => self.zero_realloc_allocates = false,
            (b"zero_realloc", b"alloc") => self.zero_realloc_allocates = true,
            (b"zero_size", b"trap") => self.zero_size_traps = true,
            (b"zero_size", b"block") => self.zero_size_traps = false,
            (b"verbose", b"0") => self.verbose = false,
            (b"verbose", b"1") => self.verbose = true,
            (b"frames", value) => match number(value) {
                Some(n) if n <= 32 => self.frames = n as usize,
                _ => good = false,
            },
            (b"purge_delay", value) => match number(value) {
                Some(n) => self.purge_delay = n,
                None => good = false,
            },
            (b"limit", value) => match bytes(value) {
                Some(n) if n > 0 => self.limit = n,
                _ => good = false,
            },
            (b"sample", value) if PRELOAD => match number(value) {
                Some(n) => self.sample = n,
                None => good = false,
            },
            (
                b"checks" | b"deepbind" | b"foreign" | b"mismatch" | b"purge_thread" | b"thp"
                | b"zero_realloc" | b"zero_size" | b"verbose" | b"sample",
                _,
            ) => good = false,
            _ => return None,
        }
        Some(good)
    }
}

/// Digits, and nothing else, of a number of 32 bits.
fn number(text: &[u8]) -> Option<u32> {
    let digit = |sum: u64, byte: &u8| {
        let sum = (byte.is_ascii_digit()).then(|| sum * 10 + u64::from(byte - b'0'))?;
        (sum <= u64::from(u32::MAX)).then_some(sum)
    };
    let sum = text.iter().try_fold(0, digit)?;
    (!text.is_empty()).then_some(sum as u32)
}

/// Such a number of bytes, of KiB, MiB or GiB.
fn bytes(text: &[u8]) -> Option<usize> {
    let unit = match text.last() {
        Some(b'k' | b'K') => 1 << 10,
        Some(b'm' | b'M') => 1 << 20,
        Some(b'g' | b'G') => 1 << 30,
        _ => return number(text).map(|n| n as usize),
    };
    number(&text[..text.len() - 1])?
        .try_into()
        .ok()
        .and_then(|n: usize| n.checked_mul(unit))
}

/// What `f` writes to standard error.
fn said_by(f: impl FnOnce()) -> Vec<u8> {
    static FILE: OnceLock<(std::fs::File, i32)> = OnceLock::new();
    let (file, stderr) = FILE.get_or_init(|| {
        // SAFETY: new descriptors of this process.
        unsafe {
            let fd = libc::memfd_create(c"said".as_ptr(), 0);
            assert!(fd >= 0);
            use std::os::fd::FromRawFd;
            (std::fs::File::from_raw_fd(fd), libc::dup(2))
        }
    });
    use std::os::unix::fs::FileExt;
    file.set_len(0).expect("a file in memory");
    // SAFETY: both descriptors stay open.
    unsafe {
        libc::lseek(file.as_raw_fd(), 0, libc::SEEK_SET);
        libc::dup2(file.as_raw_fd(), 2);
    }
    f();
    // SAFETY: as before.
    unsafe { libc::dup2(*stderr, 2) };
    let len = file.metadata().expect("a file in memory").len();
    let mut text = vec![0; len as usize];
    file.read_exact_at(&mut text, 0).expect("a file in memory");
    text
}
