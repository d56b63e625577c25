//! What there is: objects by generation, who refers to whom.

use super::collector::Collector;
use super::find::type_of;
use crate::object::header::Raw;
use crate::object::passes::{object_at, words_of};
use crate::object::weak::referent_of;
use crate::object::{Arena, Erased, Gc, Generation, WORD};
use core::mem::ManuallyDrop;

impl Collector {
    /// Objects in generations 0, 1, 2 and put aside.
    pub fn sizes(&self) -> [usize; 4] {
        let mut sizes = [0; 4];
        self.heap.for_each_pool(|pool| {
            let (first, words) = words_of(pool);
            for word in first..first + words {
                for (size, generation) in sizes.iter_mut().zip(ALL) {
                    *size += bits_of(pool.arena(), word, generation).count_ones() as usize;
                }
            }
        });
        sizes
    }

    /// Calls `f` on each object of a generation.
    pub fn for_each_in_generation(&self, generation: Generation, mut f: impl FnMut(Raw)) {
        self.heap.for_each_pool(|pool| {
            let arena = pool.arena();
            let (first, words) = words_of(pool);
            for word in first..first + words {
                let mut bits = bits_of(arena, word, generation);
                while bits != 0 {
                    let granule = word * WORD + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    // SAFETY: tracked objects are taken.
                    f(unsafe { object_at(arena, granule) });
                }
            }
        });
    }

    /// Handles to the objects of one generation, or of 0 to 2.
    pub fn objects(&self, generation: Option<usize>) -> Vec<Gc<Erased>> {
        let mut objects = Vec::new();
        for (index, which) in ALL[..3].iter().enumerate() {
            if generation.is_none_or(|wanted| wanted == index) {
                self.for_each_in_generation(*which, |object| objects.extend(handle(object)));
            }
        }
        objects
    }

    /// Tracked objects that refer to one of `targets`.
    pub fn referrers(&self, targets: &[Raw]) -> Vec<Gc<Erased>> {
        let mut objects = Vec::new();
        for which in &ALL[..3] {
            self.for_each_in_generation(*which, |object| {
                let mut refers = false;
                let visit = type_of(object.pool()).visit;
                // SAFETY: a tracked object is whole.
                unsafe { visit(object, &mut |target| refers |= targets.contains(&target)) };
                if refers {
                    objects.extend(handle(object));
                }
            });
        }
        objects
    }

    /// Moves generations 0, 1 and 2 aside.
    pub fn freeze(&self) {
        self.shift(|arena, word| {
            let words = arena.words(word);
            let all = words.young.take() | words.middle.take() | words.old.take();
            arena.frozen(word).set(arena.frozen(word).get() | all);
        });
        self.heap.count.set(0);
        self.counts.iter().for_each(|count| count.set(0));
    }

    /// Moves what is aside to generation 2.
    pub fn unfreeze(&self) {
        self.shift(|arena, word| {
            let old = &arena.words(word).old;
            old.set(old.get() | arena.frozen(word).take());
        });
        self.must_look.set(true);
    }

    fn shift(&self, f: impl Fn(Arena, usize)) {
        self.heap.for_each_pool(|pool| {
            let (first, words) = words_of(pool);
            (first..first + words).for_each(|word| f(pool.arena(), word));
        });
    }
}

const ALL: [Generation; 4] = [
    Generation::Young,
    Generation::Middle,
    Generation::Old,
    Generation::Frozen,
];

fn bits_of(arena: Arena, word: usize, generation: Generation) -> u64 {
    let words = arena.words(word);
    match generation {
        Generation::Young => words.young.get(),
        Generation::Middle => words.middle.get(),
        Generation::Old => words.old.get(),
        Generation::Frozen => arena.frozen(word).get(),
        Generation::Dead => arena.dead(word).get(),
    }
}

/// A handle to a tracked object, unless it is dying.
pub fn handle(object: Raw) -> Option<Gc<Erased>> {
    if object.count() == 0 {
        return None;
    }
    object.increment();
    // SAFETY: alive, and counted just now.
    Some(unsafe { Gc::from_value(object.value().cast()) })
}

/// Calls `f` on each tracked object of the thread's heap, without counting a handle. `f` makes no object and
/// runs no user code.
pub fn for_each_tracked(mut f: impl FnMut(&Gc<Erased>)) {
    for which in &ALL[..3] {
        super::current().for_each_in_generation(*which, |object| with_borrowed(object, &mut f));
    }
}

/// Calls `f` with a handle that is not counted, unless the object is dying.
fn with_borrowed(object: Raw, f: &mut impl FnMut(&Gc<Erased>)) {
    if object.count() > 0 {
        // SAFETY: alive while `f` runs, which drops no handle; this one is never dropped.
        let handle = ManuallyDrop::new(unsafe { Gc::from_value(object.value().cast()) });
        f(&handle);
    }
}

/// Calls `f` on each handle that `object` owns, in the order it is traced. `f` is as for [`for_each_tracked`].
pub fn for_each_referent(object: &Gc<Erased>, mut f: impl FnMut(&Gc<Erased>)) {
    let visit = object.info().visit;
    // SAFETY: a live object is whole.
    unsafe { visit(object.raw(), &mut |target| with_borrowed(target, &mut f)) };
}

/// The same with the names of the fields each handle lies in, outermost first.
pub fn for_each_named_referent(
    object: &Gc<Erased>,
    mut f: impl FnMut(&[&'static str], &Gc<Erased>),
) {
    let visit = object.info().visit_named;
    // SAFETY: a live object is whole.
    unsafe {
        visit(object.raw(), &mut |fields, target| {
            with_borrowed(target, &mut |target| f(fields, target));
        });
    }
}

/// What a weak reference refers to, if it is not dead; `None` when the object is no weak reference.
pub fn referent_of_weak(object: &Gc<Erased>) -> Option<Option<Gc<Erased>>> {
    referent_of(object.raw()).map(|referent| referent.and_then(handle))
}

/// Everything `object` refers to, in the order it is traced.
pub fn referents(object: &Gc<Erased>, to: &mut Vec<Gc<Erased>>) {
    let info = object.info();
    // SAFETY: a live object is whole.
    unsafe { (info.visit)(object.raw(), &mut |target| to.extend(handle(target))) };
}
