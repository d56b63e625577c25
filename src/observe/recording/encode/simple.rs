//! The usual events, of blocks near each other: the same bytes, at half the work.
//!
//! The numbers are known to be short, so none of them needs a test of its own. Whoever writes has made room before, and is
//! the thread that wrote last, under the ticket said last.

use super::super::format::{kind, zigzag};
use super::{Chunk, units, varint_len, word_of};

impl Chunk<'_> {
    /// As [`Self::alloc`], of a block in a list that is neither zeroed nor aligned, by the last event's thread. False if
    /// nothing was done, because it lies far from the last one.
    ///
    /// # Safety
    /// There is room for [`EVENT_BYTES`].
    #[inline(always)]
    pub unsafe fn alloc_small(
        &mut self,
        address: usize,
        size: usize,
        stack: Option<Ready>,
    ) -> bool {
        debug_assert!(size < 1 << 25);
        let address = units(address);
        let distance = zigzag(address - self.last_alloc);
        if distance >= FAR {
            return false;
        }
        self.last_alloc = address;
        // SAFETY: the caller's; the numbers are that small.
        unsafe {
            let mut end = put_short::<4>(self.next_byte(), (size as u64) << 3 | kind::ALLOC);
            end = put_short::<5>(end, distance);
            if let Some(stack) = stack {
                end = stack.put(end);
            }
            self.ends_at(end);
        }
        true
    }

    /// As [`Self::free`], by the last event's thread. False if nothing was done, because it lies far from the last ones.
    ///
    /// # Safety
    /// As [`Self::alloc_small`].
    #[inline(always)]
    pub unsafe fn free_small(&mut self, address: usize) -> bool {
        let address = units(address);
        let place = self.distance(address);
        if place >= FAR >> 3 {
            return false;
        }
        self.last_free = address;
        // SAFETY: the caller's; the number is that small.
        unsafe {
            let end = put_short::<5>(self.next_byte(), place << 3 | kind::FREE);
            self.ends_at(end);
        }
        true
    }

    /// As [`Self::resize`], of blocks in lists, by the last event's thread. False if nothing was done, because they lie far
    /// from each other or the last ones.
    ///
    /// # Safety
    /// As [`Self::alloc_small`].
    #[inline(always)]
    pub unsafe fn resize_small(
        &mut self,
        old: usize,
        new: usize,
        size: usize,
        stack: Option<Ready>,
    ) -> bool {
        debug_assert!(size < 1 << 25);
        let (old, new) = (units(old), units(new));
        let (place, moved) = (self.distance(old), zigzag(new - old));
        if place >= FAR || moved >= FAR {
            return false;
        }
        (self.last_free, self.last_alloc) = (old, new);
        // SAFETY: the caller's; the numbers are that small.
        unsafe {
            let mut end = put_short::<4>(self.next_byte(), (size as u64) << 3 | kind::RESIZE);
            end = put_short::<5>(end, place);
            end = put_short::<5>(end, moved);
            if let Some(stack) = stack {
                end = stack.put(end);
            }
            self.ends_at(end);
        }
        true
    }

    /// Where the next byte goes.
    #[inline(always)]
    fn next_byte(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr().wrapping_add(self.at)
    }

    /// The next byte goes there now.
    ///
    /// # Safety
    /// It is in the chunk.
    #[inline(always)]
    unsafe fn ends_at(&mut self, end: *mut u8) {
        // SAFETY: both lie in the chunk.
        self.at = unsafe { end.cast_const().offset_from_unsigned(self.bytes.as_ptr()) };
    }
}

/// Least number of more than five bytes.
const FAR: u64 = 1 << 35;

/// Length of a varint of at most `MOST` bytes, up to five. Comparisons: to find the highest bit takes several times as
/// long on processors without an instruction for that.
#[inline(always)]
fn short_len<const MOST: usize>(value: u64) -> usize {
    debug_assert!(value >> (7 * MOST) == 0);
    let longer = |bytes: usize| usize::from(MOST > bytes && value >> (7 * bytes) != 0);
    1 + longer(1) + longer(2) + longer(3) + longer(4)
}

/// Writes a varint of at most `MOST` bytes, up to five; where it ends.
///
/// # Safety
/// There are eight bytes at `at`.
#[inline(always)]
unsafe fn put_short<const MOST: usize>(at: *mut u8, value: u64) -> *mut u8 {
    let len = short_len::<MOST>(value);
    let word = word_of(value, len).to_le_bytes();
    // SAFETY: the caller's.
    unsafe { at.cast::<[u8; 8]>().write(word) };
    // SAFETY: as above.
    unsafe { at.add(len) }
}

/// A number of 32 bits as it is written: at most five bytes, and in the highest one how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready(u64);

impl Ready {
    /// Of this number.
    pub fn new(number: u32) -> Self {
        let len = varint_len(u64::from(number));
        Self(word_of(u64::from(number), len) | (len as u64) << 56)
    }

    /// Writes it; where it ends.
    ///
    /// # Safety
    /// There are eight bytes at `at`.
    #[inline(always)]
    unsafe fn put(self, at: *mut u8) -> *mut u8 {
        // SAFETY: the caller's. What is above the number is written over, or lies behind the last event.
        unsafe { at.cast::<[u8; 8]>().write(self.0.to_le_bytes()) };
        // SAFETY: as above.
        unsafe { at.add((self.0 >> 56) as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::format::CHUNK_BYTES;
    use super::super::{Alloc, Chunk, EVENT_BYTES};
    use super::*;

    /// Numbers that look random.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, most: u64) -> u64 {
            self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (self.0 >> 24) % most
        }

        /// Mostly near, sometimes as far as addresses go.
        fn address(&mut self) -> usize {
            let bits = [10, 20, 30, 40, 47][self.below(5) as usize];
            (self.below(1 << bits) as usize) << 4 & ((1 << 47) - 1)
        }
    }

    #[test]
    fn simple_events_are_the_bytes_of_any_others() {
        let mut memory = [Box::new([0; CHUNK_BYTES]), Box::new([0; CHUNK_BYTES])];
        let [one, other] = &mut memory;
        let (mut simple, mut general) = (Chunk::new(one, 0, true), Chunk::new(other, 0, true));
        let (mut numbers, mut n_simple) = (Numbers(7), 0);
        while simple.has_room(3 * EVENT_BYTES) {
            let size = numbers.below(1 << 18) as usize;
            let stack = numbers.below(1 << 32) as u32;
            let (old, new) = (numbers.address(), numbers.address());
            // SAFETY: there is room.
            let done = unsafe {
                match numbers.below(3) {
                    0 => {
                        let block = Alloc {
                            address: new,
                            size,
                            align: 16,
                            zeroed: false,
                        };
                        general.alloc(0, &block, stack);
                        simple.alloc_small(new, size, Some(Ready::new(stack))) || {
                            simple.alloc(0, &block, stack);
                            false
                        }
                    }
                    1 => {
                        general.free(0, old);
                        simple.free_small(old) || {
                            simple.free(0, old);
                            false
                        }
                    }
                    _ => {
                        general.resize(0, old, new, size, stack);
                        simple.resize_small(old, new, size, Some(Ready::new(stack))) || {
                            simple.resize(0, old, new, size, stack);
                            false
                        }
                    }
                }
            };
            n_simple += u32::from(done);
            assert_eq!(simple.at, general.at);
        }
        assert_eq!(simple.bytes[..simple.at], general.bytes[..general.at]);
        assert!(n_simple > 1000, "{n_simple}");
    }
}
