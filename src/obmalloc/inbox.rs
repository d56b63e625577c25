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

use super::chain::{CARRIED, Chain, unload};
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
    /// Checks that a block begins where a link points to, which lay in free memory; if not, that is corruption.
    fn verify(&self, carrier: NonNull<u8>);

    /// Takes blocks back.
    ///
    /// # Safety
    /// Each entry is a block that a deliverer addressed to this value, and free.
    unsafe fn receive(&mut self, blocks: &[Entry]);
}

/// Blocks received at a time: about as many as a flush sends.
const BATCH: usize = if cfg!(loom) { CARRIED + 1 } else { 128 };

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
        self.enter_soon(false, f)
    }

    /// As [`Self::try_enter`]; where it may wait, it does so awake, for a moment.
    #[inline]
    pub fn enter_soon<R>(&self, may_wait: bool, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let locked = match may_wait {
            true => self.lock.try_lock_soon()?,
            false => self.lock.try_lock()?,
        };
        let result = self.work(f);
        self.leave(locked);
        Some(result)
    }

    /// Hands over free blocks that belong to the value, without waiting.
    ///
    /// # Safety
    /// The blocks are free, and the value's.
    pub unsafe fn deliver(&self, chain: Chain) {
        if chain.is_empty() {
            return;
        }
        let mut head = self.inbox.load(Ordering::Relaxed);
        loop {
            // SAFETY: the blocks are free and ours until the exchange succeeds.
            let new = unsafe { chain.link(head) };
            // Release: publishes the links. SeqCst order against the lock comes from the fence below.
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
        let (mut batch, mut n) = ([None; BATCH], 0);
        while let Some(carrier) = NonNull::new(next) {
            if n + 1 + CARRIED > BATCH {
                // SAFETY: delivered; what their carriers hold was read.
                unsafe { value.receive(&batch[..n]) };
                n = 0;
            }
            value.verify(carrier);
            // SAFETY: delivered, and not received yet; there is room.
            let (more, behind) = unsafe { unload(carrier, &mut batch[n..]) };
            (n, next) = (n + more, behind);
        }
        // SAFETY: as above.
        unsafe { value.receive(&batch[..n]) };
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

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::super::block::Block;
    use super::*;

    /// Blocks of 32 bytes, carriers of four others.
    #[repr(align(32))]
    struct Blocks([[usize; 4]; 400]);

    #[derive(Default)]
    struct Received {
        addrs: Vec<usize>,
        batches: Vec<usize>,
    }

    impl Receive for Received {
        fn verify(&self, carrier: NonNull<u8>) {
            assert!(
                !self.addrs.contains(&carrier.addr().get()),
                "read after it was received"
            );
            assert!(carrier.addr().get() > 4096, "a smashed link");
        }

        unsafe fn receive(&mut self, blocks: &[Entry]) {
            self.batches.push(blocks.len());
            self.addrs.extend(blocks.iter().flatten().map(|b| b.addr()));
        }
    }

    /// Delivers the blocks while somebody holds the lock, does what `meanwhile` says, and receives them.
    fn received(
        blocks: &mut Blocks,
        meanwhile: impl FnOnce(&mut Blocks),
    ) -> (Received, Vec<usize>) {
        let gate = Gate::new(Received::default());
        let start = NonNull::from(&mut *blocks).cast::<[usize; 4]>();
        start.as_ptr().expose_provenance();
        let locked = gate.lock().lock();
        // Every third of them, from the last to the first.
        let mut chain = Chain::EMPTY;
        let sent = (0..blocks.0.len()).rev().step_by(3).map(|k| {
            // SAFETY: one of the blocks, which nobody uses.
            unsafe {
                let block = Block::new(start.add(k).cast());
                chain.push(block, 4);
                block.addr()
            }
        });
        let sent: Vec<usize> = sent.collect();
        // SAFETY: as above; they are `Received`'s to count.
        unsafe { gate.deliver(chain) };
        meanwhile(blocks);
        drop(locked);
        gate.settle();
        (gate.enter(core::mem::take), sent)
    }

    /// More blocks than are received at a time arrive whole, and what a carrier holds is read before it is received.
    #[test]
    fn blocks_arrive_in_batches() {
        let (got, sent) = received(&mut Blocks([[0; 4]; 400]), |_| ());
        assert_eq!(got.addrs, sent);
        assert!(got.batches.len() > 1 && got.batches.iter().all(|n| *n <= BATCH));
    }

    /// A program writes to the block it freed while that is on its way.
    #[test]
    #[should_panic = "a smashed link"]
    fn a_smashed_link_is_not_followed() {
        received(&mut Blocks([[0; 4]; 400]), |blocks| {
            blocks.0[399][0] = 0x123
        });
    }
}
