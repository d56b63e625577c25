//! Recordings from files, whole or while they grow.

use super::decode::{Decoder, Step, Tables};
use super::format::{
    CHUNK_BYTES, CHUNK_HEADER_BYTES, ChunkHeader, Ending, HEADER_BYTES, Header, HeaderError,
    checksum,
};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The name of the file with the chunk being filled.
pub fn tail_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tail");
    name.into()
}

/// Why a file cannot be read as a recording.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The system refused.
    Io(io::Error),
    /// Its first bytes are not ours.
    Header(HeaderError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(out, "cannot read the recording: {error}"),
            Self::Header(HeaderError::Foreign) => write!(out, "not a pymalloc recording"),
            Self::Header(HeaderError::Truncated) => {
                write!(out, "the recording is cut off before its first event")
            }
            Self::Header(HeaderError::Version(version)) => write!(
                out,
                "a recording of version {version}; this pymalloc reads version {}",
                super::format::VERSION
            ),
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// How a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// As the process meant it.
    Whole(Ending),
    /// Without an end: the process was killed, or still runs.
    Open,
    /// Inside a chunk: so many bytes at the end are not readable.
    Cut(u64),
    /// A chunk is damaged; so many bytes from it on are not read.
    Damaged(u64),
}

/// Reads a recording as far as it goes, and on when it has grown.
#[derive(Debug)]
pub struct Follower {
    file: File,
    tail: PathBuf,
    header: Header,
    /// Where the next chunk begins.
    at: u64,
    decoder: Decoder,
    damaged: bool,
}

/// What a whole recording says of itself.
#[derive(Debug)]
pub struct Contents {
    /// The file's header.
    pub header: Header,
    /// Stacks, modules and names.
    pub tables: Tables,
    /// How it ends.
    pub end: End,
    /// Events that were read.
    pub events: u64,
    /// Milliseconds from the start to the end.
    pub duration_ms: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// Reads the recording at `path` from the start to its end.
///
/// # Errors
/// When it is none or the system refuses. A recording that ends early is no error: see [`Contents::end`].
pub fn read(path: &Path, mut sink: impl FnMut(&Step)) -> Result<Contents, ReadError> {
    let mut follower = Follower::open(path)?;
    follower.poll(&mut sink)?;
    follower.finish()
}

impl Follower {
    /// At the start of the recording at `path`.
    ///
    /// # Errors
    /// When it is none or the system refuses.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let mut file = File::open(path)?;
        let mut bytes = Vec::new();
        file.by_ref()
            .take(HEADER_BYTES as u64)
            .read_to_end(&mut bytes)?;
        let header = Header::parse(&bytes).map_err(ReadError::Header)?;
        Ok(Self {
            file,
            tail: tail_of(path),
            header,
            at: HEADER_BYTES as u64,
            decoder: Decoder::new(header.has_stacks),
            damaged: false,
        })
    }

    /// The file's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What was read so far.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Reads what is new.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn poll(&mut self, sink: &mut impl FnMut(&Step)) -> Result<(), ReadError> {
        let mut payload = Vec::with_capacity(CHUNK_BYTES);
        while !self.damaged && self.whole_chunk(&mut payload)? {
            let read = self.decoder.part(&payload, sink);
            self.damaged = read.is_err();
            if !self.damaged {
                self.decoder.next_chunk();
                self.at += (CHUNK_HEADER_BYTES + payload.len()) as u64;
            }
        }
        if !self.damaged && self.tail_chunk(&mut payload) {
            self.damaged = self.decoder.part(&payload, sink).is_err();
        }
        Ok(())
    }

    /// Reads the next chunk's payload. False when it is not there whole.
    fn whole_chunk(&mut self, payload: &mut Vec<u8>) -> Result<bool, ReadError> {
        let mut bytes = [0; CHUNK_HEADER_BYTES];
        if !read_whole(&self.file, &mut bytes, self.at)? {
            return Ok(false);
        }
        let Some(header) = ChunkHeader::parse(&bytes) else {
            self.damaged = true;
            return Ok(false);
        };
        payload.resize(header.len as usize, 0);
        if !read_whole(&self.file, payload, self.at + CHUNK_HEADER_BYTES as u64)? {
            return Ok(false);
        }
        self.damaged =
            header.number != self.decoder.number() || header.checksum != checksum(payload);
        Ok(!self.damaged)
    }

    /// Reads the chunk being filled as far as it is. False when there is none (I2).
    fn tail_chunk(&self, payload: &mut Vec<u8>) -> bool {
        let Ok(file) = File::open(&self.tail) else {
            return false;
        };
        let header = || {
            let mut bytes = [0; CHUNK_HEADER_BYTES];
            let there = read_whole(&file, &mut bytes, 0).unwrap_or(false);
            let header = there.then(|| ChunkHeader::parse(&bytes))??;
            (header.number == self.decoder.number()).then_some(header)
        };
        let Some(first) = header() else {
            return false;
        };
        payload.resize(first.len as usize, 0);
        let there = read_whole(&file, payload, CHUNK_HEADER_BYTES as u64).unwrap_or(false);
        // The writer counts up before it writes over the old chunk: the number tells.
        there && header().is_some()
    }

    /// The recording will not grow any more.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn finish(self) -> Result<Contents, ReadError> {
        let len = self.file.metadata()?.len();
        let rest = len.saturating_sub(self.at);
        let end = match self.decoder.ending() {
            _ if self.damaged => End::Damaged(rest),
            Some(ending) => End::Whole(ending),
            None if rest > 0 => End::Cut(rest),
            None => End::Open,
        };
        Ok(Contents {
            header: self.header,
            end,
            events: self.decoder.events(),
            duration_ms: self.decoder.time_ms(),
            bytes: self.at,
            tables: self.decoder.into_tables(),
        })
    }
}

/// Appends the chunk that a dead process was filling to its recording, so that the file is everything. Only
/// when no process writes it any more.
///
/// # Errors
/// When it is no recording or the system refuses; then nothing is lost.
pub fn seal(path: &Path) -> Result<(), ReadError> {
    let mut follower = Follower::open(path)?;
    let mut payload = Vec::new();
    while follower.whole_chunk(&mut payload)? {
        follower.decoder.next_chunk();
        follower.at += (CHUNK_HEADER_BYTES + payload.len()) as u64;
    }
    if !follower.damaged && follower.tail_chunk(&mut payload) && !payload.is_empty() {
        let header = ChunkHeader {
            len: payload.len() as u32,
            number: follower.decoder.number(),
            checksum: checksum(&payload),
        };
        let file = File::options().write(true).open(path)?;
        // What a chunk left that was being written when the process died is written once more.
        file.set_len(follower.at)?;
        let bytes = [&header.to_bytes()[..], &payload].concat();
        file.write_all_at(&bytes, follower.at)?;
    }
    match std::fs::remove_file(&follower.tail) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Fills `bytes` from `at` on. False when the file ends before.
fn read_whole(file: &File, bytes: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
