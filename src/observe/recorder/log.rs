//! The log of one thread: what it does, written down without a lock.
//!
//! ```text
//! event ─► stack ─► its number ─► ticket ─► chunk ─ full ─► lock ─► file
//!          (unwind/)  (stacks.rs)   (order.rs)   └─ memory of NAME.tail
//! ```
//!
//! | state | entered | left |
//! |---|---|---|
//! | blank | the memory is new, or wiped in a child after fork | the thread opens it |
//! | open | a thread writes its first event | the thread ends; the recording ends |
//! | idle | its thread has ended | another thread opens it, and goes on where that one left off |
//! | closed | the recording has ended | never |
//!
//! The log for all who have none is never open or idle, and used under the recorder's lock.
//!
//! * **I1** Only its thread uses the body of an open log, and until its next look around that of one that was closed
//!   meanwhile: what it writes simply then is in no file. An observer is not called inside another one, so a signal handler
//!   finds no body half-changed.
//! * **I2** The payload's first `published` bytes are whole events and stay as they are until the chunk's number
//!   changes, which it does under the recorder's lock.

use super::super::recording::encode::simple::Ready;
use super::super::recording::format::{CHUNK_BYTES, CHUNK_HEADER_BYTES};
use super::Recorder;
use super::body::Body;
use super::near::Near;
use super::tracer::Tracer;
use crate::os::{self, Call};
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, SharedCell};
use core::mem::MaybeUninit;
use core::ptr::NonNull;

/// Memory of a chunk.
pub type ChunkMemory = &'static mut [u8; CHUNK_BYTES];

/// States of a log; blank is 0, which is what wiped memory holds.
pub const OPEN: u32 = 1;
/// See there.
pub const IDLE: u32 = 2;
/// See there.
pub const CLOSED: u32 = 3;

/// Bits for the length of a payload. There are 48 for the number of events: a week's of one each 2 ns.
const LEN_BITS: u32 = 16;

const _: () = assert!(
    CHUNK_BYTES - CHUNK_HEADER_BYTES < 1 << LEN_BITS,
    "a payload's length has too many bits"
);

/// Bytes of whole events in the chunk's payload in the lowest [`LEN_BITS`], and above them events so far: one store says
/// both.
#[derive(Clone, Copy, Debug)]
pub struct Done(u64);

impl Done {
    /// Bytes of the payload.
    #[inline(always)]
    pub fn len(self) -> usize {
        (self.0 % (1 << LEN_BITS)) as usize
    }

    fn events(self) -> u64 {
        self.0 >> LEN_BITS
    }
}

/// See the module. Valid when all zero: then it is blank.
pub struct Log {
    state: AtomicU32,
    /// A [`Done`], whose length is I2's. Written by the owner.
    done: AtomicU64,
    /// Bytes up to which the owner writes simply: the ticket and the thread are said, there is room, and no look is due. 0
    /// where nothing was written. Written by the owner.
    simple_to: AtomicU32,
    /// Number of the chunk. Written by the owner under the recorder's lock.
    chunk: AtomicU32,
    /// Where the payload lies.
    payload: AtomicPtr<u8>,
    /// What calls are known by, where one frame is kept. Whoever may use the body uses it.
    near: SharedCell<Near>,
    body: SharedCell<MaybeUninit<Body>>,
}

