//! The recording's file, and the chunk being filled beside it.
//!
//! No descriptor stays open: programs close those they do not know and get the same numbers for their own
//! files. Each chunk opens the file again and makes sure that it is the same one.

use super::super::recording::encode::Chunk;
use super::super::recording::format::{CHUNK_BYTES, HEADER_BYTES, Header};
use super::config::{Config, PathText};
use crate::os::{self, File, FileId};
use core::ffi::CStr;
use core::fmt::Write;

/// Where a recording goes.
pub struct Output {
    path: PathText,
    tail: PathText,
    has_tail: bool,
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
    /// Makes the file and writes its header. The chunk's memory is in the tail file if there can be one.
    pub fn create(
        config: &Config,
        header: &Header,
    ) -> Result<(Self, &'static mut [u8; CHUNK_BYTES]), OutputError> {
        let (path, file) = claim(config, header.pid)?;
        let mut tail = PathText::new();
        tail.write_bytes(path.as_bytes());
        let _ = tail.write_str(".tail");
        let written = file.write_all(&header.to_bytes());
        let (_, id) = file.status().ok_or(OutputError::Refused)?;
        if !written {
            return Err(OutputError::Refused);
        }
        let shared = c_path(&tail).and_then(|name| {
            let file = File::create(name)?;
            if file.allocate(CHUNK_BYTES) {
                return file.map_shared(CHUNK_BYTES);
            }
            os::remove_file(name);
            None
        });
        let has_tail = shared.is_some();
        // Without a tail, a killed process loses the events of its last chunk.
        let memory = shared.or_else(|| os::map(CHUNK_BYTES, os::page_size()));
        let place = memory
            .ok_or(OutputError::Refused)?
            .cast::<[u8; CHUNK_BYTES]>();
        let output = Self {
            path,
            tail,
            has_tail,
            id,
            len: HEADER_BYTES as u64,
        };
        // SAFETY: mapped just now for ever, and handed out once.
        Ok((output, unsafe { &mut *place.as_ptr() }))
    }

    /// Writes the chunk's events to the file. False when the system refuses; the file is as it was.
    pub fn write(&mut self, chunk: &mut Chunk<'_>) -> bool {
        let bytes = chunk.close();
        let Some(file) = c_path(&self.path).and_then(File::open_to_append) else {
            return false;
        };
        if file.status() != Some((self.len, self.id)) {
            return false;
        }
        if !file.write_all(bytes) {
            file.truncate(self.len);
            return false;
        }
        self.len += bytes.len() as u64;
        true
    }

    /// Removes the tail: everything is in the file.
    pub fn finish(&mut self) {
        if core::mem::take(&mut self.has_tail)
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
