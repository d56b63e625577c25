//! Reports of many lines.

use super::text::Text;
use core::fmt::{self, Write};

/// Standard error as a place to write a report of many lines to, each with one system call.
pub struct Errors {
    line: Text<512>,
}

impl Errors {
    /// Nothing written yet.
    pub fn new() -> Self {
        Self { line: Text::new() }
    }

    fn flush(&mut self) {
        super::write_error(self.line.as_bytes());
        self.line = Text::new();
    }
}

impl Write for Errors {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for part in s.split_inclusive('\n') {
            if self.line.as_bytes().len() + part.len() > 512 {
                self.flush();
            }
            let _ = self.line.write_str(part);
            if part.ends_with('\n') {
                self.flush();
            }
        }
        Ok(())
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Ends the process.
pub fn abort() -> ! {
    // SAFETY: no conditions.
    unsafe { libc::abort() }
}
