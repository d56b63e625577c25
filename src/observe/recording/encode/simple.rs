//! The usual events, of blocks near each other: the same bytes, at half the work.
//!
//! The numbers are known to be short, so none of them needs a test of its own. Whoever writes has made room before, and is
//! the thread that wrote last, under the ticket said last.

use super::super::format::{CHUNK_BYTES, CHUNK_HEADER_BYTES, kind};
use super::{Chunk, EVENT_BYTES, between, varint_len, word_of};

impl Chunk<'_> {
    /// As [`Self::alloc`], of a block in a list that is not aligned, by the last event's thread, behind `len` bytes of
    /// events. Its bytes; `None` if nothing was done, because it lies far from the last one.
    ///
    /// # Safety
    /// There is room for [`EVENT_BYTES`], and the address is a multiple of 16.
    #[inline(always)]
    pub unsafe fn alloc_small(
        &mut self,
        len: usize,
        address: usize,
        size: usize,
        zeroed: bool,
        stack: Option<Ready>,
    ) -> Option<usize> {
        debug_assert!(size < 1 << 25);
        let kind = match zeroed {
            true => kind::ALLOC_ZEROED,
            false => kind::ALLOC,
        };
        let distance = between(self.last_alloc, address as i64);
        if distance >= FAR_ALLOC {
            return None;
        }
        self.last_alloc = address as i64;
        // SAFETY: the caller's; the numbers are that small.
        unsafe {
            let start = self.byte_at(len);
            let mut end = put_short::<4>(start, (size as u64) << 3 | kind);
            end = put_short::<4>(end, distance);
            if let Some(stack) = stack {
                end = stack.put(end);
            }
            Some(end.offset_from_unsigned(start))
        }
    }

    /// As [`Self::free`], likewise. `None` if nothing was done, because it lies far from the last ones.
    ///
    /// # Safety
    /// As [`Self::alloc_small`].
    #[inline(always)]
    pub unsafe fn free_small(&mut self, len: usize, address: usize) -> Option<usize> {
        let place = self.distance(address as i64);
        if place >= FAR >> 3 {
            return None;
        }
        self.last_free = address as i64;
        // SAFETY: the caller's; the number is that small.
        unsafe {
            let start = self.byte_at(len);
            let end = put_short::<5>(start, place << 3 | kind::FREE);
            Some(end.offset_from_unsigned(start))
        }
    }

    /// As [`Self::resize`], of blocks in lists, likewise. `None` if nothing was done, because they lie far from each other or
    /// the last ones.
    ///
    /// # Safety
    /// As [`Self::alloc_small`].
    #[inline(always)]
    pub unsafe fn resize_small(
        &mut self,
        len: usize,
        old: usize,
        new: usize,
        size: usize,
        stack: Option<Ready>,
    ) -> Option<usize> {
        debug_assert!(size < 1 << 25);
        let (old, new) = (old as i64, new as i64);
        let (place, moved) = (self.distance(old), between(old, new));
        if place >= FAR || moved >= FAR {
            return None;
        }
        (self.last_free, self.last_alloc) = (old, new);
        // SAFETY: the caller's; the numbers are that small.
        unsafe {
            let start = self.byte_at(len);
            let mut end = put_short::<4>(start, (size as u64) << 3 | kind::RESIZE);
            end = put_short::<5>(end, place);
            end = put_short::<5>(end, moved);
            if let Some(stack) = stack {
                end = stack.put(end);
            }
            Some(end.offset_from_unsigned(start))
        }
    }

    /// As [`Self::publish`], of so many bytes, some of them written simply.
    #[inline(always)]
    pub fn publish_simply(&mut self, len: usize) {
        self.bytes[4..8].copy_from_slice(&(len as u32).to_le_bytes());
    }

    /// Where the next byte goes behind so many.
    #[inline(always)]
    fn byte_at(&mut self, len: usize) -> *mut u8 {
        debug_assert!(CHUNK_HEADER_BYTES + len + EVENT_BYTES <= CHUNK_BYTES);
        let payload = self.bytes.as_mut_ptr().wrapping_add(CHUNK_HEADER_BYTES);
        payload.wrapping_add(len)
    }
}

/// Least number of more than five bytes.
const FAR: u64 = 1 << 35;

/// Least number of more than four bytes: a block farther than 2 GiB from the one made before it.
const FAR_ALLOC: u64 = 1 << 28;

/// Bytes of a varint beyond its first, of at most `MOST` bytes, up to five. Comparisons: to find the highest bit takes
/// several times as long on processors without an instruction for that.
#[inline(always)]
fn more_bytes<const MOST: usize>(value: u64) -> usize {
    debug_assert!(value >> (7 * MOST) == 0);
    let longer = |bytes: usize| usize::from(MOST > bytes && value >> (7 * bytes) != 0);
    longer(1) + longer(2) + longer(3) + longer(4)
}

/// Writes a varint of at most `MOST` bytes, up to five; where it ends.
///
/// # Safety
/// There are eight bytes at `at`.
#[inline(always)]
unsafe fn put_short<const MOST: usize>(at: *mut u8, value: u64) -> *mut u8 {
    let more = more_bytes::<MOST>(value);
    let word = ((value << 1 | 1) << more).to_le_bytes();
    // SAFETY: the caller's.
    unsafe { at.cast::<[u8; 8]>().write(word) };
    // SAFETY: as above.
    unsafe { at.add(more + 1) }
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
    use super::super::Alloc;
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
            let len = simple.len();
            // SAFETY: there is room.
            let done = unsafe {
                match numbers.below(3) {
                    0 => {
                        let zeroed = numbers.below(4) == 0;
                        let block = Alloc {
                            address: new,
                            size,
                            align: 16,
                            zeroed,
                        };
                        general.alloc(0, &block, stack);
                        let ready = Some(Ready::new(stack));
                        let done = simple.alloc_small(len, new, size, zeroed, ready);
                        done.or_else(|| {
                            simple.alloc(0, &block, stack);
                            None
                        })
                    }
                    1 => {
                        general.free(0, old);
                        let done = simple.free_small(len, old);
                        done.or_else(|| {
                            simple.free(0, old);
                            None
                        })
                    }
                    _ => {
                        general.resize(0, old, new, size, stack);
                        let ready = Some(Ready::new(stack));
                        let done = simple.resize_small(len, old, new, size, ready);
                        done.or_else(|| {
                            simple.resize(0, old, new, size, stack);
                            None
                        })
                    }
                }
            };
            n_simple += u32::from(done.is_some());
            if let Some(bytes) = done {
                simple.go_on_at(len + bytes);
            }
            assert_eq!(simple.at, general.at);
        }
        assert_eq!(simple.bytes[..simple.at], general.bytes[..general.at]);
        assert!(n_simple > 1000, "{n_simple}");
    }
}
