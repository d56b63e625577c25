//! Stacks and threads by number: tables that only grow, in mappings of their own.

use super::super::unwind::Bounds;
use crate::os;
use core::ptr::NonNull;

/// A stack that was defined.
#[derive(Clone, Copy)]
struct Entry {
    /// [`hash`] of its frames; 0 for no entry.
    hash: u64,
    number: u32,
}

/// Numbers of the stacks met so far, by a hash of 64 bits: two different stacks of one hash are not to be
/// expected before there are billions.
pub struct Stacks {
    entries: NonNull<Entry>,
    /// Entries there is room for, a power of two.
    room: usize,
    n: u32,
}

impl Stacks {
    /// No stack so far. `None` when memory is out.
    pub fn new() -> Option<Self> {
        Self::with_room(4096)
    }

    fn with_room(room: usize) -> Option<Self> {
        let page = os::page_size();
        let len = (room * size_of::<Entry>()).next_multiple_of(page);
        Some(Self {
            entries: os::map(len, page)?.cast(),
            room,
            n: 0,
        })
    }

    fn entries(&mut self) -> &mut [Entry] {
        // SAFETY: mapped for `room` entries, zero at first, which is no entry.
        unsafe { core::slice::from_raw_parts_mut(self.entries.as_ptr(), self.room) }
    }

    /// The number of the stack with these frames, and whether it is new. 0 when memory is out.
    pub fn number(&mut self, frames: &[usize]) -> (u32, bool) {
        let hash = hash(frames);
        if self.n as usize * 2 >= self.room && self.grow().is_none() && self.is_full() {
            return (0, false);
        }
        let n = self.n;
        let entry = place(self.entries(), hash);
        if entry.hash != 0 {
            return (entry.number, false);
        }
        *entry = Entry {
            hash,
            number: n + 1,
        };
        self.n += 1;
        (self.n, true)
    }

    /// One place stays free, so that every search ends.
    fn is_full(&self) -> bool {
        self.n as usize + 1 >= self.room
    }

    fn grow(&mut self) -> Option<()> {
        let mut wider = Self::with_room(self.room * 2)?;
        for entry in self.entries() {
            if entry.hash != 0 {
                *place(wider.entries(), entry.hash) = *entry;
            }
        }
        wider.n = self.n;
        let old = core::mem::replace(self, wider);
        let page = os::page_size();
        let len = (old.room * size_of::<Entry>()).next_multiple_of(page);
        // SAFETY: mapped by `with_room`, and copied.
        unsafe { os::unmap(old.entries.cast(), len) };
        Some(())
    }
}

/// Where the entry of `hash` is or belongs.
fn place(entries: &mut [Entry], hash: u64) -> &mut Entry {
    let mask = entries.len() - 1;
    let mut at = hash as usize & mask;
    while entries[at].hash != 0 && entries[at].hash != hash {
        at = (at + 1) & mask;
    }
    &mut entries[at]
}

/// Never 0.
fn hash(frames: &[usize]) -> u64 {
    let mix = |sum: u64, frame: &usize| {
        (sum ^ *frame as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(31)
    };
    frames.iter().fold(frames.len() as u64, mix) | 1
}

/// What is known of one thread.
#[derive(Clone, Copy, Debug)]
pub struct ThreadEntry {
    /// [`os::Lock`]'s number of the thread; 0 for no entry.
    key: usize,
    /// Its number in the recording.
    pub number: u32,
    /// Where its stack lies.
    pub bounds: Bounds,
}

/// Most threads remembered; a power of two.
const THREADS: usize = 4096;

/// Numbers of threads.
pub struct Threads {
    entries: NonNull<[ThreadEntry; THREADS]>,
    /// Entries in use.
    used: usize,
    /// Numbers given.
    n: u32,
}

impl Threads {
    /// No thread so far. `None` when memory is out.
    pub fn new() -> Option<Self> {
        let page = os::page_size();
        let len = size_of::<[ThreadEntry; THREADS]>().next_multiple_of(page);
        Some(Self {
            entries: os::map(len, page)?.cast(),
            used: 0,
            n: 0,
        })
    }

    /// The calling thread's entry.
    pub fn current(&mut self) -> &mut ThreadEntry {
        let key = os::thread_id();
        if self.used * 4 >= THREADS * 3 {
            // Most of them have ended; those that have not get new numbers.
            // SAFETY: mapped for this; zero is no entry.
            unsafe { self.entries.as_ptr().write_bytes(0, 1) };
            self.used = 0;
        }
        // SAFETY: mapped for this, zero at first, and used by this call only.
        let entries = unsafe { self.entries.as_mut() };
        let mut at = (key >> 6 ^ key >> 12) % THREADS;
        while entries[at].key != 0 && entries[at].key != key {
            at = (at + 1) % THREADS;
        }
        let entry = &mut entries[at];
        if entry.key == 0 {
            *entry = ThreadEntry {
                key,
                number: self.n,
                bounds: Bounds::default(),
            };
            self.n += 1;
            self.used += 1;
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_keep_their_numbers_when_the_table_grows() {
        let mut stacks = Stacks::new().expect("memory");
        let frames = |n: usize| [n, n * 7, 0x40_0000 + n];
        for n in 1..20_000 {
            assert_eq!(stacks.number(&frames(n)), (n as u32, true));
        }
        for n in 1..20_000 {
            assert_eq!(stacks.number(&frames(n)), (n as u32, false));
        }
        assert_ne!(stacks.number(&[1]).0, stacks.number(&[1, 0]).0);
    }

    #[test]
    fn threads_are_numbered_as_they_come() {
        let mut threads = Threads::new().expect("memory");
        assert_eq!(threads.current().number, 0);
        std::thread::scope(|scope| {
            let threads = &mut threads;
            // SAFETY: a thread that is waited for while nobody else uses the table.
            struct Moved<'a>(&'a mut Threads);
            unsafe impl Send for Moved<'_> {}
            let moved = Moved(threads);
            let number = scope.spawn(move || {
                let moved = moved;
                moved.0.current().number
            });
            assert_eq!(number.join().expect("no panic"), 1);
        });
        assert_eq!(threads.current().number, 0);
    }
}
