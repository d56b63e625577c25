//! One collection, phase by phase, in CPython's order (Modules/gcmodule.c 3.11, `gc_collect_main`).
//!
//! ```text
//! callbacks "start"
//! candidates -> find -> survivors into the older generation; the rest is the dead set
//! weak references to it cleared; callbacks of those outside it     (user code)
//! finalizers                                                       (user code)
//! found again -> resurrected ones into the older generation
//! weak references made since cleared; values dropped; slots freed  (Drop of leaf fields)
//! callbacks "stop"
//! ```
//!
//! Within a phase the order is that of addresses. While user code runs the dead set's members are intact, and
//! may die by their counts or be resurrected; each phase asks the bitmap anew before it touches one.

use super::collector::{Collector, Info, When};
use super::find::{Candidates, type_of};
use crate::object::TEARING;
use crate::object::header::{Raw, flags};
use crate::object::heap::{Phase, bin_of};
use crate::object::passes::{
    Marker, Releaser, Selection, decrement, for_each_in, object_at, words_of,
};
use crate::object::pool::PoolRef;
use crate::object::unraisable::{Context, guarded};
use crate::object::watched;
use crate::object::weak::{self, Callbacks};
use crate::object::{Gc, Generation, WORD};

/// What one collection found.
#[derive(Clone, Copy, Default, Debug)]
pub struct Found {
    /// Objects freed, and weak references with them.
    pub collected: usize,
    /// Objects that cannot be freed.
    pub uncollectable: usize,
}

impl Collector {
    /// Collects `generation` and all younger ones. Returns the number of unreachable objects found; 0 when a
    /// collection is running.
    pub fn run(&self, generation: usize) -> usize {
        if self.heap.phase.get() != Phase::Idle {
            return 0;
        }
        self.heap.phase.set(Phase::Collecting);
        self.heap.look();
        self.update_limit();
        self.call_back(When::Start, generation, Found::default());
        let (found, candidates) = self.collect_main(generation);
        self.call_back(When::Stop, generation, found);
        self.finish(candidates);
        self.update_limit();
        found.collected + found.uncollectable
    }

    /// Ends the phase, and gives back what became empty in it.
    pub fn finish(&self, candidates: Candidates) {
        self.heap.phase.set(Phase::Idle);
        self.heap
            .give_back_many(|heap| candidates.dissolve(|pool| heap.give_back(pool)));
    }

    fn call_back(&self, when: When, generation: usize, found: Found) {
        let info = Info {
            generation,
            collected: found.collected,
            uncollectable: found.uncollectable,
        };
        let mut index = 0;
        // The list may change while it is gone through (CPython iterates it by index, too).
        loop {
            let callback = self.callbacks.borrow().get(index).cloned();
            let Some(callback) = callback else { break };
            guarded(&self.heap, Context::CollectorCallback, || {
                callback(when, &info);
            });
            index += 1;
        }
    }

    /// The collection between the callbacks.
    pub fn collect_main(&self, generation: usize) -> (Found, Candidates) {
        let started = self.say_start(generation);
        if generation < 2 {
            let older = &self.counts[generation];
            older.set(older.get().saturating_add(1));
        }
        self.heap.count.set(0);
        self.counts[..generation]
            .iter()
            .for_each(|count| count.set(0));
        let (candidates, selection) = self.candidates(generation);
        let verdict = self.find(&candidates, selection);
        let target = if generation == 0 {
            Generation::Middle
        } else {
            Generation::Old
        };
        let n_dead = self.age(&candidates, selection, generation, target);
        let mut found = Found::default();
        if n_dead > 0 {
            found = self.dispose(&candidates, target, verdict.closed);
        } else if selection == Selection::Old && !verdict.all_held {
            self.downwards.set(!self.downwards.get());
        }
        if generation == 2 {
            self.heap.for_each_bin(|bin| bin.kept.set(0));
        }
        self.note(generation, found, started);
        (found, candidates)
    }

