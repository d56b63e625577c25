//! The bytes around the user's: written when a block is made, looked at when it is freed or resized.
//!
//! | | `PYMALLOC=debug` | `checks:on` |
//! |---|---|---|
//! | filling in front | 0xFD, of which the last 4 KiB are looked at | the same |
//! | head | request, API's letter, 7 × 0xFD (CPython) | two words nobody can guess |
//! | tail | 8 × 0xFD (CPython) | one such word |
//! | call number | big-endian (CPython) | the same |
//! | new bytes | 0xCD (CPython) | 0 |
//! | apron | 32 × 0xFD | the same |
//! | bytes of a freed block | 0xDD (CPython) | 0 |

use super::layout::{APRON_BYTES, HEAD_BYTES, SERIAL_BYTES, TAG_BYTES, TAIL_BYTES};
use super::pages::Frame;
use super::tag::{Facts, Guarded, secret};
use crate::os;
use core::ptr::NonNull;

/// CPython's PYMEM_CLEANBYTE, PYMEM_DEADBYTE and PYMEM_FORBIDDENBYTE.
pub const CLEAN: u8 = 0xCD;
const DEAD: u8 = 0xDD;
pub const FORBIDDEN: u8 = 0xFD;

/// Most bytes of a block that are filled from each end; what is larger is not filled in between, because a
/// program may ask for more than there is and use a little.
const FILL_MOST: usize = 32 << 20;

/// What is wrong around a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// The letter is another API's, or none's.
    Letter(u8),
    /// The bytes in front.
    Leading,
    /// The bytes behind.
    Trailing,
}

fn head(facts: &Facts, p: NonNull<u8>, is_debug: bool) -> [u8; HEAD_BYTES] {
    let mut head = [FORBIDDEN; HEAD_BYTES];
    if is_debug {
        head[..8].copy_from_slice(&(facts.n as u64).to_be_bytes());
        head[8] = facts.api;
    } else {
        let word = secret().rotate_left(23) ^ p.addr().get();
        head[..8].copy_from_slice(&word.wrapping_mul(3).to_le_bytes());
        head[8..].copy_from_slice(&word.to_le_bytes());
    }
    head
}

fn tail(p: NonNull<u8>, is_debug: bool) -> [u8; TAIL_BYTES] {
    if is_debug {
        [FORBIDDEN; TAIL_BYTES]
    } else {
        (secret().rotate_left(41) ^ p.addr().get()).to_le_bytes()
    }
}

/// The filling between tag and head that is written and looked at.
fn filling(block: Guarded, facts: &Facts) -> (NonNull<u8>, usize) {
    /// What no stray write from the user's bytes is expected to skip.
    const FAR: usize = 4096;
    let gap = facts.offset - HEAD_BYTES - TAG_BYTES;
    let len = gap.min(FAR);
    // SAFETY: between the block's tag and its head.
    unsafe { (block.base().add(TAG_BYTES + gap - len), len) }
}

/// What the alignment leaves between the user's bytes and the inaccessible pages on both sides.
fn slack(block: Guarded, facts: &Facts) -> [(NonNull<u8>, usize); 2] {
    let page = os::page_size();
    let (start, end) = (facts.offset, facts.offset + facts.n);
    // SAFETY: inside the block; the pages before the user's first one and behind its last are guards.
    let part = |from: usize, to: usize| unsafe { (block.base().add(from), to - from) };
    [
        part(2 * page, start),
        part(end, end.max(start + 1).next_multiple_of(page)),
    ]
}

/// Writes everything around the user's bytes.
///
/// # Safety
/// The block is the caller's alone.
pub unsafe fn write(block: Guarded, facts: &Facts, is_debug: bool) {
    if facts.frame() == Frame::Between {
        for (start, len) in slack(block, facts) {
            // SAFETY: in the block.
            unsafe { start.write_bytes(FORBIDDEN, len) };
        }
        return;
    }
    let p = block.user(facts);
    let serial = facts.serial.to_be_bytes();
    let (gap, len) = filling(block, facts);
    // SAFETY: filling, head, tail, call number and apron lie in the block.
    unsafe {
        gap.write_bytes(FORBIDDEN, len);
        p.sub(HEAD_BYTES).cast().write(head(facts, p, is_debug));
        let mut end = p.add(facts.n);
        end.cast::<[u8; TAIL_BYTES]>()
            .write_unaligned(tail(p, is_debug));
        end = end.add(TAIL_BYTES);
        end.cast::<[u8; SERIAL_BYTES]>().write_unaligned(serial);
        end.add(SERIAL_BYTES).write_bytes(FORBIDDEN, APRON_BYTES);
    }
}

