//! A recording that grows, and what it says so far.

use crate::failure::Failure;
use crate::profile::named::Named;
use crate::profile::symbols::Symbols;
use crate::profile::usage::{Measure, Usage};
use crate::recording::read::Follower;
use crate::system;
use std::path::{Path, PathBuf};

/// A program that is being recorded.
pub struct Watched {
    path: PathBuf,
    /// The recording.
    pub follower: Follower,
    /// What it says so far.
    pub usage: Usage,
    symbols: Symbols,
}

impl Watched {
    /// The program recorded into `path`.
    ///
    /// # Errors
    /// When that is no recording.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::Recording(path.to_owned(), error);
        let follower = Follower::open(path).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            usage: Usage::new(1, follower.header().sample_bytes),
            follower,
            symbols: Symbols::default(),
        })
    }

    /// Reads what is new.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn poll(&mut self) -> Result<(), Failure> {
        let usage = &mut self.usage;
        let read = self.follower.poll(&mut |step| usage.step(step));
        read.map_err(|error| Failure::Recording(self.path.clone(), error))
    }

    /// Its stacks with names. What lives now stands under both peak and leaks: which stacks were live at the
    /// high-water mark is known only when the recording is whole.
    pub fn named(&mut self) -> Named {
        self.usage.add_live(Measure::Leaks);
        self.usage.add_live(Measure::Peak);
        let tables = self.follower.merged().tables();
        Named::of(&self.usage, tables, &mut self.symbols)
    }

    /// Bytes resident, while the process lives.
    pub fn resident_bytes(&self) -> Option<u64> {
        let resident = system::resident_bytes(self.follower.header().pid);
        resident.filter(|bytes| *bytes > 0)
    }

    /// Whether the recording will not grow any more.
    pub fn is_over(&self) -> bool {
        self.follower.merged().ending().is_some() || self.resident_bytes().is_none()
    }

    /// The program's command line.
    pub fn command_line(&self) -> String {
        let words = &self.follower.merged().tables().arguments;
        let words: Vec<_> = words
            .iter()
            .map(|word| String::from_utf8_lossy(word))
            .collect();
        words.join(" ")
    }
}
