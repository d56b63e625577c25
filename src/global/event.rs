//! What observers are told, and who they are.

use super::thread::{self, Thread};
use crate::os::{self, Call};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};
use core::cell::Cell;
use core::ptr::{NonNull, null_mut};

/// Rust's `GlobalAlloc`, alone in its process: an API is named by the letter that CPython's debug hooks give
/// a domain (raw, mem, object).
pub(crate) const RUST: u8 = b'r';
/// Objects of the object library.
#[cfg(feature = "objects")]
pub(crate) const OBJECT: u8 = b'o';
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
        /// False if it was in the thread's own lists ever since the thread freed it, or told last that it took
        /// blocks: then its last free was this thread's, or before that.
        taken: bool,
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

/// Called for every event, by the thread that caused it, with no lock held. It leaves `errno` as it was. In the preload
/// library it must not allocate.
pub type Observer = fn(&Event);

/// What observers know of a thread, and it of them. Its own alone.
#[repr(C)]
pub(crate) struct Told {
    /// Whether it runs an observer: what that allocates is not observed.
    pub observing: Cell<bool>,
    /// Whether it took blocks from what threads share since the last event that observers were told of.
    pub taken: Cell<bool>,
    /// What the recorder has for it (`slot.rs`).
    pub log: Cell<Option<NonNull<u8>>>,
}

impl Told {
    /// Of a thread of which nothing is known.
    #[allow(
        clippy::declare_interior_mutable_const,
        reason = "a pattern to make records from"
    )]
    pub const NOTHING: Self = Self {
        observing: Cell::new(false),
        taken: Cell::new(true),
        log: Cell::new(None),
    };
}

/// What an observer has for the usual calls of the C front, so that no [`Event`] is made of them where nobody else is
/// told. Each is called as an observer is, and says itself when it has ended: by [`Told::observing`]. Those that make blocks
/// give them on, and all are C's, which never unwind: so they may be called last.
#[cfg_attr(not(feature = "preload"), allow(dead_code, reason = "the C front's"))]
pub(crate) struct Short {
    /// A block of so many bytes was made, neither zeroed nor aligned above 16.
    pub allocated: Allocated,
    /// Likewise, but zeroed.
    pub zeroed: Allocated,
    /// A block is given up.
    pub freed: extern "C" fn(&Told, NonNull<u8>),
    /// A block became another one, or has another size.
    pub resized: Resized,
}

/// At this place, of so many bytes.
type Allocated = extern "C" fn(&Told, NonNull<u8>, size: usize, Call) -> NonNull<u8>;

/// From the old place to the new one, of so many bytes.
type Resized = extern "C" fn(&Told, NonNull<u8>, NonNull<u8>, usize, Call) -> NonNull<u8>;

#[cfg(feature = "preload")]
impl Short {
    /// Of nobody: nothing is told.
    pub const NOBODYS: &Self = {
        extern "C" fn allocated(told: &Told, p: NonNull<u8>, _: usize, _: Call) -> NonNull<u8> {
            told.observing.set(false);
            p
        }
        extern "C" fn freed(told: &Told, _: NonNull<u8>) {
            told.observing.set(false);
        }
        extern "C" fn resized(
            told: &Told,
            _: NonNull<u8>,
            new: NonNull<u8>,
            _: usize,
            _: Call,
        ) -> NonNull<u8> {
            told.observing.set(false);
            new
        }
        &Self {
            allocated,
            zeroed: allocated,
            freed,
            resized,
        }
    };
}

/// Most observers of one kind at a time.
const OBSERVERS: usize = 4;

/// Observers of one kind.
pub(super) struct Observers {
    table: [AtomicPtr<()>; OBSERVERS],
    /// Entries that were ever filled: the others need no look.
    used: AtomicUsize,
}

impl Observers {
    /// None.
    pub const fn new() -> Self {
        Self {
            table: [const { AtomicPtr::new(null_mut()) }; OBSERVERS],
            used: AtomicUsize::new(0),
        }
    }

    /// Adds one. False when there are too many.
    pub fn add(&self, observer: Observer) -> bool {
        let place = observer as *mut ();
        let Some(filled) = self.table.iter().position(|entry| {
            // Release: publishes what the observer was prepared with.
            entry
                .compare_exchange(null_mut(), place, Ordering::Release, Ordering::Relaxed)
                .is_ok()
        }) else {
            return false;
        };
        // Relaxed: the entry itself is what is published.
        self.used.fetch_max(filled + 1, Ordering::Relaxed);
        true
    }