    /// The pools to look at, and which of their objects.
    fn candidates(&self, generation: usize) -> (Candidates, Selection) {
        let candidates = Candidates::default();
        self.heap.take_listed(0, |pool| candidates.add(pool));
        // What callbacks and finalizers make is young, and comes from these.
        self.heap.for_each_bin(|bin| {
            if bin.info.cyclic && bin.has_current() {
                self.heap.list(bin.current(), 0);
            }
        });
        if generation == 0 {
            return (candidates, Selection::Young);
        }
        self.heap.take_listed(1, |pool| candidates.add(pool));
        if generation == 1 || !self.old_changed() {
            return (candidates, Selection::Middle);
        }
        self.heap.for_each_pool(|pool| {
            if type_of(pool).cyclic {
                candidates.add(pool);
            }
        });
        (candidates, Selection::Old)
    }

    /// Whether some object of generation 2 may have become garbage since it was last looked at: none has
    /// without a decrement that left a count above zero. Forgets the cards.
    fn old_changed(&self) -> bool {
        let mut changed = self.must_look.replace(false);
        for arena in self.heap.arenas() {
            let header = arena.header();
            changed |= header.card.replace(false) && header.tracked.get();
        }
        changed
    }

    /// Moves survivors to `target` and the others into the dead set; returns how many those are.
    fn age(
        &self,
        candidates: &Candidates,
        selection: Selection,
        generation: usize,
        target: Generation,
    ) -> usize {
        let (mut n_alive, mut n_dead) = (0, 0);
        candidates.for_each(|pool| {
            let (alive, dead) = age_pool(pool, selection, target);
            n_alive += alive;
            n_dead += dead;
            if target == Generation::Middle && alive > 0 {
                self.heap.list(pool, 1);
            }
        });
        match generation {
            0 => {}
            1 => {
                let pending = &self.long_lived_pending;
                pending.set(pending.get() + n_alive);
            }
            _ => {
                let untouched = match selection {
                    Selection::Old => 0,
                    _ => self.long_lived_total.get() + self.long_lived_pending.get(),
                };
                self.long_lived_pending.set(0);
                self.long_lived_total.set(n_alive + untouched);
            }
        }
        n_dead
    }

    /// What is done with the dead set. `closed` when its members have handles to each other only.
    fn dispose(&self, candidates: &Candidates, target: Generation, mut closed: bool) -> Found {
        // Callbacks may change what the members own, and they are not counted again for it.
        closed &= self.heap.weak.borrow().is_empty();
        let uncollectable = self.spare_uncollectable(candidates, target);
        self.say_collectable(candidates);
        let n_weak = self.clear_weak(candidates, target);
        closed &= uncollectable == 0;
        if self.finalize(candidates) {
            closed = self.find(candidates, Selection::Dead).closed;
            self.resurrect(candidates, target);
        }
        let n_dead = if self.saves_all() {
            self.save_all(candidates, target)
        } else {
            self.tear_down(candidates, closed)
        };
        Found {
            collected: n_dead + n_weak,
            uncollectable,
        }
    }

    /// Clears weak references to the dead set, and calls back those outside it. Returns how many weak
    /// references died of it.
    fn clear_weak(&self, candidates: &Candidates, target: Generation) -> usize {
        if self.heap.weak.borrow().is_empty() {
            return 0;
        }
        let mut queue = Callbacks::default();
        candidates.for_each(|pool| {
            let are_weak = weak::is_record_type(type_of(pool));
            for_each_in(pool, Selection::Dead, |object| {
                if are_weak {
                    weak::clear_record(object);
                }
                if object.has(flags::WEAK) {
                    weak::clear(object, &mut queue, |record| !record.is_dead());
                }
            });
        });
        queue.run(&self.heap, |record| self.move_to(record, target))
    }

    /// Puts a tracked object into a generation.
    pub fn move_to(&self, object: Raw, target: Generation) {
        if object.generation().is_none_or(|at| at == Generation::Dead) {
            return;
        }
        object.leave(true);
        let (word, bit) = (object.granule() / WORD, 1 << (object.granule() % WORD));
        add(object.pool(), word, bit, target);
        if target == Generation::Middle {
            self.heap.list(object.pool(), 1);
        }
    }

