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
//! * **I1** Only its thread uses the body of an open log. An observer is not called inside another one, so a signal
//!   handler finds no body half-changed.
//! * **I2** The payload's first `published` bytes are whole events and stay as they are until the chunk's number
//!   changes, which it does under the recorder's lock.

use super::super::recording::format::{CHUNK_BYTES, CHUNK_HEADER_BYTES};
use super::Recorder;
use super::body::Body;
use super::tracer::Tracer;
use crate::os;
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

/// See the module. Valid when all zero: then it is blank.
pub struct Log {
    state: AtomicU32,
    /// Bytes of whole events in the chunk (I2). Written by the owner.
    published: AtomicU32,
    /// Number of the chunk. Written by the owner under the recorder's lock.
    chunk: AtomicU32,
    /// Events so far. Written by the owner.
    events: AtomicU64,
    /// Where the payload lies.
    payload: AtomicPtr<u8>,
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

    /// Events written.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Number of the chunk.
    pub fn chunk(&self) -> u32 {
        self.chunk.load(Ordering::Relaxed)
    }

    /// The whole events of the chunk, under the recorder's lock.
    pub fn payload(&self) -> &[u8] {
        // Acquire: pairs with `publish`.
        let len = self.published.load(Ordering::Acquire) as usize;
        let Some(start) = NonNull::new(self.payload.load(Ordering::Relaxed)) else {
            return &[];
        };
        // SAFETY: I2; the chunk stays as long as the lock is held.
        unsafe { core::slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// Says how far the chunk is, by the owner.
    #[inline]
    pub fn publish(&self, len: usize, events: u64) {
        // Relaxed: a count for the end.
        self.events.store(events, Ordering::Relaxed);
        // Release: publishes the events.
        self.published.store(len as u32, Ordering::Release);
    }

    /// Another chunk has begun, by the owner under the recorder's lock.
    pub fn begin_chunk(&self, number: u32) {
        self.published.store(0, Ordering::Relaxed);
        self.chunk.store(number, Ordering::Relaxed);
    }

    /// Runs `f` on the body.
    ///
    /// # Safety
    /// 1. The log was made (not blank), and either it is open and this is its thread, or it is not and the recorder's
    ///    lock is held.
    /// 2. `f` does not come back here.
    #[inline]
    pub unsafe fn with<R>(&self, f: impl FnOnce(&mut Body) -> R) -> R {
        // SAFETY: exclusive by duty 1 and I1; written by `make`.
        unsafe { self.body.with_mut(|cell| f(cell.assume_init_mut())) }
    }
}
