//! A table from numbers to plain values, in a mapping of its own.
//!
//! * **I1** An entry lies between its home and the first free place behind it, round the end.
//! * **I2** At least a quarter of the places is free.

use super::super::mapped::Mapped;

/// Least places, a power of two.
const LEAST: usize = 1024;

#[derive(Clone, Copy)]
struct Entry<V> {
    /// 0 for a free place.
    key: u64,
    value: V,
}

/// Values by numbers other than 0.
pub struct Table<V: Copy> {
    entries: Mapped<Entry<V>>,
    used: usize,
}

impl<V: Copy> Default for Table<V> {
    fn default() -> Self {
        Self {
            entries: Mapped::default(),
            used: 0,
        }
    }
}

fn home(key: u64, mask: usize) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask
}

/// The place of `key`, or the free one where it belongs.
fn place<V: Copy>(entries: &[Entry<V>], key: u64) -> usize {
    let mask = entries.len() - 1;
    let mut at = home(key, mask);
    while entries[at].key != 0 && entries[at].key != key {
        at = (at + 1) & mask;
    }
    at
}

impl<V: Copy> Table<V> {
    /// The value of `key`.
    pub fn get(&self, key: u64) -> Option<V> {
        let entries = self.entries.as_slice();
        if entries.is_empty() {
            return None;
        }
        let entry = &entries[place(entries, key)];
        (entry.key != 0).then_some(entry.value)
    }

    /// Sets the value of `key`, which is not 0. False when there is no memory for it.
    pub fn insert(&mut self, key: u64, value: V) -> bool {
        debug_assert!(key != 0);
        let room = self.entries.as_slice().len();
        if (self.used + 1) * 4 > room * 3 && !self.grow((room * 2).max(LEAST), value) {
            return false;
        }
        let entries = self.entries.as_mut_slice();
        let entry = &mut entries[place(entries, key)];
        self.used += usize::from(entry.key == 0);
        *entry = Entry { key, value };
        true
    }

    /// Takes out the value of `key`.
    pub fn remove(&mut self, key: u64) -> Option<V> {
        let entries = self.entries.as_mut_slice();
        if entries.is_empty() {
            return None;
        }
        let mask = entries.len() - 1;
        let mut hole = place(entries, key);
        if entries[hole].key == 0 {
            return None;
        }
        let value = entries[hole].value;
        // What lies behind closes the hole, unless it would come before its home (I1).
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            if entries[at].key == 0 {
                break;
            }
            let distance = at.wrapping_sub(home(entries[at].key, mask)) & mask;
            if distance >= at.wrapping_sub(hole) & mask {
                entries[hole] = entries[at];
                hole = at;
            }
        }
        entries[hole].key = 0;
        self.used -= 1;
        Some(value)
    }

    /// Moves to `room` places; `filler` stands in the free ones.
    fn grow(&mut self, room: usize, filler: V) -> bool {
        let mut wider = Mapped::default();
        let free = [Entry {
            key: 0,
            value: filler,
        }; 64];
        if !(0..room / free.len()).all(|_| wider.extend(&free)) {
            return false;
        }
        let places = wider.as_mut_slice();
        for entry in self
            .entries
            .as_slice()
            .iter()
            .filter(|entry| entry.key != 0)
        {
            places[place(places, entry.key)] = *entry;
        }
        self.entries = wider;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn it_answers_as_a_hash_map_does() {
        let (mut table, mut map) = (Table::default(), HashMap::new());
        let mut state = 7u64;
        for step in 0..200_000u32 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let key = (state >> 40) % 5000 + 1;
            if state >> 63 == 0 || step < 3000 {
                assert!(table.insert(key, step));
                map.insert(key, step);
            } else {
                assert_eq!(table.remove(key), map.remove(&key), "step {step}");
            }
            assert_eq!(table.get(key), map.get(&key).copied(), "step {step}");
        }
        assert!((1..=5000).all(|key| table.get(key) == map.get(&key).copied()));
    }
}
