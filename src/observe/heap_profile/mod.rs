//! What a sample of the blocks that live now says of who made them: kept in this process, for whoever asks it.
//!
//! ```text
//! event ─► lock ─► stack (unwind/) ─► its place (places.rs): live, ever
//!                       block's address ─► place, what it stands for (table.rs)
//! page  ─► lock ─► all places ─► draft.rs ─► names.rs, lines.rs ─► pprof.rs ─► gzip.rs
//! ```
//!
//! It is the recorder's sibling, without a file: a recording tells the whole story, this only its present state and
//! its sums.
//!
//! | state | entered | left |
//! |---|---|---|
//! | blank | the memory is new, or this is a child after fork | `start` |
//! | on | `start` | `stop` |
//! | off | `stop`, no sampler | `start` |
//!
//! * **I1** Its state lies in memory that the kernel wipes in a child after fork: a child begins with nothing.
//! * **I2** Its lock is taken while none of the allocator's is held; nothing here allocates from the heap.
//! * **I3** The sum of a place's live blocks is the sum of the table's entries that name it.

mod draft;
mod gzip;
#[cfg_attr(
    not(all(feature = "symbols", not(feature = "preload"))),
    path = "no_lines.rs"
)]
pub mod lines;
mod names;
mod places;
mod pprof;
mod table;

pub use draft::{Draft, Origin, comment};

use super::recorder::stacks::Threads;
use super::recording::weight;
use super::unwind::Unwinder;
use crate::global::{slot, watch};
use crate::os::{self, Lock};
use crate::sync::{AtomicU32, Ordering, SharedCell};
use core::mem::MaybeUninit;
use core::ops::Range;
use places::Places;
use table::Table;
use watch::Event;

/// Most frames of a stack.
pub const MOST_FRAMES: usize = 64;

const ON: u32 = 1;
const OFF: u32 = 2;

/// What to keep.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Frames of a stack.
    pub frames: usize,
    /// Bytes between two sampled blocks on average; 0 for every block.
    pub bytes: u64,
}

/// Valid when all zero: then it is blank and its lock free.
struct Profile {
    lock: Lock,
    state: AtomicU32,
    /// Written while the state is [`ON`]. Guarded by `lock`.
    session: SharedCell<MaybeUninit<Session>>,
}

/// A block that lives.
#[derive(Clone, Copy)]
struct Live {
    place: u32,
    /// Blocks and bytes that it stands for.
    count: u32,
    bytes: u64,
}

/// A profile being kept.
pub struct Session {
    sampling: Sampling,
    unwinder: Unwinder,
    threads: Threads,
    /// The range of this library's code; empty when it is part of the program.
    own: Range<usize>,
    places: Places,
    blocks: Table<Live>,
    /// Blocks seen so far.
    seen: u64,
    start_unix_ms: u64,
    start_ms: u64,
}

/// Begins to keep a profile of this process. False when there is no memory, another sampler has another interval,
/// or every block is guarded.
pub fn start(sampling: Sampling) -> bool {
    let Some(profile) = profile() else {
        return false;
    };
    {
        let _locked = profile.lock.lock();
        if profile.state.load(Ordering::Relaxed) == ON {
            return false;
        }
        let Some(session) = Session::new(sampling) else {
            return false;
        };
        // SAFETY: the lock is held.
        unsafe {
            profile.session.with_mut(|cell| {
                cell.write(session);
            });
        }
        profile.state.store(ON, Ordering::Relaxed);
    }
    let begins = match sampling.bytes {
        0 => watch::observe(observe),
        bytes => watch::observe_samples(observe, bytes as usize),
    };
    if !begins {
        profile.state.store(OFF, Ordering::Relaxed);
    }
    begins
}

/// Keeps it no more.
pub fn stop() {
    watch::forget(observe);
    if let Some(profile) = kept() {
        profile.state.store(OFF, Ordering::Relaxed);
    }
}

/// Whether a profile is kept.
pub fn is_kept() -> bool {
    kept().is_some_and(|profile| profile.state.load(Ordering::Relaxed) == ON)
}

/// The profile as it is now; `None` when none is kept.
pub fn draft() -> Option<Draft> {
    with_session(Session::draft)
}

