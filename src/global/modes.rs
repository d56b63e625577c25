//! Who watches, as bits of one word: what the slow paths ask first.

use super::OPTIONS;
use crate::sync::{AtomicU8, Ordering};

/// The options were not read yet.
const UNREAD: u8 = 1;
/// There are observers of every call.
pub(super) const OBSERVED: u8 = 2;
/// Every block is guarded: from the start of the process or never.
pub(super) const GUARDED: u8 = 4;
/// Some blocks of C and C++ are guarded.
pub(super) const SAMPLED: u8 = 8;
/// There are or were observers of samples.
pub(super) const DRAWN: u8 = 16;
/// There is somebody who may refuse requests, while every call is observed.
pub(super) const JUDGED: u8 = 32;
/// There is or was an observer of every call without a short way, since nobody observed.
pub(super) const MANY: u8 = 64;
/// There is or was an observer of every call with a short way, since nobody observed.
pub(super) const SHORT: u8 = 128;

/// Modes that say how calls are observed, beside [`OBSERVED`]; by themselves they bring no call to a watcher.
const HOW: u8 = JUDGED | MANY | SHORT;

pub(super) static MODES: AtomicU8 = AtomicU8::new(UNREAD);

/// Enters modes. A watch that begins publishes its observer by the table's own Release.
pub(super) fn add(modes: u8) {
    MODES.fetch_or(modes, Ordering::Relaxed);
}

/// Leaves modes.
pub(super) fn remove(modes: u8) {
    MODES.fetch_and(!modes, Ordering::Relaxed);
}

/// Whether all of these are on.
#[inline(always)]
pub(super) fn has(modes: u8) -> bool {
    MODES.load(Ordering::Relaxed) & modes == modes
}

/// Whether all there is to do for a usual call is to tell the observers of every call.
#[inline(always)]
pub(super) fn is_plainly_observed() -> bool {
    MODES.load(Ordering::Relaxed) & !(MANY | SHORT) == OBSERVED
}

/// Whether all there is to do for a usual call is to tell the one observer that has a short way.
#[cfg(feature = "preload")]
#[inline(always)]
pub(super) fn is_shortly_observed() -> bool {
    MODES.load(Ordering::Relaxed) == OBSERVED | SHORT
}

/// Whether calls are to come to the watchers.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    // Relaxed: as in `add`.
    let modes = MODES.load(Ordering::Relaxed);
    modes & !(SAMPLED | HOW) != 0 && (modes & UNREAD == 0 || is_on_slow())
}

/// Whether Rust's allocs are to come to the watchers. In a program that has C's front, too, none of them are sampled:
/// their frees do not ask the map, and so are not diverted.
#[inline(always)]
pub(crate) fn is_on_for_rust() -> bool {
    is_on() && (is_exact() || !cfg!(feature = "preload"))
}

/// Whether calls of the C front are to come to the watchers, or some are sampled.
#[cfg(feature = "preload")]
#[inline(always)]
pub(crate) fn is_on_or_samples() -> bool {
    MODES.load(Ordering::Relaxed) & !HOW != 0
}

/// Whether nobody watches or samples, or ever drew samples, and that is known: then no list is hidden.
#[cfg(feature = "preload")]
#[inline(always)]
pub(super) fn none() -> bool {
    MODES.load(Ordering::Relaxed) & !HOW == 0
}

/// Whether samples are drawn, and nothing else is on.
#[cfg(feature = "preload")]
#[inline(always)]
pub(super) fn only_draws() -> bool {
    MODES.load(Ordering::Relaxed) & !HOW == DRAWN
}

/// Whether nobody watches, or only samples are drawn.
#[cfg(feature = "preload")]
#[inline(always)]
pub(crate) fn at_most_draws() -> bool {
    MODES.load(Ordering::Relaxed) & !(DRAWN | HOW) == 0
}

#[cold]
#[inline(never)]
fn is_on_slow() -> bool {
    if has(UNREAD) {
        OPTIONS.load();
        if OPTIONS.is_guarded() {
            add(GUARDED);
        }
        if OPTIONS.sample() != 0 {
            add(SAMPLED);
        }
        remove(UNREAD);
    }
    MODES.load(Ordering::Relaxed) & !(SAMPLED | HOW) != 0
}

/// Whether every block is guarded.
pub(crate) fn is_guarded() -> bool {
    has(GUARDED)
}

/// Whether every call is watched, and not only some.
pub(crate) fn is_exact() -> bool {
    MODES.load(Ordering::Relaxed) & (OBSERVED | GUARDED) != 0
}

/// Whether some blocks are sampled, or were: lists have buffers from then on.
pub(crate) fn is_drawn() -> bool {
    has(DRAWN)
}