    /// Takes one away. True when none is left.
    pub fn remove(&self, observer: Observer) -> bool {
        let place = observer as *mut ();
        for entry in &self.table {
            let _ = entry.compare_exchange(place, null_mut(), Ordering::Relaxed, Ordering::Relaxed);
        }
        let left = |entry: &AtomicPtr<()>| !entry.load(Ordering::Relaxed).is_null();
        !self.table.iter().any(left)
    }

    #[inline(always)]
    fn tell(&self, event: &Event) {
        let used = self.used.load(Ordering::Relaxed);
        for entry in self.table.iter().take(used) {
            // Acquire: pairs with `add`.
            let observer = entry.load(Ordering::Acquire);
            // SAFETY: only `add` fills the table, with functions of this type; null is `None`.
            let observer = unsafe { core::mem::transmute::<*mut (), Option<Observer>>(observer) };
            if let Some(observer) = observer {
                observer(event);
            }
        }
    }
}

/// Tells observers of an event, unless this thread is one.
pub(super) fn tell(observers: &Observers, event: &Event) {
    match thread::own() {
        Some(thread) => tell_by(thread, observers, event),
        None => observers.tell(event),
    }
}

/// As [`tell`], by a thread with a record of its own.
#[inline(always)]
pub(super) fn tell_by(thread: &Thread, observers: &Observers, event: &Event) {
    if !thread.told.observing.replace(true) {
        observers.tell(event);
        thread.told.observing.set(false);
    }
}

/// Runs `f` as an observer runs: what this thread allocates meanwhile is not told. Nothing is run if it does so already.
pub(crate) fn unobserved(f: impl FnOnce()) {
    let own = thread::own();
    if own.is_some_and(|thread| thread.told.observing.replace(true)) {
        return;
    }
    os::keep_errno(f);
    if let Some(thread) = own {
        thread.told.observing.set(false);
    }
}

/// Whether the calling thread took blocks from what threads share, since it was asked last. Only for an event that is
/// told next.
pub(super) fn has_taken() -> bool {
    match thread::own() {
        // What an observer allocates is not told.
        Some(thread) if !thread.told.observing.get() => thread.told.taken.replace(false),
        _ => true,
    }
}

/// The calling thread takes blocks from what threads share.
pub(super) fn note_taken() {
    if let Some(thread) = thread::own() {
        thread.told.taken.set(true);
    }
}

/// Called by a thread that begins to watch, for other heaps that it has.
static HEAPS: AtomicPtr<()> = AtomicPtr::new(null_mut());

/// Has `look` called on each thread that begins to watch.
#[cfg(feature = "objects")]
pub(crate) fn set_heaps(look: fn()) {
    HEAPS.store(look as *mut (), Ordering::Relaxed);
}

/// The calling thread begins to watch.
pub(super) fn tell_heaps() {
    // Relaxed: a function is whole ever since the program is.
    let look = HEAPS.load(Ordering::Relaxed);
    // SAFETY: only `set_heaps` fills the place, with a function of this type; null is `None`.
    if let Some(look) = unsafe { core::mem::transmute::<*mut (), Option<fn()>>(look) } {
        look();
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
    #[inline]
    pub fn permits(&self, request: &Request) -> bool {
        self.ask(request, true)
    }

    /// A permitted request could not be served.
    pub fn withdraw(&self, request: &Request) {
        self.ask(request, false);
    }

    #[inline]
    fn ask(&self, request: &Request, asks: bool) -> bool {
        // Acquire: pairs with `set`.
        let judge = self.0.load(Ordering::Acquire);
        // SAFETY: only `set` fills the place, with a function of this type; null is `None`.
        let judge = unsafe { core::mem::transmute::<*mut (), Option<Judge>>(judge) };
        judge.is_none_or(|judge| Self::ask_judge(judge, request, asks))
    }

    #[cold]
    fn ask_judge(judge: Judge, request: &Request, asks: bool) -> bool {
        let own = thread::own();
        if own.is_some_and(|thread| thread.told.observing.replace(true)) {
            return true;
        }
        let permits = os::keep_errno(|| judge(request, asks));
        if let Some(thread) = own {
            thread.told.observing.set(false);
        }
        permits
    }
}

/// What a block is to become.
pub(crate) struct Resize {
    /// Bytes it holds.
    pub held: usize,
    /// Whether they are exactly what was asked for.
    pub held_is_exact: bool,
    /// Bytes it is to hold.
    pub size: usize,
    /// The multiple it is to lie at.
    pub align: usize,
    /// Whether it keeps its place by the rules of the API.
    pub stays: bool,
    /// By which API.
    pub api: u8,
}
