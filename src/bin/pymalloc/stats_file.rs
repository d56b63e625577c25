//! Where a watched program's summary arrives.
//!
//! The file lies in a folder of its own. Once the launcher has read it, the folder goes, and a descendant of
//! the program that ends later finds no place to leave a second summary.

use crate::failure::Failure;
use crate::summary::{ParseError, Summary};
use std::fmt;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A place for one summary; removed when dropped.
pub struct StatsFile {
    /// Made by us, with nothing else in it.
    folder: PathBuf,
    /// In that folder; made by the library.
    file: PathBuf,
}

/// Why there is no summary to show.
#[derive(Debug)]
pub enum Absent {
    /// Nothing was written.
    NotWritten,
    /// It cannot be read back.
    Unreadable(io::Error),
    /// It is not one.
    Broken(ParseError),
    /// It is that of this other process, a descendant of the program.
    OtherProcess(u32),
}

impl fmt::Display for Absent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Absent::NotWritten => write!(out, "none was written"),
            Absent::Unreadable(error) => write!(out, "it cannot be read: {error}"),
            Absent::Broken(error) => write!(out, "it is damaged: {error}"),
            Absent::OtherProcess(pid) => write!(out, "process {pid} wrote one instead"),
        }
    }
}

impl StatsFile {
    /// Makes the folder, which only this user can enter.
    ///
    /// # Errors
    /// [`Failure::StatsFile`] with what the system says.
    pub fn create() -> Result<StatsFile, Failure> {
        let parent = std::env::temp_dir();
        for attempt in 0.. {
            let name = format!("pymalloc-{}-{attempt}", std::process::id());
            let folder = parent.join(name);
            match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => {
                    return Ok(StatsFile {
                        file: folder.join("summary"),
                        folder,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Failure::StatsFile(folder, error)),
            }
        }
        unreachable!("one process id has not left 2^31 folders")
    }

    /// Removes the folder, for an end that drops nothing. A failure is no reason to disturb the user.
    pub fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }

    /// The file to name in `PYMALLOC_STATS_FILE`; it does not exist yet.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// The summary of process `pid`.
    ///
    /// # Errors
    /// What is there instead.
    pub fn read(&self, pid: u32) -> Result<Summary, Absent> {
        let bytes = match std::fs::read(&self.file) {
            Ok(bytes) if bytes.is_empty() => return Err(Absent::NotWritten),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Absent::NotWritten);
            }
            Err(error) => return Err(Absent::Unreadable(error)),
        };
        let summary = Summary::parse(&String::from_utf8_lossy(&bytes)).map_err(Absent::Broken)?;
        if summary.pid == pid {
            Ok(summary)
        } else {
            Err(Absent::OtherProcess(summary.pid))
        }
    }
}

impl Drop for StatsFile {
    fn drop(&mut self) {
        self.remove();
    }
}
