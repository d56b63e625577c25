//! L7: seeing memory. Nothing below imports it.
//!
//! | folder | what |
//! |---|---|
//! | `recording` | the file format of recordings, and its reader, which the launcher shares |
//! | `recorder` | the observer that writes one |
//! | [`tracemalloc`] | Python's module of that name: which lines made what lives |
//! | [`stats`] | the allocator's figures; as OpenMetrics text; with feature `serde`, as JSON |
//! | [`Region`], [`Tag`] | exact counts of what a piece of code or a part of a program allocates; budgets and limits |
//! | `objgraph` | objects and who refers to whom, counted and drawn, with feature `objects` |
//! | [`serve()`] | the figures, and a heap profile, over HTTP |
//! | `heap_profile` | who made a sample of what lives, for it |
//! | `debug_info` | functions and lines of code addresses, with feature `symbols` |
//! | `profile_proto` | pprof's format by numbers, which the launcher shares |
//! | `unwind` | who called: stacks without a lock or an allocation |
//!
//! | to know | ask |
//! |---|---|
//! | how much memory there is, in which sizes | [`stats`] |
//! | what one function allocates, in a test | [`Region`] |
//! | which lines made what lives, and what grew between two moments | [`tracemalloc`] |
//! | everything, afterwards: peak, leaks, temporary blocks, flame graph | [`record`], then `pymalloc report` |
//! | which objects of the object library live, and who keeps them (feature `objects`) | `objgraph` |
//!
//! A program can record itself:
//!
//! ```
//! use pymalloc::observe;
//! # let path = std::env::temp_dir().join(format!("doc-{}.pmrec", std::process::id()));
//! observe::record(&path, 16)?;
//! observe::mark(observe::MarkKind::Begin, "load");
//! let words: Vec<String> = "one two three".split(' ').map(str::to_owned).collect();
//! observe::mark(observe::MarkKind::End, "load");
//! observe::stop_recording();
//! # assert_eq!(words.len(), 3);
//! # assert!(std::fs::metadata(&path).is_ok_and(|file| file.len() > 64));
//! # std::fs::remove_file(&path).unwrap();
//! # Ok::<(), observe::RecordError>(())
//! ```
//!
//! and `pymalloc report` reads what it left.

#[cfg(feature = "symbols")]
mod debug_info;
mod environment;
mod heap_profile;
mod kept;
mod mapped;
mod metrics;
#[cfg(feature = "objects")]
pub mod objgraph;
mod profile_proto;
mod recorder;
#[allow(
    dead_code,
    reason = "the launcher and the benches, which include this folder, too, read what the library writes"
)]
mod recording;
mod region;
mod serve;
mod tag;
pub mod tracemalloc;
mod unwind;

pub use crate::global::{ArenaStats, ClassStats, HeapStats, Stats, ThreadStats};
pub use metrics::{
    arenas, heaps, resident_bytes, set_memory_limit, stats, thread, write_open_metrics,
};
pub use recorder::StartError as RecordError;
pub use recording::format::MarkKind;
pub use region::{Counts, Region, Sum};
pub use serve::{ServeError, serve, serve_sampled};
pub use tag::{Entered, Tag};

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Records every allocation call of this process from now on into the file `path`, with stacks of at most
/// `frames` calls (0 for none, 128 at most).
///
/// Exact at once for the calling thread and for new ones; other threads' calls are seen once the blocks in
/// their lists are used up. The recording ends with [`stop_recording`] or with the process. A process records
/// once.
///
/// # Errors
/// When nothing is recorded: see [`RecordError`].
pub fn record(path: &Path, frames: usize) -> Result<(), RecordError> {
    record_sampled(path, frames, 0)
}

/// As [`record`], of one block for every `bytes` that are allocated, on average: cheap enough for production, where
/// 512 KiB is usual. Reports show what the sample stands for. 0 records every call.
///
/// # Errors
/// As [`record`].
pub fn record_sampled(path: &Path, frames: usize, bytes: u64) -> Result<(), RecordError> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| RecordError::Refused)?;
    let mut config = recorder::Config::new(&path).ok_or(RecordError::Refused)?;
    config.frames = frames.min(recording::format::MOST_FRAMES);
    config.sample_bytes = bytes.min(recorder::MOST_SAMPLE_BYTES);
    recorder::start(config)
}

/// Ends the recording, if there is one.
pub fn stop_recording() {
    recorder::stop();
}

/// Writes into the recording, if there is one, what this thread does: reports show it beside the memory.
pub fn mark(kind: MarkKind, name: &str) {
    recorder::mark(kind, name);
}

#[cfg(feature = "serde")]
mod serialize;

#[cfg(feature = "preload")]
mod preload {
    use super::recorder;
    use super::recording::format::MarkKind;
    use core::ffi::{CStr, c_char, c_int};

    /// [`super::mark`] for programs that find it with `dlsym` or as a weak symbol: 0 for a point, 1 where
    /// something begins, 2 where it ends.
    ///
    /// # Safety
    /// `name` is a text that ends in a nul, or null.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn pymalloc_mark(kind: c_int, name: *const c_char) {
        let kind = match kind {
            0 => MarkKind::Point,
            1 => MarkKind::Begin,
            _ => MarkKind::End,
        };
        if !name.is_null() {
            // SAFETY: a text by the caller's word.
            let name = unsafe { CStr::from_ptr(name) };
            recorder::mark(kind, name.to_str().unwrap_or("?"));
        }
    }

    /// Ends the recording of this library, because the program that calls it records itself.
    #[unsafe(no_mangle)]
    pub extern "C" fn pymalloc_leave_recording() {
        recorder::stop();
    }
}
