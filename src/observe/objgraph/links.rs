//! [`Links`]: all objects of the heap by number, and which refers to which.
//!
//! ```text
//! number   0 … n-1: tracked objects, then what they reach that is not tracked
//! first    where each object's targets begin in `targets`; one more at the end
//! outside  handles to each object that no object owns: variables, statics, leaf data
//! ```

use super::census::tracked;
use super::names::Known;
use super::{Names, python};
use crate::gc;
use crate::object::{Erased, Gc};
use std::collections::HashMap;

/// See the module. Handles are not kept.
pub struct Links {
    /// Identities.
    pub ids: Vec<usize>,
    /// Number by identity.
    pub numbers: HashMap<usize, u32>,
    /// Bytes of each object.
    pub bytes: Vec<u64>,
    /// Which of `type_names` each object has.
    pub types: Vec<u32>,
    /// Names of types.
    pub type_names: Vec<String>,
    /// See the module.
    pub outside: Vec<u64>,
    first: Vec<usize>,
    targets: Vec<u32>,
}

/// An immortal object: held for ever.
const IMMORTAL: u64 = u64::MAX;

impl Links {
    /// The thread's heap as it is now. The handles `held` are not counted as held from outside.
    pub fn read(names: Names, held: &[Gc<Erased>]) -> Self {
        let mut objects = tracked();
        let mut numbers: HashMap<usize, u32> = HashMap::with_capacity(objects.len());
        for (number, object) in objects.iter().enumerate() {
            numbers.insert(Gc::id(object), number as u32);
        }
        let (mut first, mut targets) = (vec![0], Vec::new());
        let mut at = 0;
        while at < objects.len() {
            let object = objects[at].clone();
            let mut add = |target: &Gc<Erased>| {
                let number = *numbers.entry(Gc::id(target)).or_insert_with(|| {
                    objects.push(target.clone());
                    (objects.len() - 1) as u32
                });
                targets.push(number);
            };
            gc::for_each_referent(&object, &mut add);
            python::for_each_untraced(&object, &mut add);
            first.push(targets.len());
            at += 1;
        }
        let mut known = Known::new(names);
        let types = objects
            .iter()
            .map(|object| known.index(object) as u32)
            .collect();
        let bytes = objects
            .iter()
            .map(|object| Gc::size_of(object) as u64)
            .collect();
        let outside = outside(&objects, &numbers, &targets, held);
        Self {
            ids: objects.iter().map(Gc::id).collect(),
            numbers,
            bytes,
            types,
            type_names: known.all,
            outside,
            first,
            targets,
        }
    }

    /// Objects there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// What an object refers to.
    pub fn targets(&self, number: u32) -> &[u32] {
        let number = number as usize;
        &self.targets[self.first[number]..self.first[number + 1]]
    }

    /// Objects that something outside the heap holds.
    pub fn roots(&self) -> impl Iterator<Item = u32> {
        let numbers = 0..self.len() as u32;
        numbers.filter(|number| self.outside[*number as usize] > 0)
    }
}

/// Handles to each object that are neither owned by an object nor in `objects` or `held`.
fn outside(
    objects: &[Gc<Erased>],
    numbers: &HashMap<usize, u32>,
    targets: &[u32],
    held: &[Gc<Erased>],
) -> Vec<u64> {
    let count = |object: &Gc<Erased>| match Gc::is_immortal(object) {
        true => IMMORTAL,
        false => Gc::strong_count(object) as u64 - 1,
    };
    let mut outside: Vec<u64> = objects.iter().map(count).collect();
    let held = held
        .iter()
        .filter_map(|object| numbers.get(&Gc::id(object)));
    for number in targets.iter().chain(held) {
        let left = &mut outside[*number as usize];
        if *left != IMMORTAL {
            *left = left.saturating_sub(1);
        }
    }
    outside
}
