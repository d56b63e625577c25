//! Which candidates are unreachable: counting and marking.
//!
//! ```text
//! candidates' pools -> work bytes zeroed -> count (work = handles from outside, modulo 256)
//!    -> each has work > 0, or was seen by the pass before its turn? then all are reachable, and that is all
//!    -> roots: work > 0 -> mark from them -> candidates that are white still are unreachable
//! ```
//!
//! The short way is the usual one for what was built from the top, or from the bottom: of unreachable
//! candidates the one counted first has no handle from one counted before it, since only unreachable ones
//! have handles to it. It reads each object once, and its memory comes in order.
//!
//! The number of handles to the candidates less the number they own tells, once the marked ones' is taken
//! away, whether unreachable ones have handles to each other only. Such a set dies without being read again.
//!
//! Marking keeps sixteen objects on their way from memory: an object leaves the stack, is prefetched, and is
//! traversed sixteen objects later. A full stack leaves objects pending, which the sweep over the pools finds
//! again, so marking needs no memory of its own.

use super::collector::Collector;
use crate::object::header::{HEADER_BYTES, Raw};
use crate::object::passes::{
    Counter, Marker, Selection, for_each_in, make_pending, object_at, words_of,
};
use crate::object::pool::PoolRef;
use crate::object::type_info::TypeInfo;
use crate::object::{Arena, WORD};
use core::cell::Cell;

/// Objects on their way from memory.
const AHEAD: usize = 16;
/// Bytes of work bytes from which they exceed what a processor's caches hold.
const LARGE: usize = 8 << 20;

/// The pools a collection looks at, linked through their descriptors.
#[derive(Default)]
pub struct Candidates {
    first: Cell<Option<PoolRef>>,
}

/// What counting and marking tell of the candidates, beside who is white.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// Whether all are reachable, and that was seen by counting alone.
    pub all_held: bool,
    /// Whether the white ones have handles to each other only.
    pub closed: bool,
}

impl Candidates {
    /// Adds a pool, once.
    pub fn add(&self, pool: PoolRef) {
        if !pool.is_candidate.replace(true) {
            pool.next_candidate.set(self.first.replace(Some(pool)));
        }
    }

    /// Turns the order round.
    fn reverse(&self) {
        let mut next = self.first.take();
        while let Some(pool) = next {
            next = pool.next_candidate.replace(self.first.get());
            self.first.set(Some(pool));
        }
    }

    /// Calls `f` on each pool.
    pub fn for_each(&self, mut f: impl FnMut(PoolRef)) {
        let mut next = self.first.get();
        while let Some(pool) = next {
            next = pool.next_candidate.get();
            f(pool);
        }
    }

    /// Whether `f` is true of each pool.
    pub fn all(&self, mut f: impl FnMut(PoolRef) -> bool) -> bool {
        let mut next = self.first.get();
        while let Some(pool) = next {
            if !f(pool) {
                return false;
            }
            next = pool.next_candidate.get();
        }
        true
    }

    /// Lets the pools go, and calls `f` on each.
    pub fn dissolve(self, mut f: impl FnMut(PoolRef)) {
        let mut next = self.first.take();
        while let Some(pool) = next {
            next = pool.next_candidate.take();
            pool.is_candidate.set(false);
            f(pool);
        }
    }
}

/// Ends the process when user code panics where it must not: a hand-written `Trace` that panics.
struct NoPanic;

impl Drop for NoPanic {
    fn drop(&mut self) {
        crate::os::fatal(format_args!("a Trace implementation panicked"));
    }
}

/// The type of a pool in use.
pub fn type_of(pool: PoolRef) -> &'static TypeInfo {
    pool.info.get().expect("a pool in use has a type")
}

impl Collector {
    /// Makes the candidates white that are not reachable from outside.
    ///
    /// A full collection counts in the direction that showed more last time: upwards where containers are
    /// made before what they hold, downwards where they are made after it.
    pub fn find(&self, candidates: &Candidates, selection: Selection) -> Verdict {
        let no_panic = NoPanic;
        let mut counter = Counter {
            downwards: selection == Selection::Old && self.downwards.get(),
            ..Counter::default()
        };
        if counter.downwards {
            candidates.reverse();
        }
        let mut n_words = 0;
        candidates.for_each(|pool| {
            let (first, words) = words_of(pool);
            pool.arena().zero_work(first, words);
            n_words += words;
        });
        counter.is_large = n_words * WORD > LARGE;
        candidates.for_each(|pool| {
            // SAFETY: the pool's objects are of its type, and candidates are whole.
            unsafe { (type_of(pool).count)(pool, selection, &mut counter) };
        });
        if counter.downwards {
            candidates.reverse();
        }
        settle_big(candidates, selection, &mut counter);
        if counter.gave_up {
            self.must_look.set(true);
        }
        let all_held = all_are_held(candidates, selection);
        if all_held {
            candidates.for_each(forget_pass);
        } else {
            candidates.for_each(|pool| find_roots(pool, selection));
            counter.balance -= self.mark_pending(candidates);
        }
        core::mem::forget(no_panic);
        // What is left of it is that of the white ones. No handle from outside leads to these, so it is the
        // number of handles they own to others, negative.
        Verdict {
            all_held,
            closed: counter.balance == 0,
        }
    }

    /// Marks what pending objects reach. Returns the marker's balance.
    pub fn mark_pending(&self, candidates: &Candidates) -> i64 {
        let types = self.heap.types();
        let mut ahead = Ahead {
            ring: [None; AHEAD],
            at: 0,
            types: &types,
        };
        self.with_marker(|marker| {
            loop {
                marker.overflowed = false;
                candidates.for_each(|pool| mark_pool(pool, marker, &mut ahead));
                ahead.finish(marker);
                if !marker.overflowed {
                    break marker.balance;
                }
            }
        })
    }
}

