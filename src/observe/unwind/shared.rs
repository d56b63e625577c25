//! What walks of different threads share: the list of executable memory, under a lock of its own.
//!
//! A walk asks here for what it meets for the first time, so seldom. No other lock is taken while this one is held.

use super::modules::{Module, Modules};
use crate::os::{self, Lock};
use crate::sync::{AtomicU32, Ordering, SharedCell};
use core::ops::Range;

/// Most looks at the process's memory map for addresses that are not found, in [`SPAN_MS`]: a program that
/// runs code where there is none would look at every step.
const LOOKS: u32 = 16;

/// See [`LOOKS`].
const SPAN_MS: u64 = 200;

/// Guarded by the lock.
struct State {
    modules: Modules,
    /// When the current span began, and looks in it.
    span_ms: u64,
    looks: u32,
}

/// See the module.
pub(super) struct Shared {
    lock: Lock,
    /// Counts how often ranges went away: what was learnt from them is to be forgotten.
    epoch: AtomicU32,
    state: SharedCell<State>,
}

impl Shared {
    /// Knows nothing yet, and stays for ever. `None` when memory is out.
    pub fn new() -> Option<&'static Self> {
        let page = os::page_size();
        let place = os::map(size_of::<Self>().next_multiple_of(page), page)?.cast::<Self>();
        let state = State {
            modules: Modules::new()?,
            span_ms: 0,
            looks: 0,
        };
        // SAFETY: mapped for this just now, and never given back.
        unsafe {
            place.write(Self {
                lock: Lock::new(),
                epoch: AtomicU32::new(0),
                state: SharedCell::new(state),
            });
            Some(place.as_ref())
        }
    }

    /// See there.
    #[inline]
    pub fn epoch(&self) -> u32 {
        // Relaxed: whoever runs code that was loaded learnt of it by more than this.
        self.epoch.load(Ordering::Relaxed)
    }

    /// Runs `f` on the state. `None` where a signal handler interrupted that on its own thread.
    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> Option<R> {
        if self.lock.is_mine() {
            return None;
        }
        os::keep_errno(|| {
            let _locked = self.lock.lock();
            // SAFETY: the lock is held, and `f` does not come back here.
            Some(unsafe { self.state.with_mut(f) })
        })
    }

    /// The range that holds `address`, as it was seen last.
    pub fn module_of(&self, address: usize) -> Option<Module> {
        self.with(|state| state.modules.find(address).copied())?
    }

    /// Reads the memory map; the mapping that holds `stack`.
    pub fn look(&self, stack: usize) -> Option<Range<usize>> {
        self.with(|state| self.read_map(state, stack))?
    }

    fn read_map(&self, state: &mut State, stack: usize) -> Option<Range<usize>> {
        let found = state.modules.refresh(stack);
        if state.modules.lost_any() {
            self.epoch.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// As [`Self::module_of`], of code that runs: looks at the map again if it is not known.
    pub fn module_of_code(&self, address: usize) -> Option<Module> {
        self.with(|state| {
            if state.modules.find(address).is_none() {
                let now = os::now_ms();
                if now.wrapping_sub(state.span_ms) >= SPAN_MS {
                    (state.span_ms, state.looks) = (now, 0);
                }
                if state.looks == LOOKS {
                    return None;
                }
                state.looks += 1;
                self.read_map(state, 0);
            }
            state.modules.find(address).copied()
        })?
    }
}
