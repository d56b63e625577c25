//! Recordings from files, whole or while they grow.

use super::decode::Step;
use super::format::{
    CHUNK_BYTES, CHUNK_HEADER_BYTES, ChunkHeader, Ending, HEADER_BYTES, Header, HeaderError,
    MOST_LOGS, checksum,
};
use super::merge::{Damage, Merged};
use super::tables::Tables;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The name of the file with the chunks being filled.
pub fn tail_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tail");
    name.into()
}

/// Most looks at a recording that grows while it is looked at.
const LOOKS: u32 = 64;

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
    merged: Merged,
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
            merged: Merged::new(header.has_stacks),
            damaged: false,
        })
    }

    /// The file's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What was read so far.
    pub fn merged(&self) -> &Merged {
        &self.merged
    }

    /// Reads what is new.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn poll(&mut self, sink: &mut impl FnMut(&Step)) -> Result<(), ReadError> {
        if !self.collect()? {
            return Ok(());
        }
        self.merged.set_marks();
        // What was written meanwhile holds back what it may have caused.
        if !self.collect()? {
            return Ok(());
        }
        if let Some(Damage(at)) = self.merged.give(&self.file, sink)? {
            self.damaged = true;
            // What comes behind it was looked at, but is not given.
            self.at = at.unwrap_or(self.at);
        }
        Ok(())
    }

    /// Looks for all that there is. False when the writer was quicker.
    fn collect(&mut self) -> Result<bool, ReadError> {
        for _ in 0..LOOKS {
            self.look_at_chunks()?;
            if self.damaged || self.look_at_tails() {
                return Ok(true);
            }
            let before = self.at;
            self.look_at_chunks()?;
            if self.at == before {
                // Tails of another time, or none.
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Finds the whole chunks behind those that are known.
    fn look_at_chunks(&mut self) -> Result<(), ReadError> {
        let mut payload = Vec::new();
        while !self.damaged
            && let Some(header) = self.whole_chunk(&mut payload)?
        {
            self.merged.add_chunk(header.log, self.at, payload.len());
            self.at += (CHUNK_HEADER_BYTES + payload.len()) as u64;
        }
        Ok(())
    }

    /// Reads the next chunk. `None` when it is not there whole.
    fn whole_chunk(&mut self, payload: &mut Vec<u8>) -> Result<Option<ChunkHeader>, ReadError> {
        let mut bytes = [0; CHUNK_HEADER_BYTES];
        if !read_whole(&self.file, &mut bytes, self.at)? {
            return Ok(None);
        }
        let Some(header) = ChunkHeader::parse(&bytes) else {
            self.damaged = true;
            return Ok(None);
        };
        payload.resize(header.len as usize, 0);
        if !read_whole(&self.file, payload, self.at + CHUNK_HEADER_BYTES as u64)? {
            return Ok(None);
        }
        let is_next = header.number == self.merged.next_chunk_of(header.log);
        self.damaged = !is_next || header.checksum != checksum(payload);
        Ok((!self.damaged).then_some(header))
    }

    /// Reads the chunks being filled as far as they are (I2). False when one of them comes behind a chunk that is not
    /// known yet, or there are none.
    fn look_at_tails(&mut self) -> bool {
        let Ok(file) = File::open(&self.tail) else {
            return false;
        };
        let mut payload = Vec::new();
        let mut all = true;
        for place in 0..MOST_LOGS {
            let at = (place * CHUNK_BYTES) as u64;
            let Some(first) = tail_header(&file, at) else {
                break;
            };
            let next = self.merged.next_chunk_of(first.log);
            payload.resize(first.len as usize, 0);
            let there = first.number == next
                && read_whole(&file, &mut payload, at + CHUNK_HEADER_BYTES as u64).unwrap_or(false);
            // The writer counts up before it writes over the old chunk: the number tells.
            let again = tail_header(&file, at);
            if there && again.is_some_and(|again| again.number == next) {
                self.merged.set_tail(first.log, &payload);
            } else {
                all = false;
            }
        }
        all
    }

    /// The recording will not grow any more.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn finish(self) -> Result<Contents, ReadError> {
        let len = self.file.metadata()?.len();
        let rest = len.saturating_sub(self.at);
        let end = match self.merged.ending() {
            _ if self.damaged => End::Damaged(rest),
            Some(ending) => End::Whole(ending),
            None if rest > 0 => End::Cut(rest),
            None => End::Open,
        };
        Ok(Contents {
            header: self.header,
            end,
            events: self.merged.events(),
            duration_ms: self.merged.time_ms(),
            bytes: self.at,
            tables: self.merged.into_tables(),
        })
    }
}

/// Appends the chunks that a dead process was filling to its recording, so that the file is everything. Only
/// when no process writes it any more.
///
/// # Errors
/// When it is no recording or the system refuses; then nothing is lost.
pub fn seal(path: &Path) -> Result<(), ReadError> {
    let mut follower = Follower::open(path)?;
    follower.collect()?;
    if !follower.damaged {
        let chunks = follower.merged.tails().flat_map(|(log, number, payload)| {
            let header = ChunkHeader {
                len: payload.len() as u32,
                number,
                log,
                checksum: checksum(payload),
            };
            [&header.to_bytes()[..], payload].concat()
        });
        let bytes: Vec<u8> = chunks.collect();
        if !bytes.is_empty() {
            let file = File::options().write(true).open(path)?;
            // What a chunk left that was being written when the process died is written once more.
            file.set_len(follower.at)?;
            file.write_all_at(&bytes, follower.at)?;
        }
    }
    match std::fs::remove_file(&follower.tail) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The header of a chunk being filled.
fn tail_header(file: &File, at: u64) -> Option<ChunkHeader> {
    let mut bytes = [0; CHUNK_HEADER_BYTES];
    let there = read_whole(file, &mut bytes, at).unwrap_or(false);
    there.then(|| ChunkHeader::parse(&bytes))?
}

/// Fills `bytes` from `at` on. False when the file ends before.
pub(super) fn read_whole(file: &File, bytes: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
