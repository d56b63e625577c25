//! The numbers of the format, the two fixed headers, and varints.

/// First bytes of a recording. No text begins so, and a transfer as text breaks it.
pub const MAGIC: [u8; 8] = *b"\x89pmrec\r\n";

/// Version in the header.
pub const VERSION: u32 = 2;

/// Bytes of the file's header.
pub const HEADER_BYTES: usize = 64;

/// Bytes of a chunk's header.
pub const CHUNK_HEADER_BYTES: usize = 24;

/// First bytes of a chunk.
pub const CHUNK_MAGIC: u32 = u32::from_le_bytes(*b"chnk");

/// Most bytes of a chunk, its header included.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Most logs of a recording.
pub const MOST_LOGS: usize = 256;

/// Most frames of a stack.
pub const MOST_FRAMES: usize = 128;

/// Log2 of the unit of addresses, in bytes.
pub const ADDRESS_SHIFT: u32 = 4;

/// The kinds of events.
pub mod kind {
    /// A block.
    pub const ALLOC: u64 = 0;
    /// A block that is zero.
    pub const ALLOC_ZEROED: u64 = 1;
    /// A block with an alignment of its own.
    pub const ALLOC_ALIGNED: u64 = 2;
    /// A block is given back.
    pub const FREE: u64 = 3;
    /// A block changes its size, and perhaps its place.
    pub const RESIZE: u64 = 4;
    /// What follows is of another ticket.
    pub const TICKET: u64 = 5;
    /// Frames of a stack are defined.
    pub const STACK: u64 = 6;
    /// One of [`super::other`].
    pub const OTHER: u64 = 7;
}

/// The sub-kinds of [`kind::OTHER`].
pub mod other {
    /// Time goes on.
    pub const TIME: u64 = 0;
    /// A range of executable memory and the file behind it.
    pub const MODULE: u64 = 1;
    /// The executable.
    pub const PROGRAM: u64 = 2;
    /// A word of the command line.
    pub const ARGUMENT: u64 = 3;
    /// What the program says of itself.
    pub const MARK: u64 = 4;
    /// The recording ends here.
    pub const END: u64 = 5;
    /// Another thread goes on.
    pub const THREAD: u64 = 6;
}

/// Why a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    /// The process ended by `exit`.
    Exit = 0,
    /// The recording reached the size it was allowed.
    Limit = 1,
    /// The program asked for it.
    Stopped = 2,
    /// The system refused to write more.
    Refused = 3,
}

impl Ending {
    /// From its number in the file.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Exit),
            1 => Some(Self::Limit),
            2 => Some(Self::Stopped),
            3 => Some(Self::Refused),
            _ => None,
        }
    }
}

/// What the program said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MarkKind {
    /// Something happened.
    Point = 0,
    /// Something begins.
    Begin = 1,
    /// What began last ends.
    End = 2,
}

/// The file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether events name stacks.
    pub has_stacks: bool,
    /// Process that writes.
    pub pid: u32,
    /// Its parent.
    pub parent: u32,
    /// When it began, in milliseconds since 1970.
    pub start_unix_ms: u64,
    /// Most frames of a stack.
    pub max_frames: u32,
    /// Bytes of a page of the machine.
    pub page_bytes: u32,
    /// Bytes between two sampled blocks on average; 0 if every call was recorded.
    pub sample_bytes: u64,
}

/// Why bytes are no header of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Another kind of file.
    Foreign,
    /// Too short to hold a header.
    Truncated,
    /// A version other than ours.
    Version(u32),
}

impl Header {
    /// The header as it stands in the file.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut at = 0;
        let fields: [&[u8]; 9] = [
            &MAGIC,
            &VERSION.to_le_bytes(),
            &u32::from(self.has_stacks).to_le_bytes(),
            &self.pid.to_le_bytes(),
            &self.parent.to_le_bytes(),
            &self.start_unix_ms.to_le_bytes(),
            &self.max_frames.to_le_bytes(),
            &self.page_bytes.to_le_bytes(),
            &self.sample_bytes.to_le_bytes(),
        ];
        for field in fields {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        bytes
    }

    /// Reads what [`Header::to_bytes`] made.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let common = bytes.len().min(MAGIC.len());
        if bytes[..common] != MAGIC[..common] || common == 0 {
            return Err(HeaderError::Foreign);
        }
        if bytes.len() < HEADER_BYTES {
            return Err(HeaderError::Truncated);
        }
        match u32_at(bytes, 8) {
            VERSION => {}
            version => return Err(HeaderError::Version(version)),
        }
        Ok(Self {
            has_stacks: u32_at(bytes, 12) & 1 != 0,
            pid: u32_at(bytes, 16),
            parent: u32_at(bytes, 20),
            start_unix_ms: u64_at(bytes, 24),
            max_frames: u32_at(bytes, 32),
            page_bytes: u32_at(bytes, 36),
            sample_bytes: u64_at(bytes, 40),
        })
    }
}

