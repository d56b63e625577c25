//! The order of events that different threads write down, each in a log of its own.
//!
//! ```text
//! log 0   │ 1: make X ······················│ 4: (refills its list) make Y ··
//!              │ X, by the program             ▲ Y, by the allocator
//! log 1   │ 2: ··▼ free X? made by log 0, 1 < 2 · free Y ··┘
//!           ^ticket: this part of the log
//! ```
//!
//! A log is cut into parts, each with a *ticket* of the one clock, so that no two parts of a recording have the same
//! and those of a log rise. A reader takes all parts in the order of their tickets. A thread goes on under the ticket it
//! has and takes a new one only where an event of its own may follow from one of another thread's:
//!
//! | event | may follow from | new ticket |
//! |---|---|---|
//! | alloc | a free of the same address, whose block came by what threads share | if blocks were taken from there since the last |
//! | free, resize | the alloc, whose block came by the program | if another log made it, and has a ticket above |
//!
//! * **I1** A new ticket is above all that were handed out to whoever the block came from: the clock is one atomic
//!   number, and block and knowledge travel by the same synchronisation, the allocator's or the program's.
//! * **I2** A log's stamp is its ticket, and only rises. Who frees a block made by another log reads a stamp
//!   that is at least the ticket under which the block was made.
//! * **I3** While there is one log ([`Order::is_alone`]) nothing is to be ordered, and makers are not noted: it is number
//!   0, which is what is read of a block without a note. Whoever gets a block of the second log's, or one that it
//!   freed, knows of that log by the same way as of the block.
//!
//! A thread that meets nobody would keep its ticket for ever, and what it does would be told as if it had been done
//! long ago. So it also takes a new one now and then, when the clock is [`SKEW`] ahead of it or time has passed. It does not
//! look at the clock for each event: others write to it.

use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Logs there can be.
pub const LOGS: usize = if cfg!(loom) { 4 } else { 256 };

/// Tickets that others may take before a log takes a new one.
pub const SKEW: u64 = 16;

/// On cache lines of its own: who reads it is not held up by those who write what lies beside it.
#[repr(align(128))]
struct Apart<T>(T);

/// See the module.
pub struct Order {
    /// The ticket taken last. Written by all, but seldom.
    clock: Apart<AtomicU64>,
    /// Logs that were opened for threads. Read for each event.
    n_logs: Apart<AtomicU32>,
    /// The ticket of each log. Written by the log's owner, read by others.
    stamps: [Apart<AtomicU64>; LOGS],
}

impl Default for Order {
    /// No log so far: in the recorder, memory that is zero.
    fn default() -> Self {
        Self {
            clock: Apart(AtomicU64::new(0)),
            n_logs: Apart(AtomicU32::new(0)),
            stamps: core::array::from_fn(|_| Apart(AtomicU64::new(0))),
        }
    }
}

impl Order {
    /// A log more, before its first event; how many there were. The first one is number 0, or never used again.
    pub fn add_log(&self) -> usize {
        // Relaxed: I3.
        self.n_logs.0.fetch_add(1, Ordering::Relaxed) as usize
    }

    /// Whether at most one thread has a log.
    #[inline]
    pub fn is_alone(&self) -> bool {
        // Relaxed: I3.
        self.n_logs.0.load(Ordering::Relaxed) <= 1
    }

    /// Whether a log of `ticket` lags behind.
    fn has_left(&self, ticket: u64) -> bool {
        // Relaxed: nothing is learnt but that it is late.
        self.clock.0.load(Ordering::Relaxed) > ticket + SKEW
    }

    /// A new ticket for `log`, by its owner.
    #[inline]
    pub fn take(&self, log: usize) -> u64 {
        // Relaxed: I1. Of two changes of one number, that which happens after the other is behind it.
        let ticket = self.clock.0.fetch_add(1, Ordering::Relaxed) + 1;
        // Relaxed: I2. Whoever asks got a block that was made after this.
        self.stamps[log].0.store(ticket, Ordering::Relaxed);
        ticket
    }

    /// Whether a log of `ticket` may free a block made by `maker` and keep its ticket.
    #[inline]
    pub fn is_behind(&self, ticket: u64, maker: usize) -> bool {
        // Relaxed: I2.
        ticket > self.stamps[maker].0.load(Ordering::Relaxed)
    }
}

/// Who made the blocks of a range, by address.
pub trait Makers {
    /// The place for the maker of the block at `address`: the number of its log, 0 at first.
    fn of(&self, address: usize) -> Option<&AtomicU8>;

    /// As [`Self::of`]; `None` also where there is none yet.
    fn known(&self, address: usize) -> Option<&AtomicU8>;
}

/// The ticket of one log, and when it needs another one. Used by its owner.
pub struct Turn<'a, M: Makers> {
    order: &'a Order,
    makers: &'a M,
    log: usize,
    ticket: u64,
}

impl<'a, M: Makers> Turn<'a, M> {
    /// Begins a log, or goes on with one that another thread left.
    pub fn new(order: &'a Order, makers: &'a M, log: usize) -> Self {
        Self {
            order,
            makers,
            log,
            ticket: order.take(log),
        }
    }

    /// The ticket for the next event.
    #[inline]
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// Takes a new ticket.
    #[inline]
    pub fn renew(&mut self) {
        self.ticket = self.order.take(self.log);
    }

    /// Now and then: takes a new ticket if this one was left behind, or `time_has_passed`. None while there is nobody else.
    pub fn keep_up(&mut self, time_has_passed: bool) {
        let is_late = time_has_passed || self.order.has_left(self.ticket);
        if is_late && !self.order.is_alone() {
            self.renew();
        }
    }

    /// A block was made at `address`; `taken` says that blocks were taken from what threads share since the last event.
    /// The event comes after this, and the block's user has it after the event.
    #[inline]
    pub fn makes(&mut self, address: usize, taken: bool) {
        if self.simply_makes(address, taken) {
            return;
        }
        if taken {
            self.renew();
        }
        if let Some(maker) = self.makers.of(address) {
            // Relaxed: the block's user learns of it by the way of the block.
            maker.store(self.log as u8, Ordering::Relaxed);
        }
    }

    /// As [`Self::makes`], if the ticket is kept and the maker's place known. False if nothing was done.
    #[inline(always)]
    pub fn simply_makes(&self, address: usize, taken: bool) -> bool {
        if self.order.is_alone() {
            return true;
        }
        if taken {
            return false;
        }
        let Some(maker) = self.makers.known(address) else {
            return false;
        };
        // Relaxed: the block's user learns of it by the way of the block.
        maker.store(self.log as u8, Ordering::Relaxed);
        true
    }

    /// The block at `address` is given up. The event comes after this, and the block is free after the event.
    #[inline]
    pub fn ends(&mut self, address: usize) {
        if !self.simply_ends(address) {
            self.renew();
        }
    }

    /// As [`Self::ends`], if the ticket is kept. False if nothing was done.
    #[inline(always)]
    pub fn simply_ends(&self, address: usize) -> bool {
        if self.order.is_alone() {
            return true;
        }
        let Some(maker) = self.makers.known(address) else {
            return false;
        };
        // Relaxed: as in `simply_makes`.
        let maker = maker.load(Ordering::Relaxed) as usize;
        maker == self.log || self.order.is_behind(self.ticket, maker)
    }
}
