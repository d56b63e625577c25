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
//! * **I1** Only its thread uses the body of an open log, and that of one that was closed meanwhile, for the event that it
//!   is at: which is in the file if it was done before all logs had settled (`progress.rs`). An observer is not called inside
//!   another one, so a signal handler finds no body half-changed.
//! * **I2** The payload's first `published` bytes are whole events and stay as they are until the chunk's number
//!   changes, which it does under the recorder's lock.

use super::super::recording::encode::simple::Ready;
use super::super::recording::format::{CHUNK_BYTES, CHUNK_HEADER_BYTES};
use super::Recorder;
use super::body::Body;
use super::near::Near;
use super::progress::{LEN_BITS, Progress};
use super::tracer::Tracer;
use crate::os::{self, Call};
use crate::sync::{AtomicPtr, AtomicU32, Ordering, SharedCell};
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

const _: () = assert!(
    CHUNK_BYTES - CHUNK_HEADER_BYTES < 1 << LEN_BITS,
    "a payload's length has too many bits"
);

/// See the module. Valid when all zero: then it is blank.
pub struct Log {
    state: AtomicU32,
    /// How far it is: its length is I2's.
    pub progress: Progress,
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

    /// Number of the chunk.
    pub fn chunk(&self) -> u32 {
        self.chunk.load(Ordering::Relaxed)
    }

    /// The whole events of the chunk, and how many there were in all, when all logs had [settled](super::progress::settle).
    /// Under the recorder's lock.
    pub fn whole(&self) -> (&[u8], u64) {
        let seen = self.progress.seen();
        let Some(start) = NonNull::new(self.payload.load(Ordering::Relaxed)) else {
            return (&[], seen.events());
        };
        // SAFETY: I2; the chunk stays as long as the lock is held.
        let payload = unsafe { core::slice::from_raw_parts(start.as_ptr(), seen.bytes()) };
        (payload, seen.events())
    }

    /// Another chunk has begun, by the owner under the recorder's lock.
    pub fn begin_chunk(&self, number: u32) {
        self.progress.publish(0, 0);
        self.chunk.store(number, Ordering::Relaxed);
    }

    /// Runs `f` on the body.
    ///
    /// # Safety
    /// 1. The log was made (not blank), and either this is its thread and it is open or [simple](Progress::simply), or it is not
    ///    open and the recorder's lock is held.
    /// 2. `f` does not come back here.
    #[inline(always)]
    pub unsafe fn with<R>(&self, f: impl FnOnce(&mut Body) -> R) -> R {
        // SAFETY: exclusive by duty 1 and I1; written by `make`.
        unsafe { self.body.with_mut(|cell| f(cell.assume_init_mut())) }
    }
}
