//! The recorder: an observer of every call that writes it down.
//!
//! ```text
//! thread 1 ─► log 0 ─ chunk ─ full ─┐
//! thread 2 ─► log 1 ─ chunk ─ full ─┼─► lock ─► file
//! others ─► lock ─► common log ─────┘
//!             └─ all chunks being filled: NAME.tail
//! ```
//!
//! | state | entered | left |
//! |---|---|---|
//! | blank | the memory is new, or this is a child after fork | `start` |
//! | recording | `start` | `stop`, the limit, a full disk |
//! | stopped | the above | never |
//!
//! Each thread writes into a log of its own, without a lock (`log.rs`); tickets say what came after what (`order.rs`).
//! An ended thread's log serves the next one, so there are as many logs as threads at a time, and each takes
//! 64 KiB of the tail file and, with stacks, tables of its own. Who has no log shares the common one: threads that end,
//! and those beyond the 255th.
//!
//! The recorder's lock is none of the allocator's, and it is taken while none of those is held, so walking the stack,
//! reading the memory map and writing the file may take their time.
//!
//! * **I1** Everything but the configuration lies in memory that the kernel wipes in a child after fork, by
//!   whatever call: a child finds the recorder and its logs blank, and never writes into its parent's file.
//! * **I2** A signal handler that interrupts the recorder and allocates finds its thread observing, or the lock its own
//!   thread's, and is not recorded.
//! * **I3** After each event the chunk's header says how long it is, so that nothing is lost with the process.

mod body;
mod config;
mod log;
mod makers;
mod near;
pub(super) mod order;
mod output;
mod progress;
mod session;
mod short;
pub(super) mod stacks;
mod tracer;

#[cfg(feature = "preload")]
pub use config::number;
pub use config::{Config, MOST_SAMPLE_BYTES};

use super::recording::encode::Chunk;
use super::recording::format::{Ending, MarkKind};
use crate::global::{slot, watch};
use crate::os::{self, Lock};
use crate::sync::{AtomicU32, AtomicU64, Ordering, SharedCell};
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use log::Log;
use order::{LOGS, Order};
use session::Session;
use watch::Event;

/// States of [`Recorder`]; blank is 0, which is what wiped memory holds.
const BLANK: u32 = 0;
const RECORDING: u32 = 1;
const STOPPED: u32 = 2;

/// Frames walked beyond those asked for, where this crate is part of the program: readers leave its own out.
pub(super) const SPARE: usize = if cfg!(feature = "preload") { 0 } else { 16 };

/// Number of the log for those who have none.
const COMMON: usize = LOGS - 1;

/// Valid when all zero: then it is blank and its lock free.
struct Recorder {
    lock: Lock,
    state: AtomicU32,
    /// 1 if events are few. This and the next two are written before the first log is made.
    samples: AtomicU32,
    start_ms: AtomicU64,
    /// Bytes after which the recording ends; `u64::MAX` for none.
    limit: AtomicU64,
    /// Bytes so far, as far as they were counted; only if there is a limit.
    bytes: AtomicU64,
    order: Order,
    makers: makers::Table,
    /// Written while the state is not [`BLANK`]. Guarded by `lock`.
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
    let (sample_bytes, frames) = (config.sample_bytes, config.frames);
    let place = make_place(config).ok_or(StartError::Refused)?;
    let begun = {
        let _locked = place.recorder.lock.lock();
        begin(place)
    };
    begun?;
    if !slot::keep(slot::Keeper::Recorder, NonNull::from(place).cast()) {
        return Err(StartError::Twice);
    }
    slot::set_farewell(thread_ends);
    os::at_exit(process_ends);
    let is_observed = match sample_bytes {
        0 => watch::observe_shortly(observe, short::way(frames)),
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
    watch::unobserved(|| {
        write(|log| {
            // SAFETY: as `write` says.
            unsafe { log.with(|body| body.mark(log, kind, name.as_bytes())) }
        })
    });
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
    let samples = u32::from(place.config.sample_bytes > 0);
    recorder.samples.store(samples, Ordering::Relaxed);
    recorder.start_ms.store(os::now_ms(), Ordering::Relaxed);
    recorder.limit.store(place.config.limit, Ordering::Relaxed);
    let session = Session::new(recorder, &place.config)?;
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
    if let Some(log) = own_log() {
        // SAFETY: open, and this thread's.
        unsafe { log.with(|body| body.event(log, event, None)) }
    } else {
        observe_slow(event);
    }
}

/// What a thread has in its place, if it is a log that it may write to.
#[inline(always)]
fn opened(log: Option<NonNull<u8>>) -> Option<&'static Log> {
    // SAFETY: only `write` fills the place, with a log, which stays; wiped memory is one, too.
    let log = unsafe { log?.cast::<Log>().as_ref() };
    log.is_open().then_some(log)
}

#[cold]
#[inline(never)]
fn observe_slow(event: &Event) {
    os::keep_errno(|| {
        write(|log| {
            // SAFETY: as `write` says.
            unsafe { log.with(|body| body.event(log, event, None)) }
        });
    });
}

/// The calling thread's log, if it may write to one.
#[inline]
fn own_log() -> Option<&'static Log> {
    opened(slot::place_of_thread()?.get())
}

