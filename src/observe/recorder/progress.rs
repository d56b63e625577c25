//! How far a log is, and where all of them end.
//!
//! ```text
//! owner     │ below `simple_to`? ─► bytes ─► done │ below? ─► …           │ shut: no event more
//! who ends  │        shuts all ─► looks at all ─► looks again, until none has moved since the look before
//! ```
//!
//! Owners write without a lock, so a recording ends while they write. What is in it must have no event without those
//! that it follows from: no free of a block without the block.
//!
//! * **I1** An owner publishes an event before anybody can do what follows from it: before it gives the block away, or
//!   lets it be free.
//! * **I2** An event is left out only after all have settled: whoever may not write any more waits for the recorder's
//!   lock, which is held by who ends the recording, or has learnt that it is over, which is said when all have settled.
//! * **I3** What [`settle`] has seen is closed: take an event B that was seen in one log, and an A before it in another.
//!   A was not left out, since B would have begun after all had settled (I2). So it was published before B began (I1). The
//!   look that saw B learnt of that; the look after it so finds A, and found what the look before it did.
//! * **I4** `simple_to` stays `SHUT`. So each owner writes at most the event that it is at, and looks come to an end.
//!   Events published later are in no file, nor is what follows from them (I3).

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Bits for the length of a payload. There are 48 for the number of events: a week's of one each 2 ns.
pub const LEN_BITS: u32 = 16;

/// Below every length, as one with a sign.
const SHUT: u32 = u32::MAX;

/// Bytes of whole events in the chunk's payload in the lowest [`LEN_BITS`], and above them events so far: one store says
/// both.
#[derive(Clone, Copy, Debug)]
pub struct Done(u64);

impl Done {
    /// Bytes of the payload.
    #[inline(always)]
    pub fn bytes(self) -> usize {
        (self.0 % (1 << LEN_BITS)) as usize
    }

    /// Events of all chunks.
    pub fn events(self) -> u64 {
        self.0 >> LEN_BITS
    }
}

/// See the module. Valid when all zero: then nothing was written.
pub struct Progress {
    /// A [`Done`]. Written by the owner.
    done: AtomicU64,
    /// Bytes up to which the owner writes simply: the ticket and the thread are said, there is room, and no look is due. 0
    /// where nothing was written. Written by the owner, until who ends the recording writes [`SHUT`].
    simple_to: AtomicU32,
    /// `done` when who ends the recording looked last. Its own.
    seen: AtomicU64,
}

impl Default for Progress {
    /// Nothing was written: in a log, memory that is zero.
    fn default() -> Self {
        Self {
            done: AtomicU64::new(0),
            simple_to: AtomicU32::new(0),
            seen: AtomicU64::new(0),
        }
    }
}

impl Progress {
    /// How far it is, if the owner may write the next event simply.
    #[inline(always)]
    pub fn simply(&self) -> Option<Done> {
        let done = self.done();
        // Relaxed: the owner's, and what it does once more after it is shut is looked for (I4).
        let to = self.simple_to.load(Ordering::Relaxed).cast_signed();
        ((done.bytes() as i32) < to).then_some(done)
    }

    /// Events are written simply up to that length of the payload, by the owner, unless it is shut.
    #[inline]
    pub fn set_simple_to(&self, len: usize) {
        // Relaxed: as in `simply`.
        let to = self.simple_to.load(Ordering::Relaxed);
        if to != SHUT && to != len as u32 {
            // Relaxed: as above. It fails if this is shut meanwhile, and then stays so (I4).
            let _ = self.simple_to.compare_exchange(
                to,
                len as u32,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// How far it is, to the owner, and to others about where it is.
    #[inline(always)]
    pub fn done(&self) -> Done {
        // Relaxed: the owner's; nobody else reads events by it.
        Done(self.done.load(Ordering::Relaxed))
    }

    /// One event more, of so many bytes, by the owner; how far it is.
    #[inline(always)]
    pub fn advance(&self, done: Done, bytes: usize) -> Done {
        let done = Done(done.0 + (1 << LEN_BITS) + bytes as u64);
        // Release: publishes the event's bytes, and what was done before it (I3).
        self.done.store(done.0, Ordering::Release);
        done
    }

    /// So far is the chunk, and so many events came in since, by the owner.
    #[inline(always)]
    pub fn publish(&self, len: usize, new_events: u64) {
        debug_assert!(len < 1 << LEN_BITS);
        let events = self.done().events() + new_events;
        // Release: as in `advance`.
        self.done
            .store(events << LEN_BITS | len as u64, Ordering::Release);
    }

    /// The owner begins no event any more, once it sees this. Under the recorder's lock.
    pub fn shut(&self) {
        // Relaxed: what is written before it is seen is looked for. Changed in one step, as the owner does: that comes
        // before and is lost, or fails (I4).
        self.simple_to.swap(SHUT, Ordering::Relaxed);
    }

    /// Whether it is farther than at the last look.
    fn moves(&self) -> bool {
        // Acquire: pairs with the Release of the owner. Without it the next look could miss what came before (I3).
        let done = self.done.load(Ordering::Acquire);
        // Relaxed: of this thread alone.
        let seen = self.seen.load(Ordering::Relaxed);
        self.seen.store(done, Ordering::Relaxed);
        seen != done
    }

    /// How far it was when all had settled.
    pub fn seen(&self) -> Done {
        // Relaxed: of this thread alone.
        Done(self.seen.load(Ordering::Relaxed))
    }
}

/// Looks at logs that are shut until a look finds of all of them what the last one did (I3). Once, and under the
/// recorder's lock, so that their chunks stay the same.
pub fn settle<'a>(all: impl Iterator<Item = &'a Progress> + Clone) {
    let look = || all.clone().filter(|progress| progress.moves()).count();
    while look() > 0 {}
}
