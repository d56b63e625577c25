//! Events into the bytes of a chunk. Never allocates, never panics.
//!
//! The caller gives the memory of one chunk, asks [`Chunk::has_room`] before each event, and closes the
//! chunk when there is none.

use super::format::{
    ADDRESS_SHIFT, CHUNK_BYTES, CHUNK_HEADER_BYTES, ChunkHeader, Ending, MOST_FRAMES, MarkKind,
    checksum, kind, other, zigzag,
};

pub mod simple;

/// Most bytes of an event that is neither a stack nor has a text.
pub const EVENT_BYTES: usize = 48;

/// Most bytes of a stack's definition.
pub const STACK_BYTES: usize = 16 + 10 * MOST_FRAMES;

/// Most bytes of a path, name or argument; longer ones are cut.
pub const TEXT_BYTES: usize = 4096;

/// A chunk being filled.
pub struct Chunk<'a> {
    bytes: &'a mut [u8; CHUNK_BYTES],
    /// Bytes in use, the header's included, as far as no event was written simply since [`Chunk::go_on_at`].
    at: usize,
    number: u32,
    log: u32,
    ticket: u64,
    /// Address allocated last.
    last_alloc: i64,
    /// Address freed last.
    last_free: i64,
    thread: u32,
    has_stacks: bool,
}

/// A block as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alloc {
    /// Where it starts.
    pub address: usize,
    /// Bytes asked for.
    pub size: usize,
    /// Alignment asked for, a power of two.
    pub align: usize,
    /// Whether it was asked to be zero.
    pub zeroed: bool,
}

/// The alignment every block has, which is not written.
const ALIGNMENT: usize = 1 << ADDRESS_SHIFT;

impl<'a> Chunk<'a> {
    /// Begins chunk 0 of log `log` of a recording with or without stacks.
    pub fn new(bytes: &'a mut [u8; CHUNK_BYTES], log: u32, has_stacks: bool) -> Self {
        let mut chunk = Self {
            bytes,
            at: CHUNK_HEADER_BYTES,
            number: 0,
            log,
            ticket: 0,
            last_alloc: 0,
            last_free: 0,
            thread: 0,
            has_stacks,
        };
        chunk.write_header(0);
        chunk
    }

    /// Whether `need` more bytes fit.
    #[inline]
    pub fn has_room(&self, need: usize) -> bool {
        CHUNK_BYTES - self.at >= need
    }

    /// Whether it holds no event.
    pub fn is_empty(&self) -> bool {
        self.at == CHUNK_HEADER_BYTES
    }

    /// Its place among those of its log.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// So many bytes of events are in, some of them written simply.
    #[inline(always)]
    pub fn go_on_at(&mut self, len: usize) {
        self.at = CHUNK_HEADER_BYTES + len;
    }

