//! The recorder: an observer of every call that writes it down.
//!
//! ```text
//! event ─► lock ─► thread's number ─► stack ─► its number ─► chunk ─ full ─► file
//!                                     (unwind/)  (stacks.rs)    └─ memory of NAME.tail
//! ```
//!
//! | state | entered | left |
//! |---|---|---|
//! | blank | the memory is new, or this is a child after fork | `start` |
//! | recording | `start` | `stop`, the limit, a full disk |
//! | stopped | the above | never |
//!
//! Its lock is none of the allocator's, and it is taken while none of those is held, so walking the stack,
//! reading the memory map and writing the file may take their time.
//!
//! * **I1** Everything but the configuration lies in memory that the kernel wipes in a child after fork, by
//!   whatever call: a child finds the recorder blank, and never writes into its parent's file.
//! * **I2** A signal handler that interrupts the recorder and allocates finds the lock its own thread's, and is
//!   not recorded.
//! * **I3** After each event the chunk's header says how long it is, so that nothing is lost with the process.

mod config;
mod output;
mod session;
pub(super) mod stacks;

#[cfg(feature = "preload")]
pub use config::number;
pub use config::{Config, MOST_SAMPLE_BYTES};
use session::Session;

use super::recording::format::{Ending, MarkKind};
use crate::global::{slot, watch};
use crate::os::{self, Lock};
use crate::sync::{AtomicU32, Ordering, SharedCell};
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use watch::Event;

/// States of [`Recorder`]; blank is 0, which is what wiped memory holds.
const BLANK: u32 = 0;
const RECORDING: u32 = 1;
const STOPPED: u32 = 2;

/// Valid when all zero: then it is blank and its lock free.
struct Recorder {
    lock: Lock,
    state: AtomicU32,
    /// Written while the state is [`RECORDING`]. Guarded by `lock`.
    session: SharedCell<MaybeUninit<Session>>,
}

/// What survives a fork.
struct Place {
    config: Config,
    recorder: &'static Recorder,
}

/// Why no recording begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// This process records already, or did.
    Twice,
    /// Another process writes to the file, and following was not asked for.
    Taken,
    /// The system refused the file or memory.
    Refused,
}

impl core::fmt::Display for StartError {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(match self {
            Self::Twice => "this process has recorded already",
            Self::Taken => "another process records into this file",
            Self::Refused => "the system refused the file or memory for it",
        })
    }
}

impl std::error::Error for StartError {}

/// Begins to record.
///
/// # Errors
/// Nothing was begun.
pub fn start(config: Config) -> Result<(), StartError> {
    if place().is_some() {
        return Err(StartError::Twice);
    }
    let sample_bytes = config.sample_bytes;
    let place = make_place(config).ok_or(StartError::Refused)?;
    let begun = {
        let _locked = place.recorder.lock.lock();
        begin(place)
    };
    begun?;
    if !slot::keep(slot::Keeper::Recorder, NonNull::from(place).cast()) {
        return Err(StartError::Twice);
    }
    os::at_exit(process_ends);
    let is_observed = match sample_bytes {
        0 => watch::observe(observe),
        bytes => watch::observe_samples(observe, bytes as usize),
    };
    is_observed.then_some(()).ok_or(StartError::Refused)
}

/// Ends the recording; what follows is not seen.
pub fn stop() {
    end(Ending::Stopped);
}

/// Writes what the calling thread says it does.
pub fn mark(kind: MarkKind, name: &str) {
    with_session(|session| session.mark(kind, name.as_bytes()));
}

extern "C" fn process_ends() {
    end(Ending::Exit);
}

fn place() -> Option<&'static Place> {
    // SAFETY: only `start` fills the slot, with a place that stays for ever.
    slot::kept(slot::Keeper::Recorder).map(|place| unsafe { place.cast::<Place>().as_ref() })
}

fn make_place(config: Config) -> Option<&'static Place> {
    let page = os::page_size();
    let wiped_len = size_of::<Recorder>().next_multiple_of(page);
    let wiped = os::map(wiped_len, page)?;
    // SAFETY: a mapping of that length.
    if !unsafe { os::wipe_on_fork(wiped, wiped_len) } {
        return None;
    }
    let kept = os::map(size_of::<Place>().next_multiple_of(page), page)?.cast::<Place>();
    // SAFETY: mapped for this and never given back; all zero is a recorder (its declaration says so).
    unsafe {
        kept.write(Place {
            config,
            recorder: wiped.cast::<Recorder>().as_ref(),
        });
        Some(kept.as_ref())
    }
}

/// From blank to recording. The lock is held. Out of the way of every event: it needs pages of stack.
#[cold]
#[inline(never)]
fn begin(place: &'static Place) -> Result<(), StartError> {
    let recorder = place.recorder;
    // Stopped, until it has begun: a child that cannot record is not tried again.
    recorder.state.store(STOPPED, Ordering::Relaxed);
    let session = Session::new(&place.config)?;
    // SAFETY: the lock is held.
    unsafe {
        recorder.session.with_mut(|cell| {
            cell.write(session);
        });
    }
    recorder.state.store(RECORDING, Ordering::Relaxed);
    Ok(())
}

/// Called for every event, by the thread that caused it.
fn observe(event: &Event) {
    with_session(|session| session.event(event));
}

/// Runs `f` on the session, if there is one. False from `f` ends the recording.
fn with_session(f: impl FnOnce(&mut Session) -> bool) {
    let Some(place) = place() else {
        return;
    };
    let recorder = place.recorder;
    // I2.
    if recorder.state.load(Ordering::Relaxed) == STOPPED || recorder.lock.is_mine() {
        return;
    }
    let _locked = recorder.lock.lock();
    if recorder.state.load(Ordering::Relaxed) == BLANK {
        // I1: a child after fork.
        if !place.config.follow || begin(place).is_err() {
            recorder.state.store(STOPPED, Ordering::Relaxed);
            watch::forget(observe);
            return;
        }
    }
    if recorder.state.load(Ordering::Relaxed) == RECORDING {
        // SAFETY: the lock is held, and in this state the session is written.
        let goes_on = unsafe { recorder.session.with_mut(|cell| f(cell.assume_init_mut())) };
        if !goes_on {
            recorder.state.store(STOPPED, Ordering::Relaxed);
            watch::forget(observe);
        }
    }
}

fn end(why: Ending) {
    if let Some(place) = place()
        && place.recorder.state.load(Ordering::Relaxed) == RECORDING
    {
        with_session(|session| {
            session.end(why);
            false
        });
    }
}