/// A chunk's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// Bytes of the payload.
    pub len: u32,
    /// Its place among the chunks of its log (I1).
    pub number: u32,
    /// Which log, below [`MOST_LOGS`].
    pub log: u32,
    /// [`checksum`] of the payload; 0 while it is filled.
    pub checksum: u64,
}

impl ChunkHeader {
    /// The header as it stands in the file.
    pub fn to_bytes(self) -> [u8; CHUNK_HEADER_BYTES] {
        let mut bytes = [0; CHUNK_HEADER_BYTES];
        bytes[..4].copy_from_slice(&CHUNK_MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.number.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.log.to_le_bytes());
        bytes[16..].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }

    /// Reads what [`ChunkHeader::to_bytes`] made; `None` for other bytes.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let header = Self {
            len: u32_at(bytes.get(..CHUNK_HEADER_BYTES)?, 4),
            number: u32_at(bytes, 8),
            log: u32_at(bytes, 12),
            checksum: u64_at(bytes, 16),
        };
        let fits = header.len as usize <= CHUNK_BYTES - CHUNK_HEADER_BYTES
            && (header.log as usize) < MOST_LOGS;
        (u32_at(bytes, 0) == CHUNK_MAGIC && fits).then_some(header)
    }
}

/// The number at `at`; 0 where the bytes end.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let field = bytes
        .get(at..at + 4)
        .and_then(|field| field.try_into().ok());
    field.map_or(0, u32::from_le_bytes)
}

/// As [`u32_at`].
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let field = bytes
        .get(at..at + 8)
        .and_then(|field| field.try_into().ok());
    field.map_or(0, u64::from_le_bytes)
}

/// A number that changes when the bytes do. Eight bytes at a time: it is made on the writer's way.
pub fn checksum(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(ODD).rotate_left(29);
    let words = bytes.chunks_exact(8);
    let rest = words.remainder();
    let mut sum = mix(ODD, bytes.len() as u64);
    for word in words {
        sum = mix(sum, u64_at(word, 0));
    }
    rest.iter()
        .fold(sum, |sum, byte| mix(sum, u64::from(*byte)))
}

/// 0, -1, 1, -2 … as 0, 1, 2, 3 …
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// The inverse of [`zigzag`].
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Takes a varint off the front of `bytes`; `None` when they end inside it.
#[inline]
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let len = bytes.first()?.trailing_zeros() as usize + 1;
    if let Some(word) = bytes.first_chunk::<8>()
        && len <= 8
    {
        *bytes = &bytes[len..];
        // The bytes that are not of it go to the left, and the mark of its length to the right.
        return Some(u64::from_le_bytes(*word) << (64 - 8 * len) >> (64 - 7 * len));
    }
    take_varint_slowly(bytes, len)
}

/// As [`take_varint`], of one with nine bytes or at the end.
#[cold]
fn take_varint_slowly(bytes: &mut &[u8], len: usize) -> Option<u64> {
    let (first, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    let mut word = [0; 8];
    if len > 8 {
        word.copy_from_slice(&first[1..]);
        return Some(u64::from_le_bytes(word));
    }
    word[..len].copy_from_slice(first);
    Some(u64::from_le_bytes(word) >> len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zigzag_is_undone() {
        for value in [0, 1, -1, 63, -64, 1 << 47, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
    }

    #[test]
    fn headers_come_back_and_others_are_told_apart() {
        let header = Header {
            has_stacks: true,
            pid: 7,
            parent: 3,
            start_unix_ms: 1 << 40,
            max_frames: 32,
            page_bytes: 16384,
            sample_bytes: 512 << 10,
        };
        let bytes = header.to_bytes();
        assert_eq!(Header::parse(&bytes), Ok(header));
        assert_eq!(Header::parse(&bytes[..20]), Err(HeaderError::Truncated));
        assert_eq!(Header::parse(b"\x7fELF"), Err(HeaderError::Foreign));
        assert_eq!(Header::parse(b""), Err(HeaderError::Foreign));
        let mut newer = bytes;
        newer[8] = 9;
        assert_eq!(Header::parse(&newer), Err(HeaderError::Version(9)));
    }

    #[test]
    fn a_chunk_too_long_to_be_one_is_refused() {
        let header = ChunkHeader {
            len: 100,
            number: 4,
            log: 6,
            checksum: 5,
        };
        assert_eq!(ChunkHeader::parse(&header.to_bytes()), Some(header));
        let long = ChunkHeader {
            len: CHUNK_BYTES as u32,
            ..header
        };
        assert_eq!(ChunkHeader::parse(&long.to_bytes()), None);
        let strange = ChunkHeader {
            log: MOST_LOGS as u32,
            ..header
        };
        assert_eq!(ChunkHeader::parse(&strange.to_bytes()), None);
        assert_eq!(ChunkHeader::parse(&[0; 24]), None);
    }

    #[test]
    fn every_changed_byte_changes_the_checksum() {
        let bytes: Vec<u8> = (0..61).collect();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x40;
            assert_ne!(checksum(&bytes), checksum(&other), "byte {at}");
        }
    }
}
