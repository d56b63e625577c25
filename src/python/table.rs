//! [`Table`]: pairs in the order they came, found by hash; CPython's compact dictionary (Objects/dictobject.c
//! 3.11) as a value.
//!
//! ```text
//! indices   T = 2^k places, each empty, deleted, or the number of an entry     T ≥ 8, or 0: the empty table
//! entries   at most U = ⌊2T/3⌋, in order of insertion; a deleted one leaves a hole
//! ```
//!
//! I1  `used` entries are no holes.
//! I2  Unless `mixed`, every key put in since the last clearing is a text (CPython: `DICT_KEYS_UNICODE`).
//! I3  Each entry that is no hole is named by exactly one index, and holes by none.

use super::error::KindError;
use super::value::{Value, equals_at};
use crate::object::{Trace, Visitor};

const EMPTY: u32 = u32::MAX;
const DELETED: u32 = u32::MAX - 1;
/// CPython: `PyDict_MINSIZE`.
const FEWEST: usize = 8;
/// CPython: `PERTURB_SHIFT`.
const PERTURB_SHIFT: u32 = 5;
/// CPython's table before its indices (3.11: `sizeof(PyDictKeysObject)`).
const KEYS_BYTES: usize = 32;

/// Dropped in this order: CPython drops a key before its value.
struct Entry {
    hash: i64,
    key: Value,
    value: Value,
}

/// Pairs of a key and a value, in the order the keys came.
#[derive(Default)]
pub struct Table {
    indices: Box<[u32]>,
    entries: Vec<Option<Entry>>,
    used: usize,
    mixed: bool,
}

// SAFETY: each key and value once; no `Drop` of its own.
unsafe impl Trace for Table {
    const CYCLIC: bool = true;
    const DROPS_HANDLES_ONLY: bool = false;

    fn trace<V: Visitor>(&self, visitor: &mut V) {
        for entry in self.entries.iter().flatten() {
            entry.value.trace(visitor);
            // Texts refer to nothing (CPython visits the keys of mixed tables only).
            if self.mixed {
                entry.key.trace(visitor);
            }
        }
    }

    fn owned_bytes(&self) -> usize {
        size_of_val(&*self.indices) + self.entries.capacity() * size_of::<Option<Entry>>()
    }
}

/// The places a hash is looked for at, one after the other.
struct Probes {
    perturb: u64,
    place: usize,
    mask: usize,
}

impl Probes {
    fn new(hash: i64, n_places: usize) -> Self {
        let mask = n_places - 1;
        let place = hash as usize & mask;
        let perturb = hash as u64;
        Self {
            perturb,
            place,
            mask,
        }
    }

    fn advance(&mut self) {
        self.perturb >>= PERTURB_SHIFT;
        let next = self.place.wrapping_mul(5).wrapping_add(1);
        self.place = next.wrapping_add(self.perturb as usize) & self.mask;
    }
}

/// Entries a table of T places has room for.
const fn usable(n_places: usize) -> usize {
    (n_places << 1) / 3
}

impl Table {
    /// Pairs there are.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Index place and entry of a key.
    fn find(&self, key: &Value, hash: i64) -> Result<Option<(usize, usize)>, KindError> {
        if self.indices.is_empty() {
            return Ok(None);
        }
        let mut probes = Probes::new(hash, self.indices.len());
        loop {
            match self.indices[probes.place] {
                EMPTY => return Ok(None),
                DELETED => {}
                at => {
                    let entry = self.entries[at as usize].as_ref();
                    if let Some(entry) = entry.filter(|entry| entry.hash == hash)
                        && equals_at(&entry.key, key, 0)?
                    {
                        return Ok(Some((probes.place, at as usize)));
                    }
                }
            }
            probes.advance();
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &Value) -> Result<Option<Value>, KindError> {
        let found = self.find(key, key.hash()?)?;
        let entry = found.and_then(|(_, at)| self.entries[at].as_ref());
        Ok(entry.map(|entry| entry.value.clone()))
    }

    /// Sets the value of a key with this hash, and returns what is replaced: a value, or a key that was there already, which
    /// the caller drops.
    pub fn insert(
        &mut self,
        key: Value,
        hash: i64,
        value: Value,
    ) -> Result<Option<(Value, Value)>, KindError> {
        if !matches!(key, Value::Str(_)) && !self.mixed && !self.indices.is_empty() {
            // CPython: `insertion_resize`, whether there is room or not.
            self.mixed = true;
            self.rebuild();
        }
        if let Some((_, at)) = self.find(&key, hash)?
            && let Some(entry) = self.entries[at].as_mut()
        {
            return Ok(Some((key, core::mem::replace(&mut entry.value, value))));
        }
        self.mixed |= !matches!(key, Value::Str(_));
        if self.entries.len() >= usable(self.indices.len()) {
            self.rebuild();
        }
        let at = self.entries.len() as u32;
        self.entries.push(Some(Entry { hash, key, value }));
        self.used += 1;
        self.name(hash, at);
        Ok(None)
    }

    /// Puts an entry's number in the first free place of its hash.
    fn name(&mut self, hash: i64, at: u32) {
        let mut probes = Probes::new(hash, self.indices.len());
        while self.indices[probes.place] < DELETED {
            probes.advance();
        }
        self.indices[probes.place] = at;
    }

    /// A table for three times the pairs there are, without holes (CPython: `GROWTH_RATE`). One or two pairs
    /// get 16 places, none gets 8: `calculate_log2_keysize` sets the bit of the fewest before it rounds up.
    fn rebuild(&mut self) {
        let n_places = ((self.used * 3) | FEWEST).next_power_of_two();
        self.indices = vec![EMPTY; n_places].into_boxed_slice();
        self.entries.retain(Option::is_some);
        self.entries.shrink_to(usable(n_places));
        let more = usable(n_places) - self.entries.len();
        self.entries.reserve_exact(more);
        for at in 0..self.entries.len() {
            let hash = self.entries[at].as_ref().map_or(0, |entry| entry.hash);
            self.name(hash, at as u32);
        }
    }

    /// Takes a pair out.
    pub fn remove(&mut self, key: &Value) -> Result<Option<(Value, Value)>, KindError> {
        let Some((place, at)) = self.find(key, key.hash()?)? else {
            return Ok(None);
        };
        self.indices[place] = DELETED;
        self.used -= 1;
        let entry = self.entries[at].take();
        Ok(entry.map(|entry| (entry.key, entry.value)))
    }

    /// The pairs, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&Value, &Value)> {
        let entries = self.entries.iter().flatten();
        entries.map(|entry| (&entry.key, &entry.value))
    }

    /// Calls `f` on each key that tracing does not report.
    pub fn for_each_untraced_key(&self, mut f: impl FnMut(&Value)) {
        if !self.mixed {
            self.pairs().for_each(|(key, _)| f(key));
        }
    }

    /// Bytes of CPython's table, beside the object: 0 for the empty one, which is shared.
    pub fn size(&self) -> usize {
        let n_places = self.indices.len();
        let index_bytes = match n_places {
            0 => return 0,
            1..=0x80 => 1,
            0x81..=0x8000 => 2,
            _ => 4,
        };
        // Without hashes while all keys are texts, which remember theirs.
        let entry_bytes = if self.mixed { 24 } else { 16 };
        KEYS_BYTES + n_places * index_bytes + usable(n_places) * entry_bytes
    }
}
