//! The collector's passes over handles, compiled per type: count, mark, release.
//!
//! ```text
//! count    each candidate: work += its count;  each of its handles: work of the target -= 1
//!          work is then the number of handles from outside, modulo 256
//! mark     each handle: is the target white? then it is no more, and pushed
//! release  each handle of a dead object: to a live one, count it down
//! ```
//!
//! A work byte that is not 0 when its object's turn to be counted comes says that a candidate counted earlier
//! has a handle to it. The object is left white if it is 0.
//!
//! A count of 256 or more may leave 0 modulo 256 without being 0: such objects are put on a list during the
//! pass and looked at again. Work bytes of objects that are no candidates are written, too, and never read:
//! a pool's are zeroed before it has candidates.

use super::arena::{Arena, GRANULE, POOL_WORDS, WORD};
use super::header::Raw;
use super::pool::PoolRef;
use super::release::give_up;
use super::trace::Visitor;
use super::type_info::Kind;
use core::ptr::NonNull;

/// How many words of 64 granules the counting pass asks for memory ahead: 2 KiB.
const WORDS_AHEAD: usize = 2;
/// Bytes between what neighbours refer to from which they are said to jump.
const FAR: usize = 16 << 10;

/// Which objects of a pool are candidates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Selection {
    /// Generation 0.
    Young,
    /// Generations 0 and 1.
    Middle,
    /// Generations 0, 1 and 2.
    Old,
    /// The set being collected.
    Dead,
}

impl Selection {
    /// The candidates among the 64 slots of `word`.
    #[inline(always)]
    pub fn of(self, arena: Arena, word: usize) -> u64 {
        let words = arena.words(word);
        match self {
            Self::Young => words.young.get(),
            Self::Middle => words.young.get() | words.middle.get(),
            Self::Old => words.young.get() | words.middle.get() | words.old.get(),
            Self::Dead => arena.dead(word).get(),
        }
    }
}

/// What the counting pass leaves, beside the tables.
#[derive(Default)]
pub struct Counter {
    /// Candidates with so many handles that their work byte may be ambiguous.
    pub big: Vec<Raw>,
    /// Whether some candidate was taken for a root for want of memory.
    pub gave_up: bool,
    /// Whether the candidates' work bytes exceed what a processor's caches hold.
    pub is_large: bool,
    /// Whether objects are counted from the highest address to the lowest.
    pub downwards: bool,
    /// Handles to the candidates, less handles they own: the handles from outside less those to outside.
    pub balance: i64,
}

/// One handle of a candidate, or more.
struct Edges(i64);

impl Visitor for Edges {
    #[inline(always)]
    fn edge(&mut self, object: Raw) {
        self.0 += 1;
        let work = object.arena().work(object.granule());
        work.set(work.get().wrapping_sub(1));
    }
}

/// Asks for the work bytes of what an object has handles to.
struct Prefetch;

impl Visitor for Prefetch {
    #[inline(always)]
    fn edge(&mut self, object: Raw) {
        crate::sync::prefetch(object.arena().work(object.granule()).as_ptr().cast());
    }
}

/// The last handle of an object.
struct Last(usize);

impl Visitor for Last {
    #[inline(always)]
    fn edge(&mut self, object: Raw) {
        self.0 = object.addr();
    }
}

impl Counter {
    /// A candidate whose count does not fit a work byte: an immortal one is a root.
    #[cold]
    #[inline(never)]
    fn big(&mut self, object: Raw) {
        if !object.is_immortal() && self.big.try_reserve(1).is_ok() {
            self.big.push(object);
            return;
        }
        self.gave_up |= !object.is_immortal();
        make_pending(object);
    }
}

/// Makes `object` one that marking starts from.
pub fn make_pending(object: Raw) {
    let granule = object.granule();
    let pending = object.arena().pending(granule / WORD);
    pending.set(pending.get() | 1 << (granule % WORD));
}

/// Words of the bitmaps that a pool's objects have bits in: the first one, and how many.
#[inline]
pub fn words_of(pool: PoolRef) -> (usize, usize) {
    let pools = pool.span.get().max(1) as usize;
    (pool.index() * POOL_WORDS, pools * POOL_WORDS)
}

