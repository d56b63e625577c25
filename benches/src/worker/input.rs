//! A prepared input file, mapped read-only. What lies behind the reader is dropped from the resident
//! set as it goes, so that the input of a replay does not hide the memory of the program replayed.

use crate::ops::{self, Op};
use crate::script::{CALL_BYTES, Call, Header};
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::NonNull;

/// Bytes after which the part already read is dropped: a multiple of every page size there is, and little
/// enough that a reader per thread does not show in the resident set.
const STEP: usize = 64 << 10;

/// A file in memory, read-only.
struct Mapped {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping is owned like a boxed slice.
unsafe impl Send for Mapped {}
// SAFETY: it is only read.
unsafe impl Sync for Mapped {}

impl Mapped {
    fn open(path: &Path) -> Result<Mapped, String> {
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
        Ok(Mapped { start, bytes })
    }

    fn file(&self) -> &[u8] {
        // SAFETY: the mapping has that many readable bytes as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    /// Calls `take` with the pieces of a part of the file in order, [`STEP`] bytes each but the last, and
    /// drops each from the resident set once it was taken.
    fn for_each_piece(&self, part: Range<usize>, mut take: impl FnMut(&[u8])) {
        for at in part.clone().step_by(STEP) {
            take(&self.file()[at..part.end.min(at + STEP)]);
            let piece = at & !(STEP - 1)..part.end.min(at + STEP) & !(STEP - 1);
            if !piece.is_empty() {
                // SAFETY: whole pages inside the mapping, clean file pages: a later read brings them back.
                unsafe {
                    libc::madvise(
                        self.start.as_ptr().add(piece.start).cast(),
                        piece.len(),
                        libc::MADV_DONTNEED,
                    )
                };
            }
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `open`; nobody borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// The mapped calls of a recording of CPython.
pub struct Calls {
    file: Mapped,
    header: ops::Header,
}

impl Calls {
    /// Maps a file of calls.
    ///
    /// # Errors
    /// Says which file is missing or damaged.
    pub fn open(path: &Path) -> Result<Calls, String> {
        let file = Mapped::open(path)?;
        let header =
            ops::header(file.file()).map_err(|what| format!("{}: {what}", path.display()))?;
        Ok(Calls { file, header })
    }

    /// How many calls, and how many slots they need.
    pub fn header(&self) -> ops::Header {
        self.header
    }

    /// Calls `take` with every call in order.
    #[inline]
    pub fn for_each(&self, mut take: impl FnMut(Op)) {
        let all = ops::HEADER_BYTES..self.file.bytes;
        self.file.for_each_piece(all, |piece| {
            for word in piece.chunks_exact(8) {
                take(Op::unpack(u64::from_le_bytes(
                    word.try_into().expect("eight bytes"),
                )));
            }
        });
    }
}

/// The mapped calls of a recording of any program, thread by thread.
pub struct Threads {
    file: Mapped,
    header: Header,
    /// Where the calls begin, bytes.
    start: usize,
}

impl Threads {
    /// Maps a file of calls.
    ///
    /// # Errors
    /// Says which file is missing or damaged.
    pub fn open(path: &Path) -> Result<Threads, String> {
        let file = Mapped::open(path)?;
        let (header, start) =
            Header::read(file.file()).map_err(|what| format!("{}: {what}", path.display()))?;
        Ok(Threads {
            file,
            header,
            start,
        })
    }

    /// What the file says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Calls `take` with every call of a thread in order.
    #[inline]
    pub fn for_each(&self, thread: usize, mut take: impl FnMut(Call)) {
        let before: usize = self.header.n_calls[..thread].iter().sum();
        let start = self.start + before * CALL_BYTES;
        let part = start..start + self.header.n_calls[thread] * CALL_BYTES;
        self.file.for_each_piece(part, |piece| {
            for call in piece.chunks_exact(CALL_BYTES) {
                take(Call::unpack(call.try_into().expect("chunks of that size")));
            }
        });
    }
}
