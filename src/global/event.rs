//! What observers are told, and who they are.

use super::thread;
use crate::os;
use crate::sync::{AtomicPtr, Ordering};
use core::ptr::null_mut;

/// Rust's `GlobalAlloc`, alone in its process: an API is named by the letter that CPython's debug hooks give
/// a domain (raw, mem, object).
pub(crate) const RUST: u8 = b'r';
#[cfg(feature = "preload")]
pub(crate) use families::*;
/// The three families of C and C++, which must not be mixed, just as CPython's three domains.
#[cfg(feature = "preload")]
mod families {
    /// C's `malloc`, `free` and their kin.
    pub(crate) const MALLOC: u8 = b'r';
    /// C++ `new` and `delete`.
    pub(crate) const NEW: u8 = b'm';
    /// C++ `new[]` and `delete[]`.
    pub(crate) const NEW_ARRAY: u8 = b'o';
}

/// What an observer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A block was made; its user does not have it yet.
    Allocated {
        /// Its address.
        address: usize,
        /// Bytes asked for.
        size: usize,
        /// Alignment asked for; 16, which every block has, for any up to 16.
        align: usize,
        /// Whether zeroed memory was asked for.
        zeroed: bool,
        /// By which API.
        api: u8,
    },
    /// A block's user gave it up; the memory is not free yet.
    Freeing {
        /// Its address.
        address: usize,
        /// Bytes, if the caller said so.
        size: Option<usize>,
        /// By which API.
        api: u8,
    },
    /// A block became another of `size` bytes, at the same address or a new one. The memory at the old one
    /// is not free yet, unless the system moved the pages of a huge block.
    Resized {
        /// Its old address.
        old: usize,
        /// Its new address.
        new: usize,
        /// Bytes asked for.
        size: usize,
        /// By which API.
        api: u8,
    },
}

/// Called for every event, by the thread that caused it, with no lock held. In the preload library it must
/// not allocate.
pub type Observer = fn(&Event);

/// Most observers of one kind at a time.
const OBSERVERS: usize = 4;

/// Observers of one kind.
pub(super) struct Observers([AtomicPtr<()>; OBSERVERS]);

impl Observers {
    /// None.
    pub const fn new() -> Self {
        Self([const { AtomicPtr::new(null_mut()) }; OBSERVERS])
    }

    /// Adds one. False when there are too many.
    pub fn add(&self, observer: Observer) -> bool {
        let place = observer as *mut ();
        self.0.iter().any(|entry| {
            // Release: publishes what the observer was prepared with.
            entry
                .compare_exchange(null_mut(), place, Ordering::Release, Ordering::Relaxed)
                .is_ok()
        })
    }

    /// Takes one away. True when none is left.
    pub fn remove(&self, observer: Observer) -> bool {
        let place = observer as *mut ();
        for entry in &self.0 {
            let _ = entry.compare_exchange(place, null_mut(), Ordering::Relaxed, Ordering::Relaxed);
        }
        let left = |entry: &AtomicPtr<()>| !entry.load(Ordering::Relaxed).is_null();
        !self.0.iter().any(left)
    }
}

/// Tells observers of an event, unless this thread is one.
pub(super) fn tell(observers: &Observers, event: &Event) {
    let own = thread::own();
    if own.is_some_and(|thread| thread.observing.replace(true)) {
        return;
    }
    os::keep_errno(|| {
        for entry in &observers.0 {
            // Acquire: pairs with `Observers::add`.
            let observer = entry.load(Ordering::Acquire);
            // SAFETY: only `add` fills the table, with functions of this type; null is `None`.
            let observer = unsafe { core::mem::transmute::<*mut (), Option<Observer>>(observer) };
            if let Some(observer) = observer {
                observer(event);
            }
        }
    });
    if let Some(thread) = own {
        thread.observing.set(false);
    }
}

/// What somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// A block of `size` bytes.
    New {
        /// Bytes.
        size: usize,
    },
    /// That the block at `old` become one of `size` bytes.
    Resized {
        /// Its address.
        old: usize,
        /// Bytes.
        size: usize,
    },
}

/// Says whether a request may be served; told again, with false, when one that might could not be. Between the
/// first call and the second, or the event that says it was served, its thread makes no other.
pub(crate) type Judge = fn(&Request, asks: bool) -> bool;

/// A place for a judge.
pub(super) struct JudgeSlot(AtomicPtr<()>);

impl JudgeSlot {
    /// No judge: everything is permitted.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// Puts one there.
    pub fn set(&self, judge: Judge) {
        // Release: publishes what the judge was prepared with.
        self.0.store(judge as *mut (), Ordering::Release);
    }

    /// Whether a request may be served. What observers ask for is not judged, because it is not observed.
    pub fn permits(&self, request: &Request) -> bool {
        self.ask(request, true)
    }

    /// A permitted request could not be served.
    pub fn withdraw(&self, request: &Request) {
        self.ask(request, false);
    }

    fn ask(&self, request: &Request, asks: bool) -> bool {
        // Acquire: pairs with `set`.
        let judge = self.0.load(Ordering::Acquire);
        // SAFETY: only `set` fills the place, with a function of this type; null is `None`.
        let judge = unsafe { core::mem::transmute::<*mut (), Option<Judge>>(judge) };
        let Some(judge) = judge else {
            return true;
        };
        let own = thread::own();
        if own.is_some_and(|thread| thread.observing.replace(true)) {
            return true;
        }
        let permits = os::keep_errno(|| judge(request, asks));
        if let Some(thread) = own {
            thread.observing.set(false);
        }
        permits
    }
}
