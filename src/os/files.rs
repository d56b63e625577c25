//! Files, without the C library's buffers.

use core::ffi::{CStr, c_void};
use core::ops::Range;
use core::ptr::NonNull;

/// An open file; closed when dropped.
#[derive(Debug)]
pub struct File(i32);

/// Which file it is, whatever its name: device and number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    number: u64,
}

impl FileId {
    /// As the system tells it.
    pub(super) fn of(status: &libc::stat) -> Self {
        Self {
            device: status.st_dev,
            number: status.st_ino,
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: our own descriptor, closed once.
        unsafe { libc::close(self.0) };
    }
}

/// What `PROCMAP_QUERY` takes and gives (Linux 6.11, `linux/fs.h`: `struct procmap_query`).
#[repr(C)]
struct Query {
    size: u64,
    flags: u64,
    address: u64,
    start: u64,
    end: u64,
    /// The mapping's flags, page size, offset and file number; the file's device; names that are not asked for.
    rest: [u64; 8],
}

/// `_IOWR('f', 17, struct procmap_query)`.
const PROCMAP_QUERY: libc::Ioctl =
    (3 << 30 | (size_of::<Query>() as u32) << 16 | 0x6611) as libc::Ioctl;

/// The mapping that holds `address`. `None` if there is none, or the system is too old to say.
pub fn mapping_at(address: usize) -> Option<Range<usize>> {
    let file = File::open(c"/proc/self/maps")?;
    let mut query = Query {
        size: size_of::<Query>() as u64,
        flags: 0,
        address: address as u64,
        start: 0,
        end: 0,
        rest: [0; 8],
    };
    // SAFETY: the query is as long as it says.
    let answered = unsafe { libc::ioctl(file.0, PROCMAP_QUERY, &raw mut query) } == 0;
    let range = query.start as usize..query.end as usize;
    (answered && range.contains(&address)).then_some(range)
}

impl File {
    fn with(path: &CStr, flags: i32) -> Option<Self> {
        // SAFETY: `path` ends in a nul.
        let file = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0o600) };
        (file >= 0).then_some(Self(file))
    }

    /// Opens for reading.
    pub fn open(path: &CStr) -> Option<Self> {
        Self::with(path, libc::O_RDONLY)
    }

    /// Makes a file that was not there.
    pub fn create_new(path: &CStr) -> Option<Self> {
        Self::with(path, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL)
    }

    /// Makes a file, or empties it.
    pub fn create(path: &CStr) -> Option<Self> {
        Self::with(path, libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC)
    }

    /// Opens a file that is there, to write into it.
    pub fn open_to_write(path: &CStr) -> Option<Self> {
        Self::with(path, libc::O_RDWR)
    }

    /// Opens a file that is there, to write at its end.
    pub fn open_to_append(path: &CStr) -> Option<Self> {
        Self::with(path, libc::O_WRONLY | libc::O_APPEND)
    }

    /// Reads at the current place. 0 at the end of the file and on failure.
    pub fn read(&self, bytes: &mut [u8]) -> usize {
        // SAFETY: the buffer is as long as said.
        let n = unsafe { libc::read(self.0, bytes.as_mut_ptr().cast(), bytes.len()) };
        usize::try_from(n).unwrap_or(0)
    }

    /// Fills `bytes` from `offset` on. False when the file ends before, or on failure.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> bool {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &mut bytes[done..];
            let at = (offset + done as u64) as libc::off_t;
            // SAFETY: the buffer is as long as said.
            let n = unsafe { libc::pread(self.0, rest.as_mut_ptr().cast(), rest.len(), at) };
            match usize::try_from(n) {
                Ok(n) if n > 0 => done += n,
                _ => return false,
            }
        }
        true
    }

    /// Writes all of `bytes`. False when that failed, perhaps after some.
    pub fn write_all(&self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            // SAFETY: the buffer is as long as said.
            let n = unsafe { libc::write(self.0, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(n) {
                Ok(n) if n > 0 => rest = &rest[n..],
                _ if super::errno() == libc::EINTR => {}
                _ => return false,
            }
        }
        true
    }

    /// Makes the file `len` bytes long.
    pub fn truncate(&self, len: u64) -> bool {
        // SAFETY: our own descriptor.
        unsafe { libc::ftruncate(self.0, len as libc::off_t) == 0 }
    }

    /// Gets room on the disk for the first `len` bytes, so that writing them through a mapping cannot fail.
    pub fn allocate(&self, len: usize) -> bool {
        // SAFETY: our own descriptor.
        unsafe { libc::posix_fallocate(self.0, 0, len as libc::off_t) == 0 }
    }

    /// Bytes of the file, and which it is.
    pub fn status(&self) -> Option<(u64, FileId)> {
        // SAFETY: plain data of the stated type.
        let mut status = unsafe { core::mem::zeroed::<libc::stat>() };
        // SAFETY: a valid place to write.
        if unsafe { libc::fstat(self.0, &mut status) } != 0 {
            return None;
        }
        Some((status.st_size as u64, FileId::of(&status)))
    }

    /// Maps `len` bytes from `offset` (a multiple of the page size); what is written there is in the file, also when
    /// the process is killed.
    pub fn map_shared(&self, offset: u64, len: usize) -> Option<NonNull<u8>> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        self.map(offset, len, protection, libc::MAP_SHARED)
    }

    /// Maps `len` bytes from `offset` (a multiple of the page size) for reading, as long as the process lives.
    pub fn map_to_read(&self, offset: u64, len: usize) -> Option<&'static [u8]> {
        let start = self.map(offset, len, libc::PROT_READ, libc::MAP_PRIVATE)?;
        // SAFETY: mapped for ever and not written through this mapping.
        Some(unsafe { core::slice::from_raw_parts(start.as_ptr(), len) })
    }

    fn map(&self, offset: u64, len: usize, protection: i32, flags: i32) -> Option<NonNull<u8>> {
        let offset = offset as libc::off_t;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
        let p = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                len,
                protection,
                flags,
                self.0,
                offset,
            )
        };
        (p != libc::MAP_FAILED).then_some(())?;
        NonNull::new(p.cast())
    }
}

/// Removes a file; one that is not there is no failure.
pub fn remove_file(path: &CStr) {
    // SAFETY: `path` ends in a nul.
    unsafe { libc::unlink(path.as_ptr()) };
}

/// Makes a mapping read as zero in a child after fork. False on kernels that cannot.
///
/// # Safety
/// `start..start + len` is a mapping of [`super::map`]'s.
pub unsafe fn wipe_on_fork(start: NonNull<u8>, len: usize) -> bool {
    // SAFETY: ours by the caller's word.
    unsafe { libc::madvise(start.as_ptr().cast::<c_void>(), len, libc::MADV_WIPEONFORK) == 0 }
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place to write.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut time) };
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// The process that started this one.
pub fn parent_pid() -> u32 {
    // SAFETY: no conditions.
    unsafe { libc::getppid() as u32 }
}
