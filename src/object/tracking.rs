//! Which generation an object is in: its bit in the tables.

use super::arena::WORD;
use super::header::Raw;
use core::cell::Cell;

/// Where an object stands; the order is that of [`gc::get_objects`](crate::gc::get_objects).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Generation {
    /// Generation 0.
    Young,
    /// Generation 1.
    Middle,
    /// Generation 2.
    Old,
    /// Put aside by [`gc::freeze`](crate::gc::freeze).
    Frozen,
    /// Found unreachable by the collection that is running.
    Dead,
}

impl Raw {
    #[inline(always)]
    fn bit(self) -> (usize, u64) {
        let granule = self.granule();
        (granule / WORD, 1 << (granule % WORD))
    }

    /// Makes a slot just taken an object of generation 0, or an untracked one.
    #[inline(always)]
    pub(crate) fn enter(self, tracked: bool) {
        let (word, bit) = self.bit();
        let words = self.arena().words(word);
        let place = if tracked { &words.young } else { &words.plain };
        place.set(place.get() | bit);
    }

    /// Where it stands; `None` when it is not tracked.
    pub(crate) fn generation(self) -> Option<Generation> {
        let (word, bit) = self.bit();
        let arena = self.arena();
        let words = arena.words(word);
        [
            (words.young.get(), Generation::Young),
            (words.middle.get(), Generation::Middle),
            (words.old.get(), Generation::Old),
            (arena.frozen(word).get(), Generation::Frozen),
            (arena.dead(word).get(), Generation::Dead),
        ]
        .into_iter()
        .find_map(|(bits, generation)| (bits & bit != 0).then_some(generation))
    }

    /// The word its bit is in if it is young, or for an untracked object plain, with the bit cleared; `None`
    /// if it is neither.
    #[inline(always)]
    pub(crate) fn place(self, tracked: bool) -> Option<(&'static Cell<u64>, u64)> {
        let (word, bit) = self.bit();
        let words = self.arena().words(word);
        let place = if tracked { &words.young } else { &words.plain };
        let bits = place.get();
        (bits & bit != 0).then_some((place, bits ^ bit))
    }

    /// Clears its bit, wherever it is; `tracked` says where to look first. A member of a dead set is none any
    /// more.
    #[inline(always)]
    pub(crate) fn leave(self, tracked: bool) {
        match self.place(tracked) {
            Some((place, without)) => place.set(without),
            None => self.leave_slow(),
        }
    }

    #[inline(never)]
    fn leave_slow(self) {
        let (word, bit) = self.bit();
        let arena = self.arena();
        let words = arena.words(word);
        let clear = |place: &Cell<u64>| place.set(place.get() & !bit);
        clear(&words.young);
        clear(&words.plain);
        clear(&words.middle);
        clear(&words.old);
        clear(arena.frozen(word));
        if arena.dead(word).get() & bit != 0 {
            clear(arena.dead(word));
            clear(arena.white(word));
        }
    }

    /// Makes it an untracked object that is still taken.
    #[inline]
    pub(crate) fn untrack(self) {
        self.leave(true);
        self.enter(false);
    }

    /// Makes it an object of generation 0.
    pub(crate) fn track(self) {
        self.leave(false);
        self.enter(true);
        self.arena().heap().list(self.pool(), 0);
    }

    /// Whether it is a member of a dead set that is being torn down.
    #[inline]
    pub(crate) fn is_dead(self) -> bool {
        let (word, bit) = self.bit();
        self.arena().dead(word).get() & bit != 0
    }
}
