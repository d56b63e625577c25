//! What to record, and where: given once, kept for children after fork.

use super::super::recording::encode::TEXT_BYTES;
use super::super::recording::format::MOST_FRAMES;
use crate::os;
use core::ffi::CStr;
use core::fmt::Write;

/// Most bytes between two samples.
pub const MOST_SAMPLE_BYTES: u64 = 1 << 40;

/// A path, ended by a nul; what is too long is refused.
pub type PathText = os::Text<{ TEXT_BYTES + 32 }>;

/// What the recorder was asked for.
pub struct Config {
    /// The file, as given.
    path: PathText,
    /// Frames of a stack; 0 to record no stacks.
    pub frames: usize,
    /// Bytes after which the recording ends.
    pub limit: u64,
    /// Bytes between two sampled blocks on average; 0 to record every call.
    pub sample_bytes: u64,
    /// Whether other processes that find the file taken write one of their own beside it.
    pub follow: bool,
}

impl Config {
    /// To record into `path`; nothing else asked for.
    pub fn new(path: &CStr) -> Option<Self> {
        let bytes = path.to_bytes();
        if bytes.is_empty() || bytes.len() > TEXT_BYTES {
            return None;
        }
        let mut text = PathText::new();
        text.write_bytes(bytes);
        Some(Self {
            path: text,
            frames: 0,
            limit: u64::MAX,
            sample_bytes: 0,
            follow: false,
        })
    }

    /// What the environment asks for: `PYMALLOC_RECORD`, `PYMALLOC_TRACE`, `PYMALLOC_RECORD_LIMIT`,
    /// `PYMALLOC_RECORD_SAMPLE`, `PYMALLOC_RECORD_FOLLOW`.
    pub fn from_environment() -> Option<Self> {
        if os::is_privileged() {
            return None;
        }
        let mut config = Self::new(os::environment(c"PYMALLOC_RECORD")?)?;
        if let Some(frames) = number(c"PYMALLOC_TRACE", MOST_FRAMES as u64) {
            config.frames = frames as usize;
        }
        if let Some(limit) = number(c"PYMALLOC_RECORD_LIMIT", u64::MAX) {
            config.limit = limit;
        }
        if let Some(bytes) = number(c"PYMALLOC_RECORD_SAMPLE", MOST_SAMPLE_BYTES) {
            config.sample_bytes = bytes;
        }
        let follow = os::environment(c"PYMALLOC_RECORD_FOLLOW");
        config.follow = follow.is_some_and(|value| !matches!(value.to_bytes(), b"" | b"0"));
        Some(config)
    }

    /// The file as asked for.
    pub fn path(&self) -> PathText {
        self.path_with(format_args!(""))
    }

    /// The file of a process that found the other one taken.
    pub fn path_of_process(&self, pid: u32) -> PathText {
        self.path_with(format_args!(".{pid}"))
    }

    fn path_with(&self, ending: core::fmt::Arguments<'_>) -> PathText {
        let mut text = PathText::new();
        text.write_bytes(self.path.as_bytes());
        let _ = text.write_fmt(ending);
        text
    }
}

/// A number in a variable. One that is none, or too great, is one line on standard error.
pub fn number(name: &CStr, most: u64) -> Option<u64> {
    let text = os::environment(name)?;
    let value = text.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    let value = value.filter(|value| *value <= most);
    if value.is_none() {
        os::say(format_args!(
            "{}: not a number from 0 to {most}",
            name.to_str().unwrap_or("")
        ));
    }
    value
}