/// The object of `granule`.
///
/// # Safety
/// 1. Its slot is taken.
#[inline(always)]
pub unsafe fn object_at(arena: Arena, granule: usize) -> Raw {
    // SAFETY: a taken slot (duty 1) inside the arena.
    unsafe { Raw::new(arena.base().add(granule * GRANULE)) }
}

/// Calls `f` on each candidate of a pool, in the order of addresses. A candidate that is none any more when
/// its word is reached is left out.
#[inline(always)]
pub fn for_each_in(pool: PoolRef, selection: Selection, mut f: impl FnMut(Raw)) {
    let arena = pool.arena();
    let (first, words) = words_of(pool);
    for word in first..first + words {
        let mut bits = selection.of(arena, word);
        while bits != 0 {
            let granule = word * WORD + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            // SAFETY: candidates are taken slots.
            f(unsafe { object_at(arena, granule) });
        }
    }
}

/// Asks for the memory of the 64 granules of `word`, which lie in the arena or behind it.
#[inline(always)]
fn prefetch_word(arena: Arena, word: usize) {
    let start = arena
        .base()
        .as_ptr()
        .wrapping_add(word.wrapping_mul(WORD * GRANULE));
    for line in 0..WORD * GRANULE / 64 {
        crate::sync::prefetch(start.wrapping_add(line * 64));
    }
}

/// The counting pass over one pool, upwards or downwards. Leaves the candidates white that no candidate
/// counted before has a handle to.
///
/// # Safety
/// 1. The pool's objects are of kind K, and its candidates' values are whole.
pub unsafe fn count_pool<K: Kind + ?Sized>(
    pool: PoolRef,
    selection: Selection,
    counter: &mut Counter,
) {
    let arena = pool.arena();
    let (first, words) = words_of(pool);
    let (mut handles, mut edges) = (0, Edges(0));
    let downwards = counter.downwards;
    // What makes the place of a bit that of the same bit in a word turned round.
    let turn = if downwards { 63 } else { 0 };
    for step in 0..words {
        let (word, next, ahead) = if downwards {
            let word = first + words - 1 - step;
            (word, word.wrapping_sub(1), word.wrapping_sub(WORDS_AHEAD))
        } else {
            let word = first + step;
            (word, word + 1, word + WORDS_AHEAD)
        };
        let mut bits = selection.of(arena, word);
        if bits == 0 {
            continue;
        }
        prefetch_word(arena, ahead);
        if counter.is_large && step + 1 < words {
            // SAFETY: duty 1; the next word is the pool's, too.
            unsafe { prefetch_if_far::<K>(arena, (word, bits), (next, selection)) };
        }
        if downwards {
            bits = bits.reverse_bits();
        }
        let mut unseen = 0;
        while bits != 0 {
            let at = bits.trailing_zeros() ^ turn;
            bits &= bits - 1;
            let granule = word * WORD + at as usize;
            // SAFETY: candidates are taken slots.
            let object = unsafe { object_at(arena, granule) };
            let count = object.count();
            if count >= 256 {
                counter.big(object);
            }
            handles += i64::from(count);
            let work = arena.work(granule);
            let seen = work.get();
            unseen |= u64::from(seen == 0) << at;
            work.set(seen.wrapping_add(count as u8));
            // SAFETY: duty 1.
            unsafe { K::trace(object, &mut edges) };
        }
        arena.white(word).set(unseen);
    }
    counter.balance += handles - edges.0;
}

/// Whether the handles of the first two objects among `bits` lead to places far from each other: in a structure
/// that was built in order those of neighbours are neighbours.
///
/// # Safety
/// 1. As for [`count_pool`].
#[inline(always)]
unsafe fn handles_jump<K: Kind + ?Sized>(arena: Arena, word: usize, mut bits: u64) -> bool {
    let mut last = [Last(0), Last(0)];
    for last in &mut last {
        if bits == 0 {
            return false;
        }
        let granule = word * WORD + bits.trailing_zeros() as usize;
        bits &= bits - 1;
        // SAFETY: candidates are taken slots, whole and of kind K (duty 1).
        unsafe { K::trace(object_at(arena, granule), last) };
    }
    last[0].0.abs_diff(last[1].0) > FAR
}