    /// Bytes of events so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.at - CHUNK_HEADER_BYTES
    }

    /// Completes the header; the bytes to write.
    pub fn close(&mut self) -> &[u8] {
        let sum = checksum(&self.bytes[CHUNK_HEADER_BYTES..self.at]);
        self.write_header(sum);
        &self.bytes[..self.at]
    }

    /// Begins the next chunk in the same memory. Its ticket is to be said again.
    pub fn next(&mut self) {
        self.number += 1;
        self.at = CHUNK_HEADER_BYTES;
        (self.last_alloc, self.last_free, self.thread) = (0, 0, 0);
        self.ticket = 0;
        self.write_header(0);
    }

    /// What follows happened by that ticket, which is not below the last one.
    #[inline]
    pub fn ticket(&mut self, ticket: u64) {
        if ticket > self.ticket {
            self.head(kind::TICKET, ticket - self.ticket);
            self.ticket = ticket;
        }
    }

    /// Brings the length in the header up to date (I2): after each event, by who keeps a tail.
    #[inline]
    pub fn publish(&mut self) {
        let len = (self.at - CHUNK_HEADER_BYTES) as u32;
        self.bytes[4..8].copy_from_slice(&len.to_le_bytes());
    }

    fn write_header(&mut self, checksum: u64) {
        let header = ChunkHeader {
            len: (self.at - CHUNK_HEADER_BYTES) as u32,
            number: self.number,
            log: self.log,
            checksum,
        };
        self.bytes[..CHUNK_HEADER_BYTES].copy_from_slice(&header.to_bytes());
    }

    /// A block, by the thread and from the stack given. Inlined, because a block that is copied as a whole is read in
    /// wider parts than it was written in, which a processor does slowly.
    #[inline(always)]
    pub fn alloc(&mut self, thread: u32, block: &Alloc, stack: u32) {
        self.thread(thread);
        if block.align > ALIGNMENT || self.at > CHUNK_BYTES - EVENT_BYTES {
            return self.aligned_alloc(block, stack);
        }
        let kind = if block.zeroed {
            kind::ALLOC_ZEROED
        } else {
            kind::ALLOC
        };
        let address = aligned(block.address);
        let distance = between(self.last_alloc, address);
        self.last_alloc = address;
        let mut at = write_varint(self.bytes, self.at, (block.size as u64) << 3 | kind);
        at = write_varint(self.bytes, at, distance);
        if self.has_stacks {
            at = write_varint(self.bytes, at, u64::from(stack));
        }
        self.at = at;
    }

    /// Where the next event begins, the chunk's header included.
    #[inline(always)]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Whether an event of that thread under that ticket needs nothing said before it.
    pub fn goes_on(&self, thread: u32, ticket: u64) -> bool {
        self.thread == thread && self.ticket == ticket
    }

    /// As [`Self::alloc`], with the alignment, and anywhere.
    #[cold]
    #[inline(never)]
    fn aligned_alloc(&mut self, block: &Alloc, stack: u32) {
        self.head(kind::ALLOC_ALIGNED, block.size as u64);
        let zeroed = if block.zeroed { 0x80 } else { 0 };
        self.put(block.align.trailing_zeros() as u8 | zeroed);
        let address = aligned(block.address);
        self.varint(between(self.last_alloc, address));
        self.last_alloc = address;
        self.stack_number(stack);
    }

    /// The block at `address` is given back.
    #[inline(always)]
    pub fn free(&mut self, thread: u32, address: usize) {
        self.thread(thread);
        let place = self.nearer(aligned(address));
        if self.at > CHUNK_BYTES - EVENT_BYTES {
            return self.head(kind::FREE, place);
        }
        self.at = write_varint(self.bytes, self.at, place << 3 | kind::FREE);
    }

    /// The block at `old` is now at `new` and has `size` bytes.
    pub fn resize(&mut self, thread: u32, old: usize, new: usize, size: usize, stack: u32) {
        self.thread(thread);
        self.head(kind::RESIZE, size as u64);
        let place = self.nearer(aligned(old));
        self.varint(place);
        self.varint(between(aligned(old), aligned(new)));
        self.last_alloc = aligned(new);
        self.stack_number(stack);
    }

    /// Distance from whichever base is nearer, with the base's bit; the address is the last one freed.
    fn nearer(&mut self, address: i64) -> u64 {
        let distance = self.distance(address);
        self.last_free = address;
        distance
    }

    #[inline(always)]
    fn distance(&self, address: i64) -> u64 {
        let from_alloc = between(self.last_alloc, address) << 1;
        let from_free = between(self.last_free, address) << 1 | 1;
        from_alloc.min(from_free)
    }

    /// Defines nodes: `frames`, innermost first, the outermost of them hanging from node `parent`, whose frame
    /// is `outside`.
    pub fn stack(&mut self, parent: u32, outside: usize, frames: &[usize]) {
        self.head(kind::STACK, frames.len() as u64);
        self.varint(u64::from(parent));
        let mut outside = outside;
        for frame in frames.iter().rev() {
            self.varint(zigzag(frame.wrapping_sub(outside) as i64));
            outside = *frame;
        }
    }

    /// Time since the start.
    pub fn time(&mut self, ms: u64) {
        self.other(other::TIME, varint_len(ms));
        self.varint(ms);
    }

    /// A range of executable memory, and where in which file its contents stand.
    pub fn module(&mut self, start: usize, end: usize, file_offset: usize, path: &[u8]) {
        let path = &path[..path.len().min(TEXT_BYTES)];
        let numbers = [start as u64, end as u64, file_offset as u64];
        let len = numbers
            .iter()
            .map(|number| varint_len(*number))
            .sum::<usize>();
        self.other(other::MODULE, len + path.len());
        for number in numbers {
            self.varint(number);
        }
        self.text(path);
    }

    /// The executable's path.
    pub fn program(&mut self, path: &[u8]) {
        self.named(other::PROGRAM, path);
    }

    /// The next word of the command line.
    pub fn argument(&mut self, word: &[u8]) {
        self.named(other::ARGUMENT, word);
    }

    /// What thread `thread` says it does.
    pub fn mark(&mut self, thread: u32, kind: MarkKind, name: &[u8]) {
        self.thread(thread);
        let name = &name[..name.len().min(TEXT_BYTES)];
        self.other(other::MARK, 1 + name.len());
        self.put(kind as u8);
        self.text(name);
    }

    /// The last event.
    pub fn end(&mut self, why: Ending, events: u64) {
        self.other(other::END, 1 + varint_len(events));
        self.put(why as u8);
        self.varint(events);
    }

    fn named(&mut self, sub_kind: u64, text: &[u8]) {
        let text = &text[..text.len().min(TEXT_BYTES)];
        self.other(sub_kind, text.len());
        self.text(text);
    }

    #[inline]
    fn thread(&mut self, number: u32) {
        if number != self.thread {
            self.name_thread(number);
        }
    }

    #[cold]
    fn name_thread(&mut self, number: u32) {
        self.other(other::THREAD, varint_len(u64::from(number)));
        self.varint(u64::from(number));
        self.thread = number;
    }

    fn stack_number(&mut self, stack: u32) {
        if self.has_stacks {
            self.varint(u64::from(stack));
        }
    }

    fn other(&mut self, sub_kind: u64, len: usize) {
        self.head(kind::OTHER, sub_kind);
        self.varint(len as u64);
    }

    fn head(&mut self, kind: u64, value: u64) {
        // A size has at most 63 bits, so a value above 61 is a request that was refused before this.
        self.varint(value << 3 | kind);
    }

    fn varint(&mut self, value: u64) {
        if self.at > CHUNK_BYTES - EVENT_BYTES {
            return self.long_varint(value);
        }
        self.at = write_varint(self.bytes, self.at, value);
    }

    /// A varint of any length, anywhere.
    #[cold]
    fn long_varint(&mut self, value: u64) {
        let len = varint_len(value);
        if len > 8 {
            self.put(0);
            self.text(&value.to_le_bytes());
        } else {
            self.text(&word_of(value, len).to_le_bytes()[..len]);
        }
    }

    fn text(&mut self, text: &[u8]) {
        text.iter().for_each(|byte| self.put(*byte));
    }

    fn put(&mut self, byte: u8) {
        // The caller made room; without it the event is cut rather than memory broken.
        if let Some(place) = self.bytes.get_mut(self.at) {
            *place = byte;
            self.at += 1;
        }
    }
}

