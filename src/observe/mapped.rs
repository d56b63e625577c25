//! Growing memory of its own mapping: for what must not allocate from the heap that it watches.
//!
//! * **I1** The first `len` elements were written.
//! * **I2** A vector that found no memory says so until it is cleared, and holds what came before.

use crate::os;
use core::fmt;
use core::ptr::NonNull;

/// A vector of plain values.
pub(super) struct Mapped<T: Copy> {
    start: NonNull<T>,
    /// Elements there is room for; 0 until the first comes.
    room: usize,
    len: usize,
    is_cut: bool,
}

// SAFETY: the mapping is the vector's alone.
unsafe impl<T: Copy + Send> Send for Mapped<T> {}

impl<T: Copy> Default for Mapped<T> {
    fn default() -> Self {
        Self {
            start: NonNull::dangling(),
            room: 0,
            len: 0,
            is_cut: false,
        }
    }
}

impl<T: Copy> Drop for Mapped<T> {
    fn drop(&mut self) {
        if self.room > 0 {
            // SAFETY: mapped by `grow` with this length, and nobody's any more.
            unsafe { os::unmap(self.start.cast(), bytes::<T>(self.room)) };
        }
    }
}

/// Bytes of a mapping for `room` elements.
fn bytes<T>(room: usize) -> usize {
    (room * size_of::<T>()).next_multiple_of(os::page_size())
}

impl<T: Copy> Mapped<T> {
    /// The elements.
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: I1.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The elements, to change.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: I1.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Adds elements at the end. False, and nothing is added, when there is no memory.
    pub fn extend(&mut self, values: &[T]) -> bool {
        if self.room - self.len < values.len() && !self.grow(values.len()) {
            self.is_cut = true;
            return false;
        }
        // SAFETY: there is room, and the values lie elsewhere.
        unsafe {
            let end = self.start.add(self.len);
            end.copy_from_nonoverlapping(NonNull::from(values).cast(), values.len());
        }
        self.len += values.len();
        true
    }

    /// Adds an element. False when there is no memory.
    pub fn push(&mut self, value: T) -> bool {
        self.extend(&[value])
    }

    /// Removes all elements but keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
        self.is_cut = false;
    }

    /// Whether something found no memory.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Room for `more` elements, and then some.
    fn grow(&mut self, more: usize) -> bool {
        let least = os::page_size() / size_of::<T>().max(1);
        let Some(room) = self.len.checked_add(more) else {
            return false;
        };
        let room = room.next_power_of_two().max(least).max(1);
        let Some(start) = os::map(bytes::<T>(room), os::page_size()) else {
            return false;
        };
        let mut wider = Self {
            start: start.cast(),
            room,
            len: self.len,
            is_cut: self.is_cut,
        };
        // SAFETY: the new mapping is longer, and another one.
        unsafe {
            wider.start.copy_from_nonoverlapping(self.start, self.len);
        }
        core::mem::swap(self, &mut wider);
        wider.len = 0;
        true
    }
}

impl fmt::Write for Mapped<u8> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match self.extend(text.as_bytes()) {
            true => Ok(()),
            false => Err(fmt::Error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_stays_when_it_grows() {
        let mut numbers = Mapped::default();
        assert!((0..10_000u32).all(|n| numbers.push(n)));
        let expected: Vec<u32> = (0..10_000).collect();
        assert_eq!(numbers.as_slice(), expected);
        numbers.as_mut_slice()[7] = 1;
        assert_eq!(numbers.as_slice()[7], 1);
        numbers.clear();
        assert!(numbers.as_slice().is_empty() && !numbers.is_cut());
    }
}