    /// Runs the finalizers of the dead set. True if there were any.
    fn finalize(&self, candidates: &Candidates) -> bool {
        let mut any = false;
        candidates.for_each(|pool| {
            let info = type_of(pool);
            let Some(finalize) = info.finalize else {
                return;
            };
            for_each_dead(pool, |object| {
                if object.has(flags::FINALIZED) {
                    return;
                }
                any = true;
                object.set(flags::FINALIZED);
                object.increment();
                guarded(&self.heap, Context::Finalizer(info), || {
                    // SAFETY: an object of this type, held by the count.
                    unsafe { finalize(object) };
                });
                decrement(object);
            });
        });
        any
    }

    /// Moves members of the dead set that are not white to `target`.
    pub fn resurrect(&self, candidates: &Candidates, target: Generation) {
        candidates.for_each(|pool| {
            let arena = pool.arena();
            let (first, words) = words_of(pool);
            for word in first..first + words {
                let dead = arena.dead(word);
                let alive = dead.get() & !arena.white(word).get();
                if alive == 0 {
                    continue;
                }
                dead.set(dead.get() & !alive);
                add(pool, word, alive, target);
                if target == Generation::Middle {
                    self.heap.list(pool, 1);
                }
            }
        });
    }

    /// Keeps what the collector must not tear down, and what that reaches; returns how many those are.
    fn spare_uncollectable(&self, candidates: &Candidates, target: Generation) -> usize {
        let mut any = false;
        self.with_marker(|marker: &mut Marker| {
            use crate::object::Visitor;
            candidates.for_each(|pool| {
                if type_of(pool).uncollectable {
                    for_each_in(pool, Selection::Dead, |object| {
                        any = true;
                        marker.edge(object);
                        self.keep(object);
                    });
                }
                // The stack is emptied by the pass over pending objects.
                while let Some(object) = marker.pop() {
                    crate::object::passes::make_pending(object);
                }
            });
        });
        if !any {
            return 0;
        }
        let before = n_dead(candidates);
        self.mark_pending(candidates);
        self.resurrect(candidates, target);
        before - n_dead(candidates)
    }

    /// Puts an object that is not torn down into the garbage list. Without memory for that it is alive all the
    /// same, and the next full collection finds it again.
    fn keep(&self, object: Raw) {
        self.say_object("uncollectable", super::debug::UNCOLLECTABLE, object);
        self.list_garbage(object);
    }

    fn list_garbage(&self, object: Raw) {
        if self.garbage.borrow_mut().try_reserve(1).is_err() {
            return self.must_look.set(true);
        }
        object.increment();
        // SAFETY: counted just now.
        let handle = unsafe { Gc::from_value(object.value().cast()) };
        self.garbage.borrow_mut().push(handle);
    }

    /// Puts the whole dead set into the garbage list, alive; returns how many objects that are.
    fn save_all(&self, candidates: &Candidates, target: Generation) -> usize {
        let mut n = 0;
        candidates.for_each(|pool| {
            for_each_in(pool, Selection::Dead, |object| {
                n += 1;
                self.list_garbage(object);
            });
            let (first, words) = words_of(pool);
            for word in first..first + words {
                let white = pool.arena().white(word);
                white.set(white.get() & !pool.arena().dead(word).get());
            }
        });
        self.resurrect(candidates, target);
        n
    }

    /// Drops the values of the dead set and frees its slots; returns how many there were.
    fn tear_down(&self, candidates: &Candidates, closed: bool) -> usize {
        let has_weak = !self.heap.weak.borrow().is_empty();
        if has_weak {
            candidates.for_each(|pool| {
                for_each_in(pool, Selection::Dead, weak::clear_silently);
            });
        }
        let depth = &self.heap.depth;
        depth.set(depth.get() + TEARING);
        candidates.for_each(|pool| self.drop_values(pool, closed && !has_weak));
        let mut n_dead = 0;
        candidates.for_each(|pool| n_dead += self.free_dead(pool));
        depth.set(depth.get() - TEARING);
        n_dead
    }