/// Runs `f` on the log that the calling thread is to write to, if there is a recording: its own open one, or the common
/// one under the lock.
fn write(f: impl FnOnce(&'static Log)) {
    if let Some(log) = own_log() {
        return f(log);
    }
    let Some(place) = place() else {
        return;
    };
    let recorder = place.recorder;
    // Acquire: pairs with the Release in `end`. Until that was said, who has a closed log waits for the lock.
    if recorder.state.load(Ordering::Acquire) == STOPPED || recorder.lock.is_mine() {
        // I2.
        return;
    }
    let locked = recorder.lock.lock();
    if recorder.state.load(Ordering::Relaxed) == BLANK {
        // I1: a child after fork.
        if !place.config.follow || begin(place).is_err() {
            recorder.state.store(STOPPED, Ordering::Relaxed);
            watch::forget(observe);
            return;
        }
    }
    if recorder.state.load(Ordering::Relaxed) != RECORDING {
        return;
    }
    if let Some(thread) = slot::place_of_thread()
        && let Some(log) = recorder.with_session(|session| session.open_log(recorder))
    {
        thread.set(Some(NonNull::from(log).cast()));
        drop(locked);
        f(log);
    } else {
        f(recorder.with_session(|session| session.use_common(recorder)));
    }
}

/// The thread that had this log has ended.
fn thread_ends(log: NonNull<u8>) {
    // SAFETY: only `write` fills the place of a thread.
    let log = unsafe { log.cast::<Log>().as_ref() };
    let Some(place) = place() else {
        return;
    };
    let recorder = place.recorder;
    if recorder.lock.is_mine() {
        return;
    }
    let _locked = recorder.lock.lock();
    if recorder.state.load(Ordering::Relaxed) == RECORDING && log.is_open() {
        recorder.with_session(|session| session.leave_log(log));
    }
}

fn end(why: Ending) {
    let Some(place) = place() else {
        return;
    };
    let recorder = place.recorder;
    watch::unobserved(|| {
        if recorder.lock.is_mine() {
            return;
        }
        let _locked = recorder.lock.lock();
        if recorder.state.load(Ordering::Relaxed) == RECORDING {
            recorder.end(None, why);
        }
    });
}

impl Recorder {
    /// Milliseconds since the recording began.
    fn elapsed_ms(&self) -> u64 {
        os::now_ms() - self.start_ms.load(Ordering::Relaxed)
    }

    fn is_sampled(&self) -> bool {
        self.samples.load(Ordering::Relaxed) != 0
    }

    fn is_limited(&self) -> bool {
        self.limit.load(Ordering::Relaxed) != u64::MAX
    }

    fn add_bytes(&self, n: usize) {
        self.bytes.fetch_add(n as u64, Ordering::Relaxed);
    }

    fn is_too_long(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.limit.load(Ordering::Relaxed)
    }

    /// Runs `f` on the session. The lock is held, the state is not blank, and `f` does not come back here.
    fn with_session<R>(&self, f: impl FnOnce(&mut Session) -> R) -> R {
        // SAFETY: the lock is held, and in this state the session is written.
        unsafe { self.session.with_mut(|cell| f(cell.assume_init_mut())) }
    }

    /// Writes the full chunk of a log to the file. False when the recording is over. `is_common` says that it is the
    /// common log's: then the lock is held.
    #[cold]
    #[inline(never)]
    fn hand_over(&self, log: &Log, chunk: &mut Chunk<'_>, is_common: bool) -> bool {
        if !is_common && self.lock.is_mine() {
            return false;
        }
        os::keep_errno(|| {
            let _locked = (!is_common).then(|| self.lock.lock());
            if self.state.load(Ordering::Relaxed) != RECORDING {
                return false;
            }
            let why = match self.is_too_long() {
                true => Ending::Limit,
                false if self.with_session(|session| session.hand_over(log, chunk)) => return true,
                false => Ending::Refused,
            };
            self.end(is_common.then_some(chunk), why);
            false
        })
    }

    /// Ends the recording for its length. `common` is the common log's chunk if that is in use: then the lock is held.
    #[cold]
    fn end_too_long(&self, common: Option<&mut Chunk<'_>>) {
        if common.is_none() && self.lock.is_mine() {
            return;
        }
        os::keep_errno(|| {
            let _locked = common.is_none().then(|| self.lock.lock());
            if self.state.load(Ordering::Relaxed) == RECORDING {
                self.end(common, Ending::Limit);
            }
        });
    }

    /// Ends the recording. The lock is held; the chunk of the common log is given if that is in use.
    fn end(&self, common: Option<&mut Chunk<'_>>, why: Ending) {
        let ticket = self.with_session(|session| session.settle(&self.order));
        // Release: who does not write any more because of this does not before all have settled (I2 of `progress`).
        self.state.store(STOPPED, Ordering::Release);
        let ms = self.elapsed_ms();
        self.with_session(|session| match common {
            Some(chunk) => session.end(ticket, ms, chunk, why),
            None => {
                let log = session.common;
                // SAFETY: never open, not in use, and the lock is held.
                unsafe { log.with(|body| session.end(ticket, ms, &mut body.chunk, why)) }
            }
        });
        watch::forget(observe);
    }
}
