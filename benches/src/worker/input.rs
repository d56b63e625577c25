//! A prepared input file, mapped read-only. What lies behind the reader is dropped from the resident
//! set as it goes, so that the input of a replay does not hide the memory of the program replayed.

use crate::ops::{self, Header, Op};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::NonNull;

/// Bytes after which the part already read is dropped.
const STEP: usize = 1 << 20;

/// The mapped calls of a recording.
pub struct Calls {
    start: NonNull<u8>,
    bytes: usize,
    header: Header,
}

impl Calls {
    /// Maps a file of calls.
    ///
    /// # Errors
    /// Says which file is missing or damaged.
    pub fn open(path: &Path) -> Result<Calls, String> {
        let fail = |what: String| format!("{}: {what}", path.display());
        let file = File::open(path).map_err(|e| fail(e.to_string()))?;
        let bytes = file.metadata().map_err(|e| fail(e.to_string()))?.len() as usize;
        // SAFETY: a new private read-only mapping of a file that nobody writes to once it has its name.
        let raw = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ,
                libc::MAP_PRIVATE,
                file.as_raw_fd(),
                0,
            )
        };
        if raw == libc::MAP_FAILED {
            return Err(fail(std::io::Error::last_os_error().to_string()));
        }
        let start = NonNull::new(raw.cast()).expect("a mapping is not at null");
        let mut calls = Calls {
            start,
            bytes,
            header: Header {
                n_calls: 0,
                n_slots: 0,
            },
        };
        calls.header = ops::header(calls.file()).map_err(fail)?;
        Ok(calls)
    }

    fn file(&self) -> &[u8] {
        // SAFETY: the mapping has that many readable bytes as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    /// How many calls, and how many slots they need.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Calls `take` with every call in order.
    #[inline]
    pub fn for_each(&self, mut take: impl FnMut(Op)) {
        let mut behind = 0;
        for piece in self.file()[ops::HEADER_BYTES..].chunks(STEP) {
            for word in piece.chunks_exact(8) {
                take(Op::unpack(u64::from_le_bytes(
                    word.try_into().expect("eight bytes"),
                )));
            }
            // SAFETY: whole steps inside the mapping, clean file pages: a later read brings them back.
            unsafe {
                libc::madvise(
                    self.start.as_ptr().add(behind).cast(),
                    STEP.min(self.bytes - behind),
                    libc::MADV_DONTNEED,
                )
            };
            behind = (behind + STEP).min(self.bytes);
        }
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `open`; nobody borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