impl Log {
    /// One that nobody writes to, in memory that is blank in a child. `None` when memory is out.
    pub fn make(
        recorder: &'static Recorder,
        number: usize,
        memory: ChunkMemory,
        tracer: Option<Tracer>,
    ) -> Option<&'static Self> {
        let page = os::page_size();
        let len = size_of::<Self>().next_multiple_of(page);
        let place = os::map(len, page)?;
        // SAFETY: a mapping of that length.
        if !unsafe { os::wipe_on_fork(place, len) } {
            return None;
        }
        // SAFETY: mapped for this and never given back; all zero is a log.
        let log = unsafe { place.cast::<Self>().as_ref() };
        // SAFETY: inside the memory of a chunk.
        let payload = unsafe { memory.as_mut_ptr().add(CHUNK_HEADER_BYTES) };
        log.payload.store(payload, Ordering::Relaxed);
        // SAFETY: nobody knows the log.
        unsafe { log.near.with_mut(Near::begin) };
        let body = Body::new(recorder, number, memory, tracer);
        // SAFETY: nobody knows the log.
        unsafe {
            log.body.with_mut(|cell| {
                cell.write(body);
            });
        }
        Some(log)
    }

    /// Whether its thread may write.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.state.load(Ordering::Relaxed) == OPEN
    }

    /// Changes its state, under the recorder's lock.
    pub fn enter(&self, state: u32) {
        self.state.store(state, Ordering::Relaxed);
    }

    /// How far it is, if the next event may be written down simply, by the owner, who has it open or had it at its last
    /// event.
    #[inline(always)]
    pub fn simply(&self) -> Option<Done> {
        // Relaxed: both are this thread's.
        let done = Done(self.done.load(Ordering::Relaxed));
        // Relaxed: as above.
        let to = self.simple_to.load(Ordering::Relaxed);
        ((done.len() as u32) < to).then_some(done)
    }

    /// One event more, of so many bytes, by the owner; how far it is.
    #[inline(always)]
    pub fn advance(&self, done: Done, bytes: usize) -> Done {
        let done = Done(done.0 + (1 << LEN_BITS) + bytes as u64);
        // Release: as in `publish`.
        self.done.store(done.0, Ordering::Release);
        done
    }

    /// Events are written simply up to that length of the payload, by the owner.
    #[inline]
    pub fn set_simple_to(&self, len: usize) {
        // Relaxed: as in `simply`.
        self.simple_to.store(len as u32, Ordering::Relaxed);
    }

    /// The number of a call's stack, if it is at hand; `None` in it where no stacks are kept.
    ///
    /// # Safety
    /// 1. As duty 1 of [`Self::with`].
    /// 2. The function that was called has not returned yet.
    #[inline(always)]
    #[allow(clippy::option_option, reason = "not kept, and not at hand, differ")]
    pub unsafe fn stack_at_hand<const FRAMES: usize>(&self, call: Call) -> Option<Option<Ready>> {
        if FRAMES == 0 {
            return Some(None);
        }
        // SAFETY: duty 2.
        let caller = unsafe { call.caller() };
        // SAFETY: nobody else uses it by duty 1.
        unsafe { self.near.with_mut(|near| near.get(caller.program)) }.map(Some)
    }

    /// Remembers a stack of one frame.
    ///
    /// # Safety
    /// As duty 1 of [`Self::with`].
    pub unsafe fn put_at_hand(&self, program: usize, number: u32) {
        // SAFETY: nobody else uses it by the duty.
        unsafe { self.near.with_mut(|near| near.put(program, number)) }
    }

    /// Bytes of the payload so far, to the owner.
    #[inline(always)]
    pub fn len(&self) -> usize {
        // Relaxed: the owner's.
        Done(self.done.load(Ordering::Relaxed)).len()
    }

    /// Events written.
    pub fn events(&self) -> u64 {
        Done(self.done.load(Ordering::Relaxed)).events()
    }

    /// Number of the chunk.
    pub fn chunk(&self) -> u32 {
        self.chunk.load(Ordering::Relaxed)
    }

    /// The whole events of the chunk, under the recorder's lock.
    pub fn payload(&self) -> &[u8] {
        // Acquire: pairs with `publish`.
        let len = Done(self.done.load(Ordering::Acquire)).len();
        let Some(start) = NonNull::new(self.payload.load(Ordering::Relaxed)) else {
            return &[];
        };
        // SAFETY: I2; the chunk stays as long as the lock is held.
        unsafe { core::slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// Says how far the chunk is, and how many events came in since, by the owner.
    #[inline(always)]
    pub fn publish(&self, len: usize, new_events: u64) {
        debug_assert!(len < 1 << LEN_BITS);
        // Relaxed: nobody else changes it.
        let events = self.events() + new_events;
        // Release: publishes the events.
        let done = events << LEN_BITS | len as u64;
        self.done.store(done, Ordering::Release);
    }

    /// Another chunk has begun, by the owner under the recorder's lock.
    pub fn begin_chunk(&self, number: u32) {
        self.publish(0, 0);
        self.chunk.store(number, Ordering::Relaxed);
    }

    /// Runs `f` on the body.
    ///
    /// # Safety
    /// 1. The log was made (not blank), and either this is its thread and it is open or [simple](Self::simply), or it is not
    ///    open and the recorder's lock is held.
    /// 2. `f` does not come back here.
    #[inline(always)]
    pub unsafe fn with<R>(&self, f: impl FnOnce(&mut Body) -> R) -> R {
        // SAFETY: exclusive by duty 1 and I1; written by `make`.
        unsafe { self.body.with_mut(|cell| f(cell.assume_init_mut())) }
    }
}