/// Asks for the work bytes of what the next word's candidates have handles to, if handles jump in this one.
///
/// # Safety
/// 1. As for [`count_pool`]; both words are the pool's.
#[inline(never)]
unsafe fn prefetch_if_far<K: Kind + ?Sized>(
    arena: Arena,
    (word, bits): (usize, u64),
    (next, selection): (usize, Selection),
) {
    // SAFETY: duty 1.
    if !unsafe { handles_jump::<K>(arena, word, bits) } {
        return;
    }
    let mut bits = selection.of(arena, next);
    while bits != 0 {
        let granule = next * WORD + bits.trailing_zeros() as usize;
        bits &= bits - 1;
        // SAFETY: candidates are taken slots, whole and of kind K (duty 1).
        unsafe { K::trace(object_at(arena, granule), &mut Prefetch) };
    }
}

/// Objects that wait to be traversed, in a bounded stack; what finds no room stays pending.
pub struct Marker {
    bottom: NonNull<Raw>,
    top: usize,
    capacity: usize,
    /// Whether some object was left pending.
    pub overflowed: bool,
    /// Handles to what was traversed, less handles that it owns.
    pub balance: i64,
}

impl Marker {
    /// A marker with room for `capacity` objects at `bottom`.
    ///
    /// # Safety
    /// 1. The memory is the marker's alone while it lives.
    pub unsafe fn new(bottom: NonNull<Raw>, capacity: usize) -> Self {
        Self {
            bottom,
            top: 0,
            capacity,
            overflowed: false,
            balance: 0,
        }
    }

    /// The object pushed last.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<Raw> {
        self.top = self.top.checked_sub(1)?;
        // SAFETY: entries below the old top were written.
        Some(unsafe { self.bottom.add(self.top).read() })
    }

    /// Puts `object` on the stack.
    #[inline(always)]
    pub fn push(&mut self, object: Raw) {
        if self.top == self.capacity {
            self.overflowed = true;
            return make_pending(object);
        }
        // SAFETY: below the capacity; the memory is ours (duty 1 of `new`).
        unsafe { self.bottom.add(self.top).write(object) };
        self.top += 1;
    }
}

impl Visitor for Marker {
    #[inline(always)]
    fn edge(&mut self, object: Raw) {
        self.balance -= 1;
        let granule = object.granule();
        let white = object.arena().white(granule / WORD);
        let bit = 1 << (granule % WORD);
        if white.get() & bit != 0 {
            white.set(white.get() & !bit);
            self.push(object);
        }
    }
}

/// Traverses a marked object.
///
/// # Safety
/// 1. The object is of kind K, and its value is whole.
pub unsafe fn mark_object<K: Kind + ?Sized>(object: Raw, marker: &mut Marker) {
    marker.balance += i64::from(object.count());
    // SAFETY: duty 1.
    unsafe { K::trace(object, marker) };
}

/// Releases the handles of dead objects.
pub struct Releaser;

impl Visitor for Releaser {
    #[inline(always)]
    fn edge(&mut self, object: Raw) {
        let granule = object.granule();
        let arena = object.arena();
        // Only dead objects are white (arena I2), and those die without being counted.
        if arena.white(granule / WORD).get() & 1 << (granule % WORD) == 0 {
            decrement(object);
        }
    }
}

/// One handle to `object` less.
#[inline(always)]
pub fn decrement(object: Raw) {
    let fewer = object.count().wrapping_sub(1);
    if (fewer as i32) > 0 {
        object.set_count(fewer);
        let card = &object.arena().header().card;
        // Tested first: a load is cheaper than one more store, and it is set already nearly always.
        if !card.get() {
            card.set(true);
        }
    } else {
        decrement_slow(object);
    }
}

/// The last handle, or one of an immortal object.
#[inline(never)]
fn decrement_slow(object: Raw) {
    // SAFETY: the handle is given up by whoever called.
    unsafe { give_up(object) };
}
