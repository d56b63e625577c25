//! The recording's file, and the chunks being filled beside it.
//!
//! No descriptor stays open: programs close those they do not know and get the same numbers for their own
//! files. Each chunk opens the file again and makes sure that it is the same one.

use super::super::recording::encode::Chunk;
use super::super::recording::format::{CHUNK_BYTES, ChunkHeader, HEADER_BYTES, Header};
use super::config::{Config, PathText};
use super::log::ChunkMemory;
use crate::os::{self, File, FileId};
use core::ffi::CStr;
use core::fmt::Write;
use core::ptr::NonNull;

/// Where a recording goes.
pub struct Output {
    path: PathText,
    tail: PathText,
    /// The tail file, if there is one.
    tail_id: Option<FileId>,
    /// Chunks that have memory in it.
    n_tails: usize,
    id: FileId,
    /// Bytes written.
    pub len: u64,
}

/// Why nothing can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputError {
    /// Another process records there.
    Taken,
    /// The system refused.
    Refused,
}

impl Output {
    /// Makes the file and writes its header.
    pub fn create(config: &Config, header: &Header) -> Result<Self, OutputError> {
        let (path, file) = claim(config, header.pid)?;
        let mut tail = PathText::new();
        tail.write_bytes(path.as_bytes());
        let _ = tail.write_str(".tail");
        let written = file.write_all(&header.to_bytes());
        let (_, id) = file.status().ok_or(OutputError::Refused)?;
        if !written {
            return Err(OutputError::Refused);
        }
        let made = c_path(&tail).and_then(File::create);
        let tail_id = made.and_then(|file| Some(file.status()?.1));
        Ok(Self {
            path,
            tail,
            tail_id,
            n_tails: 0,
            id,
            len: HEADER_BYTES as u64,
        })
    }

    /// Memory for the chunk of one more log: in the tail file if it can be, since without that a killed process loses
    /// the events of the chunk.
    pub fn chunk_memory(&mut self) -> Option<ChunkMemory> {
        let memory = self.tail_memory();
        self.n_tails += usize::from(memory.is_some());
        let place = memory.or_else(|| os::map(CHUNK_BYTES, os::page_size()))?;
        // SAFETY: mapped just now for ever, and handed out once.
        Some(unsafe { &mut *place.cast::<[u8; CHUNK_BYTES]>().as_ptr() })
    }

    fn tail_memory(&self) -> Option<NonNull<u8>> {
        let file = File::open_to_write(c_path(&self.tail)?)?;
        let is_ours = self.tail_id.is_some() && Some(file.status()?.1) == self.tail_id;
        let start = self.n_tails * CHUNK_BYTES;
        (is_ours && file.allocate(start + CHUNK_BYTES)).then_some(())?;
        file.map_shared(start as u64, CHUNK_BYTES)
    }

    /// Writes the chunk's events to the file. False when the system refuses; the file is as it was.
    pub fn write(&mut self, chunk: &mut Chunk<'_>) -> bool {
        self.append(&[chunk.close()])
    }

    /// As [`Self::write`], of a chunk that another thread may still be filling.
    pub fn write_part(&mut self, header: &ChunkHeader, payload: &[u8]) -> bool {
        self.append(&[&header.to_bytes(), payload])
    }

    fn append(&mut self, parts: &[&[u8]]) -> bool {
        let Some(file) = c_path(&self.path).and_then(File::open_to_append) else {
            return false;
        };
        if file.status() != Some((self.len, self.id)) {
            return false;
        }
        if !parts.iter().all(|part| file.write_all(part)) {
            file.truncate(self.len);
            return false;
        }
        self.len += parts.iter().map(|part| part.len() as u64).sum::<u64>();
        true
    }

    /// Removes the tail: everything is in the file.
    pub fn finish(&mut self) {
        if self.tail_id.take().is_some()
            && let Some(tail) = c_path(&self.tail)
        {
            os::remove_file(tail);
        }
    }
}

/// Makes the file that this process is to write.
fn claim(config: &Config, pid: u32) -> Result<(PathText, File), OutputError> {
    let path = config.path();
    let name = c_path(&path).ok_or(OutputError::Refused)?;
    if let Some(file) = File::create_new(name) {
        return Ok((path, file));
    }
    let old = File::open(name).ok_or(OutputError::Refused)?;
    let mut bytes = [0; HEADER_BYTES];
    let header = old.read_at(&mut bytes, 0).then(|| Header::parse(&bytes));
    let path = match header {
        // This process, before it began another program in its own place.
        Some(Ok(header)) if header.pid == pid => path,
        _ if config.follow => config.path_of_process(pid),
        _ => return Err(OutputError::Taken),
    };
    let file = c_path(&path).and_then(File::create);
    file.map(|file| (path, file)).ok_or(OutputError::Refused)
}

/// The path as the system takes it; `None` if it was cut.
fn c_path(text: &PathText) -> Option<&CStr> {
    text.as_c_str()
}