/// Decides about objects whose count does not fit a byte: those of which 0 modulo 256 is left are counted
/// again, exactly.
fn settle_big(candidates: &Candidates, selection: Selection, counter: &mut Counter) {
    let is_clear = |object: &Raw| object.arena().work(object.granule()).get() == 0;
    counter.big.retain(is_clear);
    if counter.big.is_empty() {
        return;
    }
    counter.big.sort_unstable_by_key(|object| object.addr());
    let mut left: Vec<u32> = Vec::new();
    if left.try_reserve_exact(counter.big.len()).is_err() {
        counter.gave_up = true;
        return counter.big.iter().for_each(|object| make_pending(*object));
    }
    left.extend(counter.big.iter().map(|object| object.count()));
    let big = &counter.big;
    let mut edge = |object: Raw| {
        if let Ok(at) = big.binary_search_by_key(&object.addr(), |big| big.addr()) {
            left[at] -= 1;
        }
    };
    candidates.for_each(|pool| {
        let visit = type_of(pool).visit;
        // SAFETY: the pool's objects are of its type, and candidates are whole.
        for_each_in(pool, selection, |object| unsafe {
            visit(object, &mut edge)
        });
    });
    let outside = big.iter().zip(&left).filter(|(_, left)| **left > 0);
    outside.for_each(|(object, _)| make_pending(*object));
}

/// Bits of the bytes that are not 0 among 64.
#[inline(always)]
fn nonzero(arena: Arena, word: usize) -> u64 {
    let mut bits = 0;
    for chunk in 0..8 {
        let bytes = arena.work_bytes(word * WORD + chunk * 8);
        const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
        let high = (((bytes & LOW) + LOW) | bytes) & !LOW;
        // The eight top bits, gathered.
        bits |= ((high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (chunk * 8);
    }
    bits
}

/// Whether each candidate is used from outside, or has a handle from a candidate that was counted before it.
/// Then all are reachable: of those that are not, the one counted first would have neither.
fn all_are_held(candidates: &Candidates, selection: Selection) -> bool {
    candidates.all(|pool| {
        let arena = pool.arena();
        let (first, words) = words_of(pool);
        (first..first + words).all(|word| {
            let unseen = arena.white(word).get();
            unseen == 0
                || unseen
                    & selection.of(arena, word)
                    & !(nonzero(arena, word) | arena.pending(word).get())
                    == 0
        })
    })
}

/// Clears what a pass left in the bitmaps of a pool.
fn forget_pass(pool: PoolRef) {
    let arena = pool.arena();
    let (first, words) = words_of(pool);
    for word in first..first + words {
        arena.white(word).set(0);
        arena.pending(word).set(0);
    }
}

/// Makes the candidates that are used from outside pending, and the others white.
fn find_roots(pool: PoolRef, selection: Selection) {
    let arena = pool.arena();
    let (first, words) = words_of(pool);
    for word in first..first + words {
        let candidates = selection.of(arena, word);
        if candidates == 0 {
            continue;
        }
        let pending = arena.pending(word);
        let roots = (nonzero(arena, word) | pending.get()) & candidates;
        pending.set(roots);
        arena.white(word).set(candidates & !roots);
    }
}

/// Makes the pool's pending objects, and what they lead to, traversed or on their way.
fn mark_pool(pool: PoolRef, marker: &mut Marker, ahead: &mut Ahead<'_>) {
    let arena = pool.arena();
    let (first, words) = words_of(pool);
    for word in first..first + words {
        let pending = arena.pending(word);
        // Marking may make objects of this very word pending.
        while pending.get() != 0 {
            let bits = pending.get();
            pending.set(bits & (bits - 1));
            let granule = word * WORD + bits.trailing_zeros() as usize;
            // SAFETY: pending objects are taken.
            marker.push(unsafe { object_at(arena, granule) });
            ahead.run(marker);
        }
    }
}

/// Marked objects on their way from memory, and how to traverse them.
struct Ahead<'a> {
    ring: [Option<Raw>; AHEAD],
    at: usize,
    types: &'a [&'static TypeInfo],
}

impl Ahead<'_> {
    /// Takes objects from the stack until it is empty.
    #[inline]
    fn run(&mut self, marker: &mut Marker) {
        while let Some(object) = marker.pop() {
            // The header and the fields of a small object: one line or two.
            crate::sync::prefetch(object.value().as_ptr().wrapping_sub(HEADER_BYTES));
            crate::sync::prefetch(object.value().as_ptr().wrapping_add(32));
            self.exchange(Some(object), marker);
        }
    }

    /// Traverses everything, ring and stack.
    fn finish(&mut self, marker: &mut Marker) {
        while self.ring.iter().any(Option::is_some) {
            for _ in 0..AHEAD {
                self.exchange(None, marker);
            }
            self.run(marker);
        }
    }

    /// Puts one object into the ring, and traverses the one that was there longest.
    #[inline(always)]
    fn exchange(&mut self, next: Option<Raw>, marker: &mut Marker) {
        let oldest = core::mem::replace(&mut self.ring[self.at], next);
        self.at = (self.at + 1) % AHEAD;
        if let Some(object) = oldest {
            // SAFETY: marked objects are whole, and of their type.
            unsafe { (self.types[object.type_index()].mark)(object, marker) };
        }
    }
}