/// The first thing that is wrong, in CPython's order: letter of the API that asks, pads in front, pads behind.
///
/// # Safety
/// A guarded block with these facts.
pub unsafe fn wrong(block: Guarded, facts: &Facts, api: u8, is_debug: bool) -> Option<Wrong> {
    let p = block.user(facts);
    if facts.frame() == Frame::Between {
        let [front, behind] = slack(block, facts);
        // SAFETY: in the block.
        let broken = |(start, len)| unsafe { disturbed(start, len, FORBIDDEN) }.is_some();
        let wrong = [(front, Wrong::Leading), (behind, Wrong::Trailing)];
        return wrong
            .into_iter()
            .find_map(|(part, wrong)| broken(part).then_some(wrong));
    }
    // SAFETY: in the block.
    let (found_head, found_tail, found_serial, apron) = unsafe {
        let tail = p.add(facts.n);
        (
            p.sub(HEAD_BYTES).cast::<[u8; HEAD_BYTES]>().read(),
            tail.cast::<[u8; TAIL_BYTES]>().read_unaligned(),
            tail.add(TAIL_BYTES)
                .cast::<[u8; SERIAL_BYTES]>()
                .read_unaligned(),
            tail.add(TAIL_BYTES + SERIAL_BYTES),
        )
    };
    let head = head(facts, p, is_debug);
    if is_debug && found_head[8] != api {
        return Some(Wrong::Letter(found_head[8]));
    }
    let (gap, len) = filling(block, facts);
    // SAFETY: in the block.
    if found_head != head || unsafe { disturbed(gap, len, FORBIDDEN) }.is_some() {
        return Some(Wrong::Leading);
    }
    let is_whole = found_tail == tail(p, is_debug)
        && found_serial == facts.serial.to_be_bytes()
        // SAFETY: in the block.
        && unsafe { disturbed(apron, APRON_BYTES, FORBIDDEN) }.is_none();
    (!is_whole).then_some(Wrong::Trailing)
}

/// What fills a freed block.
pub fn dead(is_debug: bool) -> u8 {
    if is_debug { DEAD } else { 0 }
}

/// Fills new memory.
///
/// # Safety
/// `len` bytes at `p` are the caller's.
pub unsafe fn fill(p: NonNull<u8>, len: usize, byte: u8) {
    let most = len.min(FILL_MOST);
    // SAFETY: the caller's.
    unsafe {
        p.write_bytes(byte, most);
        let rest = (len - most).min(FILL_MOST);
        p.add(len - rest).write_bytes(byte, rest);
    }
}

/// The first byte that [`fill`] wrote and that is another one now.
///
/// # Safety
/// As [`fill`].
pub unsafe fn disturbed(p: NonNull<u8>, len: usize, byte: u8) -> Option<usize> {
    let most = len.min(FILL_MOST);
    let rest = (len - most).min(FILL_MOST);
    // SAFETY: readable by the caller's word; racing writes are the program's error, which is looked for.
    unsafe {
        let first = differs(p, most, byte);
        first.or_else(|| differs(p.add(len - rest), rest, byte).map(|at| len - rest + at))
    }
}

/// The first of `len` bytes that is another one. By words where there are whole ones: every freed block is looked at
/// before its memory is used again.
unsafe fn differs(p: NonNull<u8>, len: usize, byte: u8) -> Option<usize> {
    const WORD: usize = size_of::<u64>();
    let word = u64::from_ne_bytes([byte; WORD]);
    let head = p.align_offset(WORD).min(len);
    let words = (len - head) / WORD;
    // SAFETY: as `disturbed`; words lie at multiples of their size.
    let same =
        |index: &usize| unsafe { p.add(head).cast::<u64>().add(*index).read_volatile() == word };
    let byte_in = |from: usize, to: usize| {
        // SAFETY: as `disturbed`.
        (from..to).find(|at| unsafe { p.add(*at).read_volatile() } != byte)
    };
    let whole = (0..words).find(|index| !same(index)).unwrap_or(words);
    byte_in(0, head).or_else(|| byte_in(head + whole * WORD, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_disturbed_byte_is_found_wherever_it_lies() {
        for start in 0..9 {
            for len in 0..40 {
                let mut memory = [DEAD; 64];
                // SAFETY: inside the array, here and below.
                unsafe {
                    let p = NonNull::from(&mut memory).cast::<u8>().add(start);
                    assert_eq!(disturbed(p, len, DEAD), None);
                    for at in 0..len {
                        // What comes later is not the first.
                        p.add(at).write(1);
                        p.add(len - 1).write(2);
                        assert_eq!(disturbed(p, len, DEAD), Some(at), "{start} {len}");
                        fill(p, len, DEAD);
                    }
                    // What lies in front of it and behind it is no part of it.
                    p.add(len).write(1);
                    if start > 0 {
                        p.sub(1).write(1);
                    }
                    assert_eq!(disturbed(p, len, DEAD), None);
                }
            }
        }
    }
}