/// The profile's memory, made when it is first asked for.
fn profile() -> Option<&'static Profile> {
    if let Some(profile) = kept() {
        return Some(profile);
    }
    let page = os::page_size();
    let len = size_of::<Profile>().next_multiple_of(page);
    let place = os::map(len, page)?;
    // SAFETY: a mapping of that length.
    if unsafe { os::wipe_on_fork(place, len) } && slot::keep(slot::Keeper::HeapProfile, place) {
        return kept();
    }
    // SAFETY: mapped just now, known to nobody.
    unsafe { os::unmap(place, len) };
    kept()
}

fn kept() -> Option<&'static Profile> {
    let place = slot::kept(slot::Keeper::HeapProfile)?;
    // SAFETY: only `profile` fills the slot, with memory that stays; all zero is a profile (its declaration says so).
    Some(unsafe { place.cast::<Profile>().as_ref() })
}

/// Runs `f` on what is kept, if something is.
fn with_session<R>(f: impl FnOnce(&mut Session) -> R) -> Option<R> {
    let profile = kept()?;
    // A signal handler may have interrupted this thread here.
    if profile.lock.is_mine() {
        return None;
    }
    let _locked = profile.lock.lock();
    if profile.state.load(Ordering::Relaxed) != ON {
        return None;
    }
    // SAFETY: the lock is held, and in this state the session is written.
    Some(unsafe { profile.session.with_mut(|cell| f(cell.assume_init_mut())) })
}

/// Called for every sampled block, by the thread that made, resized or frees it.
fn observe(event: &Event) {
    if lines::is_here() {
        return;
    }
    if os::keep_errno(|| with_session(|session| session.event(event))).is_none() && !is_kept() {
        // I1: a child after fork.
        watch::forget(observe);
    }
}

impl Session {
    fn new(sampling: Sampling) -> Option<Self> {
        let mut unwinder = Unwinder::new()?;
        let own = match cfg!(feature = "preload") {
            true => unwinder.range_of(os::registers().program),
            false => 0..0,
        };
        Some(Self {
            sampling,
            unwinder,
            threads: Threads::new()?,
            own,
            places: Places::default(),
            blocks: Table::default(),
            seen: 0,
            start_unix_ms: os::unix_ms(),
            start_ms: os::now_ms(),
        })
    }

    /// Copies what is known.
    fn draft(&mut self) -> Draft {
        let bytes = self.sampling.bytes;
        let mut draft = Draft::new(Origin {
            comment: comment("a sampling profile", bytes),
            counts_made: true,
            period: bytes,
            start_unix_ms: self.start_unix_ms,
            start_ms: self.start_ms,
            // Stacks were cut when they were walked.
            frames: 0,
        });
        for (place, frames) in self.places.all() {
            let sums = [
                place.made_count,
                place.made_bytes,
                place.live_count,
                place.live_bytes,
            ];
            draft.add(frames, 0, sums, &mut self.unwinder);
        }
        draft
    }

    fn event(&mut self, event: &Event) {
        match *event {
            Event::Allocated {
                address,
                size,
                align,
                ..
            } => self.add(address, size, align),
            Event::Freeing { address, .. } => self.remove(address),
            Event::Resized { old, new, size, .. } => {
                self.remove(old);
                self.add(new, size, 1);
            }
        }
    }

    #[inline(never)]
    fn add(&mut self, address: usize, size: usize, align: usize) {
        let mut frames = [0; MOST_FRAMES];
        let frames = &mut frames[..self.sampling.frames.min(MOST_FRAMES)];
        let here = os::registers();
        let mut n = 0;
        if let Some((bounds, trail)) = self.threads.current().walk() {
            self.unwinder
                .climb(here, &self.own, bounds, trail, frames.len());
            for (frame, step) in frames.iter_mut().zip(trail.steps().iter().rev()) {
                *frame = step.program;
                n += 1;
            }
        }
        let charged = watch::charged(size, align) as u64;
        let weight = weight::weight(charged, self.sampling.bytes);
        let (count, bytes) = weight::stands_for(weight, size as u64, self.seen);
        self.seen += 1;
        let place = self.places.find(&frames[..n]);
        let live = Live {
            place,
            count: count.min(u32::MAX.into()) as u32,
            bytes,
        };
        // One that was not seen to end gives way.
        self.remove(address);
        if self.blocks.insert(address as u64, live) {
            self.places.made(place, live.count.into(), bytes);
        }
    }

    fn remove(&mut self, address: usize) {
        if let Some(live) = self.blocks.remove(address as u64) {
            self.places.ended(live.place, live.count.into(), live.bytes);
        }
    }
}