/// An address of as many of the format's units, as all blocks have.
#[inline(always)]
fn aligned(address: usize) -> i64 {
    (address & !(ALIGNMENT - 1)) as i64
}

/// The zigzag distance in the format's units from one address to another. Both are multiples of the unit, so to divide by
/// it and to double is one step.
#[inline(always)]
fn between(from: i64, to: i64) -> u64 {
    let distance = to.wrapping_sub(from);
    ((distance >> (ADDRESS_SHIFT - 1)) ^ (distance >> 63)).cast_unsigned()
}

#[inline(always)]
fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    // As `div_ceil(7)`, up to 56.
    ((bits * 9 + 64) / 64).min(9)
}

/// A varint of up to eight bytes.
#[inline(always)]
fn word_of(value: u64, len: usize) -> u64 {
    (value << 1 | 1) << (len - 1)
}

/// Writes a varint at `at`, which is at least nine bytes from the end; where it ends. Lengths follow no pattern that a
/// processor could learn: so no branch depends on them.
#[inline(always)]
fn write_varint(bytes: &mut [u8; CHUNK_BYTES], at: usize, value: u64) -> usize {
    if value >> 56 != 0 {
        return write_long(bytes, at, value);
    }
    let len = varint_len(value);
    if let Some(place) = bytes.get_mut(at..at + 8) {
        place.copy_from_slice(&word_of(value, len).to_le_bytes());
    }
    at + len
}

/// As [`write_varint`], of nine bytes.
#[cold]
#[inline(never)]
fn write_long(bytes: &mut [u8; CHUNK_BYTES], at: usize, value: u64) -> usize {
    if let Some(place) = bytes.get_mut(at..at + 9) {
        place[0] = 0;
        place[1..].copy_from_slice(&value.to_le_bytes());
    }
    at + 9
}

#[cfg(test)]
mod tests {
    use super::super::format::take_varint;
    use super::*;

    #[test]
    fn numbers_of_every_length_come_back_also_at_the_end_of_a_chunk() {
        let mut memory = Box::new([0; CHUNK_BYTES]);
        let mut chunk = Chunk::new(&mut memory, 0, false);
        for bits in 0..64 {
            for value in [
                1u64 << bits,
                (1 << bits) - 1,
                u64::MAX >> bits,
                0x5a5a << bits,
            ] {
                let bits = 64 - (value | 1).leading_zeros() as usize;
                assert_eq!(varint_len(value), bits.div_ceil(7).min(9));
                for start in [CHUNK_HEADER_BYTES, CHUNK_BYTES - 10] {
                    chunk.at = start;
                    chunk.varint(value);
                    assert_eq!(chunk.at, start + varint_len(value));
                    let mut bytes = &chunk.bytes[start..chunk.at];
                    assert_eq!(take_varint(&mut bytes), Some(value));
                    assert!(bytes.is_empty());
                }
            }
        }
    }
}
