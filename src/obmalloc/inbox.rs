//! A lock and the inbox before it: how blocks reach a heap that somebody else is using.
//!
//! ```text
//! deliver:  push the chain on the inbox (one atomic operation), then try the lock
//! enter:    take the lock, drain the inbox, work, unlock, look at the inbox again
//! ```
//!
//! Invariants:
//! * I1 only the holder of the lock touches the value or takes the inbox.
//! * I2 no chain is stranded: once every `deliver` and `enter` has returned, the inbox is empty. A
//!   deliverer pushes and then tries the lock; if that fails, the holder unlocks *after* the push and
//!   looks at the inbox after unlocking. Lock and unlock carry the SeqCst fence between the two.
//! * I3 a chain is drained once: the inbox is taken whole, by exchange.

use super::block::{Block, Chain};
use super::list::Entry;
use crate::os::{Lock, Locked};
use crate::sync::{AtomicPtr, Ordering, SharedCell, const_unless_loom, fence};
use core::ptr::NonNull;

/// A value under a lock, with an inbox.
pub struct Gate<T> {
    lock: Lock,
    inbox: AtomicPtr<u8>,
    value: SharedCell<T>,
}

/// What the value does with blocks that were delivered.
pub trait Receive {
    /// Takes blocks back.
    ///
    /// # Safety
    /// Each entry is a block that a deliverer addressed to this value, and free.
    unsafe fn receive(&mut self, blocks: &[Entry]);
}

/// Blocks received at a time: about as many as a flush sends.
const BATCH: usize = if cfg!(loom) { 2 } else { 64 };

impl<T: Receive> Gate<T> {
    const_unless_loom! {
        /// A gate before `value`.
        pub fn new(value: T) -> Self {
            Self {
                lock: Lock::new(),
                inbox: AtomicPtr::new(core::ptr::null_mut()),
                value: SharedCell::new(value),
            }
        }
    }

    /// The lock: for fork, which takes all of them.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Waits for the lock and runs `f` on the value, the inbox drained.
    #[inline]
    pub fn enter<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let locked = self.lock.lock();
        let result = self.work(f);
        self.leave(locked);
        result
    }

    /// Runs `f` on the value if nobody holds the lock.
    #[inline]
    pub fn try_enter<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let locked = self.lock.try_lock()?;
        let result = self.work(f);
        self.leave(locked);
        Some(result)
    }

    /// Hands over free blocks that belong to the value, without waiting.
    ///
    /// # Safety
    /// The blocks are free, linked from first to last, and the value's.
    pub unsafe fn deliver(&self, chain: Chain) {
        let Some((first, last)) = chain.ends() else {
            return;
        };
        let mut head = self.inbox.load(Ordering::Relaxed);
        loop {
            // SAFETY: `last` is free and ours until the exchange succeeds.
            unsafe { last.set_link(NonNull::new(head).map(|p| Block::new(p))) };
            // Release: publishes the links. SeqCst order against the lock comes from the fence below.
            let new = first.start().as_ptr();
            match self
                .inbox
                .compare_exchange_weak(head, new, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        // I2: pushed before the lock is tried; pairs with the fence in `Lock::unlock`.
        fence(Ordering::SeqCst);
        self.try_enter(|_| ());
    }

    #[inline]
    fn work<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the lock is held (I1).
        unsafe {
            self.value.with_mut(|value| {
                self.drain(value);
                f(value)
            })
        }
    }

    #[inline]
    fn drain(&self, value: &mut T) {
        if !self.inbox.load(Ordering::Relaxed).is_null() {
            self.drain_slow(value);
        }
    }

    #[cold]
    fn drain_slow(&self, value: &mut T) {
        // Acquire: sees the links and whatever the freeing threads wrote before (I3).
        let mut next = self.inbox.swap(core::ptr::null_mut(), Ordering::Acquire);
        let mut batch = [None; BATCH];
        while !next.is_null() {
            let mut n = 0;
            while n < BATCH
                && let Some(start) = NonNull::new(next)
            {
                // SAFETY: delivered blocks are free, and linked.
                unsafe {
                    let block = Block::new(start);
                    next = block
                        .link()
                        .map_or(core::ptr::null_mut(), |b| b.start().as_ptr());
                    batch[n] = Some(block);
                }
                n += 1;
            }
            // SAFETY: delivered; their links were read.
            unsafe { value.receive(&batch[..n]) };
        }
    }

    #[inline]
    fn leave(&self, locked: Locked<'_>) {
        drop(locked);
        self.settle();
    }

    /// Looks at the inbox after an unlock; whoever frees the lock past the gate, as fork does, calls it.
    #[inline]
    pub fn settle(&self) {
        // Relaxed: ordered behind the unlock by its fence (I2).
        while !self.inbox.load(Ordering::Relaxed).is_null() {
            let Some(locked) = self.lock.try_lock() else {
                // Whoever holds it now looks after his own unlock.
                return;
            };
            self.work(|_| ());
            drop(locked);
        }
    }

    /// Frees the lock in a child after fork.
    ///
    /// # Safety
    /// As the lock's.
    pub unsafe fn reset(&self) {
        // SAFETY: passed on.
        unsafe { self.lock.reset() }
    }

    /// Runs `f` on the value without taking the lock.
    ///
    /// # Safety
    /// The caller holds the lock by [`Self::lock`], or is the only thread.
    pub unsafe fn with_held<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: exclusive by the caller's word.
        unsafe { self.value.with_mut(f) }
    }
}
