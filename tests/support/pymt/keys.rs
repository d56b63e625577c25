//! What is known about each live key of a recording.

use std::collections::HashMap;

use super::{ARENA_BYTES, Key};

/// Something known about each live key. Both the reader (is it live?) and the replay (where is it?)
/// keep one.
pub struct KeyMap<T> {
    /// Per arena obtained, one slot per 16 bytes.
    pooled: Vec<Vec<Option<T>>>,
    raw: HashMap<u32, T>,
}

impl<T: Copy> KeyMap<T> {
    /// A map without keys and without arenas.
    pub fn new() -> Self {
        Self {
            pooled: Vec::new(),
            raw: HashMap::new(),
        }
    }

    /// Makes room for the keys of the next arena ordinal.
    pub fn add_arena(&mut self) {
        self.pooled.push(vec![None; (ARENA_BYTES / 16) as usize]);
    }

    /// Enters `key`; returns what it stood for before, if it was live.
    ///
    /// # Panics
    /// If `key` lies in an arena that was not added.
    pub fn insert(&mut self, key: Key, value: T) -> Option<T> {
        match key.place() {
            Some((ordinal, sixteenth)) => {
                self.pooled[ordinal as usize][sixteenth as usize].replace(value)
            }
            None => self.raw.insert(key.0, value),
        }
    }

    /// Takes `key` out; `None` if it was not live.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        match key.place() {
            Some((ordinal, sixteenth)) => {
                self.pooled.get_mut(ordinal as usize)?[sixteenth as usize].take()
            }
            None => self.raw.remove(&key.0),
        }
    }
}
