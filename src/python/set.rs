//! [`Set`]: CPython's hash table of keys (Objects/setobject.c 3.11), place by place, so that a set of numbers has
//! CPython's order.
//!
//! ```text
//! places   T = 2^k, T ≥ 8; each empty, deleted, or a key with its hash
//! ```
//!
//! I1  `fill` places are not empty, `used` of them hold a key.
//! I2  5 · fill < 3 · (T − 1) after an insertion: there is always an empty place, where a search ends.

use super::error::KindError;
use super::value::{Value, equals_at};
use crate::object::{Gc, Trace, Visitor};
use core::cell::RefCell;

/// CPython: `PySet_MINSIZE`; so many places are inside its object.
const FEWEST: usize = 8;
/// CPython: `LINEAR_PROBES`: so many neighbours are tried before a jump.
const NEIGHBOURS: usize = 9;
/// CPython: `PERTURB_SHIFT`.
const PERTURB_SHIFT: u32 = 5;
/// CPython's object with the places inside it, and its collector header.
const SET_BYTES: usize = 216;
/// One of CPython's places: key and hash.
const PLACE_BYTES: usize = 16;

#[derive(Clone, Default)]
enum Place {
    #[default]
    Empty,
    Deleted,
    Key(i64, Value),
}

struct Places {
    places: Box<[Place]>,
    fill: usize,
    used: usize,
}

impl Default for Places {
    fn default() -> Self {
        Self::with_places(FEWEST)
    }
}

/// A set.
///
/// ```
/// use pymalloc::python::{Python, Set};
/// let python = Python::new();
/// let set = Set::new();
/// for n in [64, 3, 1000, 3] {
///     set.insert(python.int(n)).unwrap();
/// }
/// assert_eq!(set.len(), 3);
/// assert!(set.contains(&python.float(64.0)).unwrap());
/// ```
#[derive(Default)]
pub struct Set(RefCell<Places>);

// SAFETY: each key once, unless the places are being changed; no `Drop` of its own.
unsafe impl Trace for Set {
    const CYCLIC: bool = true;
    const DROPS_HANDLES_ONLY: bool = false;

    fn trace<V: Visitor>(&self, visitor: &mut V) {
        if let Ok(places) = self.0.try_borrow() {
            places.keys().for_each(|key| key.trace(visitor));
        }
    }

    fn owned_bytes(&self) -> usize {
        self.0
            .try_borrow()
            .map_or(0, |places| size_of_val(&*places.places))
    }
}

impl Places {
    fn with_places(n: usize) -> Self {
        Self {
            places: vec![Place::Empty; n].into_boxed_slice(),
            fill: 0,
            used: 0,
        }
    }

    fn keys(&self) -> impl Iterator<Item = &Value> {
        self.places.iter().filter_map(|place| match place {
            Place::Key(_, key) => Some(key),
            _ => None,
        })
    }

    /// The place of a key, or the empty one where the search for it ends; and the last deleted one on the way.
    fn find(
        &self,
        hash: i64,
        equal: impl Fn(&Value) -> Result<bool, KindError>,
    ) -> Result<(usize, Option<usize>), KindError> {
        let mut deleted = None;
        let mask = self.places.len() - 1;
        let mut start = hash as usize & mask;
        let mut perturb = hash as u64;
        loop {
            // Neighbours are tried only where all of them are in the table.
            let last = if start + NEIGHBOURS <= mask {
                start + NEIGHBOURS
            } else {
                start
            };
            for at in start..=last {
                match &self.places[at] {
                    Place::Empty => return Ok((at, deleted)),
                    Place::Deleted => deleted = Some(at),
                    Place::Key(other, key) if *other == hash && equal(key)? => {
                        return Ok((at, deleted));
                    }
                    _ => {}
                }
            }
            perturb >>= PERTURB_SHIFT;
            let next = start.wrapping_mul(5).wrapping_add(1);
            start = next.wrapping_add(perturb as usize) & mask;
        }
    }

    /// Adds a key; gives it back if an equal one is there.
    fn insert(&mut self, hash: i64, key: Value) -> Result<Option<Value>, KindError> {
        let (at, deleted) = self.find(hash, |other| equals_at(other, &key, 0))?;
        if matches!(self.places[at], Place::Key(..)) {
            return Ok(Some(key));
        }
        if let Some(deleted) = deleted {
            self.places[deleted] = Place::Key(hash, key);
            self.used += 1;
            return Ok(None);
        }
        self.places[at] = Place::Key(hash, key);
        self.fill += 1;
        self.used += 1;
        if self.fill * 5 >= (self.places.len() - 1) * 3 {
            self.grow()?;
        }
        Ok(None)
    }

    /// Twice to eight times the places, without deleted ones, filled in order of the old ones.
    fn grow(&mut self) -> Result<(), KindError> {
        let above = self.used * if self.used > 50_000 { 2 } else { 4 };
        let n_places = (above + 1).next_power_of_two().max(FEWEST);
        let old = core::mem::replace(self, Self::with_places(n_places));
        for place in old.places {
            if let Place::Key(hash, key) = place {
                // No key of a set is there twice.
                let (at, _) = self.find(hash, |_| Ok(false))?;
                self.places[at] = Place::Key(hash, key);
            }
        }
        (self.fill, self.used) = (old.used, old.used);
        Ok(())
    }
}

impl Set {
    /// An empty set.
    pub fn new() -> Gc<Self> {
        Gc::new(Self::default())
    }

    /// Keys there are.
    pub fn len(&self) -> usize {
        self.0.borrow().used
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a key; false if an equal one is there.
    ///
    /// # Errors
    /// When the key cannot be hashed or compared.
    pub fn insert(&self, key: Value) -> Result<bool, KindError> {
        let hash = key.hash()?;
        // A key that is there already is dropped when the places are no longer borrowed.
        let refused = self.0.borrow_mut().insert(hash, key)?;
        Ok(refused.is_none())
    }

    /// Whether a key is there.
    ///
    /// # Errors
    /// When the key cannot be hashed or compared.
    pub fn contains(&self, key: &Value) -> Result<bool, KindError> {
        let places = self.0.borrow();
        let (at, _) = places.find(key.hash()?, |other| equals_at(other, key, 0))?;
        Ok(matches!(places.places[at], Place::Key(..)))
    }

    /// Takes a key out; false if it is not there. The set does not shrink.
    ///
    /// # Errors
    /// When the key cannot be hashed or compared.
    pub fn discard(&self, key: &Value) -> Result<bool, KindError> {
        let hash = key.hash()?;
        let taken = {
            let mut places = self.0.borrow_mut();
            let (at, _) = places.find(hash, |other| equals_at(other, key, 0))?;
            let found = matches!(places.places[at], Place::Key(..));
            found.then(|| {
                places.used -= 1;
                core::mem::replace(&mut places.places[at], Place::Deleted)
            })
        };
        Ok(taken.is_some())
    }

    /// Deletes all keys.
    pub fn clear(&self) {
        let places = self.0.take();
        drop(places);
    }

    /// All keys, in the order of their places.
    pub fn to_vec(&self) -> Vec<Value> {
        self.0.borrow().keys().cloned().collect()
    }

    /// Whether both have the same keys.
    pub(super) fn equals(&self, other: &Self) -> Result<bool, KindError> {
        if self.len() != other.len() {
            return Ok(false);
        }
        for key in self.to_vec() {
            if !other.contains(&key)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn size(&self) -> usize {
        let n_places = self.0.borrow().places.len();
        SET_BYTES
            + if n_places > FEWEST {
                n_places * PLACE_BYTES
            } else {
                0
            }
    }
}
