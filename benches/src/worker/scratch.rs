//! Memory for the workloads' own books (slot tables, generated inputs), mapped beside the allocator
//! under test, so that neither its time nor its resident set is in the figures of that allocator.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Types for which all-zero bytes are a value, and which need no drop.
///
/// # Safety
/// 1. Zeroed memory is a valid value of the type.
/// 2. The type needs no drop.
pub unsafe trait Zeroable {}
// SAFETY: 1. Integers are valid for any bits. 2. Here and below, all of them are `Copy`.
unsafe impl Zeroable for u8 {}
// SAFETY: 1. As above.
unsafe impl Zeroable for u32 {}
// SAFETY: 1. As above.
unsafe impl Zeroable for u64 {}
// SAFETY: 1. A null pointer is a valid raw pointer.
unsafe impl Zeroable for *mut u8 {}
// SAFETY: 1. Both halves are integers.
unsafe impl Zeroable for (u32, u32) {}
// SAFETY: 1. A null pointer and an integer.
unsafe impl Zeroable for (*mut u8, usize) {}

/// A zeroed slice in a mapping of its own; unmapped on drop.
pub struct Scratch<T: Zeroable> {
    start: NonNull<T>,
    length: usize,
}

// SAFETY: the mapping is owned like a boxed slice, and a raw pointer in it is data here, not shared state.
unsafe impl<T: Zeroable> Send for Scratch<T> {}
// SAFETY: as above; shared access only reads.
unsafe impl<T: Zeroable> Sync for Scratch<T> {}

impl<T: Zeroable> Scratch<T> {
    /// `length` zeroed elements.
    ///
    /// # Panics
    /// When the system has no memory.
    pub fn new(length: usize) -> Scratch<T> {
        let bytes = (length * size_of::<T>()).max(1);
        // SAFETY: a new anonymous mapping, placed by the kernel.
        let raw = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert!(
            raw != libc::MAP_FAILED,
            "no memory for {bytes} bytes of the bench's own"
        );
        Scratch {
            start: NonNull::new(raw.cast()).expect("a mapping is not at null"),
            length,
        }
    }
}

impl<T: Zeroable> Scratch<T> {
    /// Makes all of it resident and says how much that is, bytes.
    pub fn make_resident(&mut self) -> usize {
        let bytes = self.length * size_of::<T>();
        for at in (0..bytes).step_by(4096) {
            // SAFETY: inside the mapping, which is borrowed mutably; what is there is written back.
            unsafe {
                let byte = self.start.as_ptr().cast::<u8>().add(at);
                byte.write_volatile(byte.read_volatile());
            }
        }
        bytes
    }
}

impl<T: Zeroable> Drop for Scratch<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, with its length; nobody can hold a borrow of it any more.
        unsafe {
            libc::munmap(
                self.start.as_ptr().cast(),
                (self.length * size_of::<T>()).max(1),
            )
        };
    }
}

impl<T: Zeroable> Deref for Scratch<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `length` elements were mapped, zeroed, and zero is a value.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<T: Zeroable> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

/// A string in scratch memory, written with `write!`.
pub struct Text {
    bytes: Scratch<u8>,
    length: usize,
}

impl Text {
    /// An empty string with room for `capacity` bytes; memory is used as it is written.
    pub fn new(capacity: usize) -> Text {
        Text {
            bytes: Scratch::new(capacity),
            length: 0,
        }
    }

    /// What was written.
    pub fn as_str(&self) -> &str {
        // SAFETY: only `write_str` writes, and only whole strings.
        unsafe { std::str::from_utf8_unchecked(&self.bytes[..self.length]) }
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let end = self.length + s.len();
        self.bytes
            .get_mut(self.length..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(s.as_bytes());
        self.length = end;
        Ok(())
    }
}