    /// Drops the values of a pool's dead objects. Those of a closed set that only own handles need not be
    /// touched.
    fn drop_values(&self, pool: PoolRef, closed: bool) {
        let info = type_of(pool);
        if info.drops_handles_only && closed {
            return;
        }
        if info.drops_handles_only {
            for_each_in(pool, Selection::Dead, |object| {
                // SAFETY: a whole object of this type; its handles are released once, here.
                unsafe { (info.release)(object, &mut Releaser) };
            });
        } else if let Some(drop_value) = info.drop {
            for_each_in(pool, Selection::Dead, |object| {
                guarded(&self.heap, Context::Drop(info), || {
                    // SAFETY: whole, and reached by nobody any more.
                    unsafe { drop_value(object) };
                });
            });
        }
    }

    /// Clears the dead bits of a pool; its slots are found again by the bitmaps.
    fn free_dead(&self, pool: PoolRef) -> usize {
        let arena = pool.arena();
        let (first, words) = words_of(pool);
        if pool.watch.is_on() {
            watched::tell_of_dead(pool, type_of(pool));
        }
        let mut n = 0;
        for word in first..first + words {
            let dead = arena.dead(word).replace(0);
            if dead != 0 {
                n += dead.count_ones();
                arena.white(word).set(arena.white(word).get() & !dead);
            }
        }
        if n > 0 {
            let bin = bin_of(pool);
            let kept = n.min(bin.info.free_list - bin.kept.get());
            bin.kept.set(bin.kept.get() + kept);
            let count = &self.heap.count;
            count.set(count.get().saturating_sub(n - kept));
            self.heap.free_many(pool, n);
        }
        n as usize
    }
}

/// Members of the dead set.
fn n_dead(candidates: &Candidates) -> usize {
    let mut n = 0;
    candidates.for_each(|pool| for_each_in(pool, Selection::Dead, |_| n += 1));
    n
}

/// Calls `f` on each member of the dead set that still is one when its turn comes.
fn for_each_dead(pool: PoolRef, mut f: impl FnMut(Raw)) {
    let arena = pool.arena();
    let (first, words) = words_of(pool);
    for word in first..first + words {
        let mut done = 0;
        loop {
            let left = arena.dead(word).get() & !done;
            if left == 0 {
                break;
            }
            let at = left.trailing_zeros() as usize;
            // What came to be dead again behind this one waits for nobody: nothing enters the set now.
            done = !0 >> (63 - at);
            // SAFETY: members of the set are taken.
            f(unsafe { object_at(arena, word * WORD + at) });
        }
    }
}

/// Sets bits of a generation.
fn add(pool: PoolRef, word: usize, bits: u64, target: Generation) {
    let words = pool.arena().words(word);
    let place = match target {
        Generation::Middle => &words.middle,
        _ => &words.old,
    };
    place.set(place.get() | bits);
}

/// Moves a pool's white candidates into the dead set and the others to `target`; how many survive and how
/// many do not.
fn age_pool(pool: PoolRef, selection: Selection, target: Generation) -> (usize, usize) {
    let arena = pool.arena();
    let (first, words) = words_of(pool);
    let (mut n_alive, mut n_dead) = (0, 0);
    for word in first..first + words {
        let candidates = selection.of(arena, word);
        if candidates == 0 {
            continue;
        }
        let alive = candidates & !arena.white(word).get();
        let dead = candidates & !alive;
        let generations = arena.words(word);
        generations.young.set(generations.young.get() & !candidates);
        generations
            .middle
            .set(generations.middle.get() & !candidates);
        generations.old.set(generations.old.get() & !candidates);
        add(pool, word, alive, target);
        arena.dead(word).set(dead);
        n_alive += alive.count_ones() as usize;
        n_dead += dead.count_ones() as usize;
    }
    (n_alive, n_dead)
}
