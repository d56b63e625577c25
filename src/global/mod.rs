//! L3: this process's one allocator.
//!
//! ```text
//! PyMalloc (rust.rs), shim/ ──► thread.rs: this thread's lists        hit: a few instructions
//!                                   │ empty, full, not ours
//!                                   ▼
//!                               slow.rs ──► tide, large                      how long the lists may be
//!                                   ├─────► heap (by roster) ──► extents     512 B and below, medium
//!                                   ├─────► huge                             above 256 KiB
//!                                   └─────► watch ──► guard, observers       when somebody watches
//!                                                ├──► behind                   … and nothing is guarded
//!                                                └──► poisson                  … or samples
//! ```
//!
//! The statics below are all the mutable state there is. Locks are taken in this order, and fork takes
//! them in it: sampled blocks, quarantine, roster, regions, heaps by number, huge, extents.

pub(crate) mod at_once;
mod behind;
pub(crate) mod countdown;
mod event;
mod exit;
mod figures;
mod fork;
mod guard;
pub(crate) mod huge;
mod large;
mod misuse;
mod modes;
pub(crate) mod next_malloc;
mod nothing;
#[cfg(feature = "objects")]
pub(crate) mod object_memory;
#[cfg(feature = "objects")]
pub(crate) mod object_watch;
mod options;
mod poisson;
mod private_heap;
mod purge;
#[cfg(feature = "preload")]
mod put;
mod regions;
mod registration;
mod reported;
mod rust;
mod sample;
mod sampled_blocks;
#[cfg(feature = "preload")]
pub(crate) mod shortly;
pub(crate) mod slot;
pub(crate) mod slow;
mod stats;
#[allow(dead_code, reason = "the launcher reads what the library writes")]
mod summary;
mod thread;
mod tide;
#[cfg(feature = "preload")]
mod unwinder;
pub(crate) mod watch;

pub(crate) use figures::{Greatest, Row, figures};
pub use private_heap::Heap;
pub use rust::PyMalloc;
pub use stats::{ArenaStats, ClassStats, HeapStats, Stats, ThreadStats};
pub(crate) use stats::{arenas, heaps, own_thread};

use crate::obmalloc::address_map::AddressMap;
use crate::obmalloc::extents::Extents;
use crate::obmalloc::heap::Heap as SharedHeap;
use crate::obmalloc::huge::Huge;
use crate::obmalloc::roster::Roster;

pub(crate) static MAP: AddressMap = AddressMap::new();
pub(crate) static EXTENTS: Extents = Extents::new(&MAP);
pub(crate) static HUGE: Huge = Huge::new(&EXTENTS);
pub(crate) static ROSTER: Roster<SharedHeap> = Roster::new();
pub(crate) static OPTIONS: options::Store = options::Store::new();

/// Refuses memory beyond `bytes` of it.
pub(crate) fn set_memory_limit(bytes: usize) {
    EXTENTS.set_limit(bytes);
}

#[cfg(feature = "preload")]
pub(crate) use preload::*;
/// What the shim asks of this layer beside blocks.
#[cfg(feature = "preload")]
mod preload {
    use super::OPTIONS;
    use crate::os;

    pub(crate) use super::put::put_on_list;
    pub(crate) use super::stats::print_report;
    pub(crate) use super::thread::{lists, shown};

    /// Whether another malloc serves this process.
    pub(crate) fn passes_through() -> bool {
        OPTIONS.load();
        OPTIONS.pass_through()
    }

    /// Whether calls are served here, and that is all there is to do.
    #[inline(always)]
    pub(crate) fn serves_plainly() -> bool {
        super::modes::none() && !OPTIONS.pass_through()
    }

    /// Whether `realloc(p, 0)` gives a block.
    pub(crate) fn zero_realloc_allocates() -> bool {
        OPTIONS.zero_realloc_allocates()
    }

    /// Reads the environment.
    pub(crate) fn load_options() {
        OPTIONS.load();
    }

    /// Leaves everything to the executable's own malloc.
    pub(crate) fn pass_to_executable() {
        OPTIONS.set_executable_malloc();
        // What this thread had until now goes home; it gets no lists again.
        super::thread::end();
        if OPTIONS.verbose() {
            os::say(format_args!(
                "the program has its own malloc: everything is passed to it"
            ));
        }
    }

    /// Registers the hooks of thread exit, fork and process exit.
    pub(crate) fn register_hooks() {
        super::exit::register();
    }
}
