//! Messages, made on the stack and written with one system call.

use core::fmt::{self, Write};

/// A text of at most `N` bytes; what does not fit is cut.
#[derive(Clone)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Text<N> {
    /// An empty text.
    pub const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    /// Adds bytes that need not be UTF-8; what does not fit is cut.
    pub fn write_bytes(&mut self, bytes: &[u8]) {
        let n = bytes.len().min(N - self.len);
        self.bytes[self.len..self.len + n].copy_from_slice(&bytes[..n]);
        self.len += n;
    }

    /// The text for the system, up to its first nul; `None` when it fills all its room, and so may be cut.
    pub fn as_c_str(&self) -> Option<&core::ffi::CStr> {
        core::ffi::CStr::from_bytes_until_nul(&self.bytes).ok()
    }

    /// What was written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.write_bytes(s.as_bytes());
        Ok(())
    }
}

/// Most bytes of a line that [`say`] writes.
const LINE_BYTES: usize = 512;

/// Writes one line to standard error: `pymalloc: ` and `message`. Neither allocates nor locks.
pub fn say(message: fmt::Arguments<'_>) {
    let mut text = Text::<LINE_BYTES>::new();
    let _ = text.write_str("pymalloc: ");
    let _ = text.write_fmt(message);
    // A line that is cut ends, too.
    text.len = text.len.min(LINE_BYTES - 1);
    text.write_bytes(b"\n");
    let bytes = text.as_bytes();
    // SAFETY: plain write from this stack; a closed descriptor is the user's choice.
    unsafe { libc::write(2, bytes.as_ptr().cast(), bytes.len()) };
}

/// Reports corruption in one line and aborts. Neither allocates, unwinds nor locks. Hold no lock: what the program
/// runs for SIGABRT may allocate.
#[cold]
#[inline(never)]
pub fn fatal(message: fmt::Arguments<'_>) -> ! {
    fatal_after(message, || ())
}

/// As [`fatal`] for who holds locks: `let_go` frees them before the program's handler of SIGABRT runs.
#[cold]
#[inline(never)]
pub fn fatal_after(message: fmt::Arguments<'_>, let_go: fn()) -> ! {
    say(message);
    let_go();
    // SAFETY: ends the process.
    unsafe { libc::abort() }
}
