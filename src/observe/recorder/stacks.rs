//! Stacks and threads by number: tables that only grow, in mappings of their own.
//!
//! Stacks are paths in a tree. Two tables of the same kind find them: one by all frames of a stack, asked for
//! every event, and one by a node and a frame below it, asked only when the first knows nothing.

use super::super::recording::format::MOST_FRAMES;
use super::super::unwind::{Bounds, Trail};
use crate::os;
use core::ptr::NonNull;

/// A number and what it belongs to.
#[derive(Clone, Copy)]
struct Entry {
    /// A hash of that; 0 for no entry.
    hash: u64,
    number: u32,
}

/// Most entries of [`Numbers::recent`]; a power of two. They fit into a processor's cache, where a large table does not.
const RECENT: usize = 8192;

/// Entries of each table at first, a page of them; a power of two. A log of samples has few, and each page costs a fault.
const AT_FIRST: usize = 256;

/// Numbers by a hash of 64 bits: two different things of one hash are not to be expected before there are
/// billions.
struct Numbers {
    entries: NonNull<Entry>,
    /// Entries asked for lately, by the highest bits of their hashes.
    recent: NonNull<[Entry; RECENT]>,
    /// Those in use, a power of two, and how often an entry was not there since there are so many.
    n_recent: usize,
    n_missed: usize,
    /// Entries there is room for, a power of two.
    room: usize,
    used: usize,
}

impl Numbers {
    fn with_room(room: usize) -> Option<Self> {
        let page = os::page_size();
        let len = (room * size_of::<Entry>()).next_multiple_of(page);
        Some(Self {
            entries: os::map(len, page)?.cast(),
            recent: os::map(size_of::<[Entry; RECENT]>().next_multiple_of(page), page)?.cast(),
            n_recent: AT_FIRST,
            n_missed: 0,
            room,
            used: 0,
        })
    }

    fn entries(&mut self) -> &mut [Entry] {
        // SAFETY: mapped for `room` entries, zero at first, which is no entry.
        unsafe { core::slice::from_raw_parts_mut(self.entries.as_ptr(), self.room) }
    }

    /// The number at `hash`, or `new`, which is then remembered. `None` when memory is out.
    #[inline]
    fn get_or(&mut self, hash: u64, new: impl FnOnce() -> u32) -> Option<u32> {
        // SAFETY: mapped for this, zero at first, which is no entry, and used by this call only.
        let recent = unsafe { self.recent.as_mut() };
        let place = (hash >> 32) as usize & (self.n_recent - 1);
        let recent = &mut recent[place % RECENT];
        if recent.hash == hash {
            return Some(recent.number);
        }
        let number = self.find_or(hash, new)?;
        *recent = Entry { hash, number };
        Some(number)
    }

    /// Lets more entries be recent ones, if those were asked for often that were not.
    fn note_missed(&mut self) {
        self.n_missed += 1;
        if self.n_missed > self.n_recent && self.n_recent < RECENT {
            // What stands in a place where it is not looked for any more is asked for once again.
            (self.n_recent, self.n_missed) = (2 * self.n_recent, 0);
        }
    }

    /// As [`Self::get_or`], in the whole table.
    #[inline(never)]
    fn find_or(&mut self, hash: u64, new: impl FnOnce() -> u32) -> Option<u32> {
        self.note_missed();
        // One place stays free, so that every search ends.
        if self.used * 2 >= self.room
            && os::keep_errno(|| self.grow()).is_none()
            && self.used + 1 >= self.room
        {
            return None;
        }
        let entry = place(self.entries(), hash);
        if entry.hash == 0 {
            let number = new();
            *entry = Entry { hash, number };
            self.used += 1;
            return Some(number);
        }
        Some(entry.number)
    }

    fn grow(&mut self) -> Option<()> {
        let page = os::page_size();
        let len = |room: usize| (room * size_of::<Entry>()).next_multiple_of(page);
        let room = 2 * self.room;
        let mut wider = os::map(len(room), page)?.cast::<Entry>();
        // SAFETY: mapped just now for `room` entries, zero at first, which is no entry.
        let entries = unsafe { core::slice::from_raw_parts_mut(wider.as_mut(), room) };
        for entry in self.entries() {
            if entry.hash != 0 {
                *place(entries, entry.hash) = *entry;
            }
        }
        // SAFETY: mapped for `self.room` entries, and copied.
        unsafe { os::unmap(self.entries.cast(), len(self.room)) };
        (self.entries, self.room) = (wider, room);
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

fn mix(sum: u64, value: u64) -> u64 {
    let mixed = (sum ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

/// The stacks met so far.
pub struct Stacks {
    whole: Numbers,
    below: Numbers,
    /// Nodes so far.
    n: u32,
}

/// The part of a stack that is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The node of its innermost frame.
    pub number: u32,
    /// The last node on its way that was there.
    pub parent: u32,
    /// Frames inside of it, which are new.
    pub new: usize,
}

impl Stacks {
    /// No stack so far. `None` when memory is out.
    pub fn new() -> Option<Self> {
        Some(Self {
            whole: Numbers::with_room(AT_FIRST)?,
            below: Numbers::with_room(AT_FIRST)?,
            n: 0,
        })
    }

    /// The stack with these frames, innermost first. `None` when memory is out.
    pub fn find(&mut self, frames: &[usize]) -> Option<Found> {
        let fold = |sum, frame: &usize| mix(sum, *frame as u64);
        let hash = frames.iter().fold(frames.len() as u64, fold) | 1;
        let mut found = Found {
            number: 0,
            parent: 0,
            new: 0,
        };
        let (below, n) = (&mut self.below, &mut self.n);
        let number = self
            .whole
            .get_or(hash, || add(below, n, frames, &mut found).unwrap_or(0))?;
        Some(Found { number, ..found })
    }

    /// The node of `frame` below `parent`, and whether it is new. `None` when memory is out.
    #[inline]
    pub fn child(&mut self, parent: u32, frame: usize) -> Option<(u32, bool)> {
        child(&mut self.below, &mut self.n, parent, frame)
    }

    /// The stack of a walk. `None` when memory is out or there is no frame.
    #[inline]
    pub fn number(&mut self, trail: &mut Trail) -> Option<Found> {
        let mut found = Found {
            number: 0,
            parent: 0,
            new: 0,
        };
        if trail.is_whole() {
            found.number = trail.node(|parent, steps, at| {
                let node = child(&mut self.below, &mut self.n, parent, steps[at].program);
                let (node, is_new) = node.unwrap_or((0, false));
                if is_new && found.new == 0 {
                    (found.new, found.parent) = (steps.len() - at, parent);
                }
                node
            });
        } else {
            let mut frames = [0; MOST_FRAMES];
            let n = copy(trail, &mut frames);
            found = self.find(&frames[..n])?;
        }
        trail.number = found.number as usize;
        (found.number != 0).then_some(found)
    }
}

/// The frames of a trail, innermost first, as many as there is room for; their number.
pub fn copy(trail: &Trail, frames: &mut [usize; MOST_FRAMES]) -> usize {
    let steps = trail.steps();
    for (frame, step) in frames.iter_mut().zip(steps.iter().rev()) {
        *frame = step.program;
    }
    steps.len().min(MOST_FRAMES)
}

#[inline]
fn child(below: &mut Numbers, n: &mut u32, parent: u32, frame: usize) -> Option<(u32, bool)> {
    let hash = mix(mix(1, u64::from(parent)), frame as u64) | 1;
    let before = *n;
    let node = below.get_or(hash, || {
        *n += 1;
        *n
    })?;
    Some((node, *n > before))
}

/// Goes down the tree, from the outermost frame on; the last node.
fn add(below: &mut Numbers, n: &mut u32, frames: &[usize], found: &mut Found) -> Option<u32> {
    let mut node = 0;
    for (place, frame) in frames.iter().enumerate().rev() {
        let (next, is_new) = child(below, n, node, *frame)?;
        // Below a new node there are only new ones.
        if is_new && found.new == 0 {
            found.new = place + 1;
            found.parent = node;
        }
        node = next;
    }
    Some(node)
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
    /// What its last walk found.
    trail: Option<NonNull<Trail>>,
}

impl ThreadEntry {
    /// Its bounds and its trail, which is made if there is none. `None` when memory is out.
    #[inline]
    pub fn walk(&mut self) -> Option<(&mut Bounds, &mut Trail)> {
        if self.trail.is_none() {
            self.trail = Trail::new();
        }
        // SAFETY: mapped until the entry goes, and reached by it alone.
        let trail = unsafe { self.trail?.as_mut() };
        Some((&mut self.bounds, trail))
    }

    fn forget(&mut self) {
        if let Some(trail) = self.trail.take() {
            // SAFETY: made by `walk`, and nobody has it.
            unsafe { Trail::drop(trail) };
        }
        self.key = 0;
    }
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
    /// Place of the entry asked for last.
    last: usize,
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
            last: 0,
        })
    }

    /// The calling thread's entry.
    #[inline]
    pub fn current(&mut self) -> &mut ThreadEntry {
        let key = os::thread_id();
        // SAFETY: mapped for this, zero at first, and used by this call only.
        let entries = unsafe { self.entries.as_mut() };
        let at = self.last % THREADS;
        if entries[at].key == key {
            return &mut entries[at];
        }
        self.find(key)
    }

    /// Forgets all threads; those that come again get new numbers.
    pub fn forget(&mut self) {
        // SAFETY: as in `current`.
        let entries = unsafe { self.entries.as_mut() };
        let used = entries.iter_mut().filter(|entry| entry.key != 0);
        used.for_each(ThreadEntry::forget);
        self.used = 0;
    }

    #[inline(never)]
    fn find(&mut self, key: usize) -> &mut ThreadEntry {
        if self.used * 4 >= THREADS * 3 {
            // Most of them have ended.
            self.forget();
        }
        // SAFETY: as in `current`.
        let entries = unsafe { self.entries.as_mut() };
        let mut at = (key >> 6 ^ key >> 12) % THREADS;
        while entries[at].key != 0 && entries[at].key != key {
            at = (at + 1) % THREADS;
        }
        self.last = at;
        let entry = &mut entries[at];
        if entry.key == 0 {
            *entry = ThreadEntry {
                key,
                number: self.n,
                bounds: Bounds::default(),
                trail: None,
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
    fn stacks_keep_their_numbers_when_the_tables_grow() {
        let mut stacks = Stacks::new().expect("memory");
        let frames = |n: usize| [n, 0x50_0000 + n / 2, 0x40_0000];
        let first: Vec<_> = (1..20_000).map(|n| stacks.find(&frames(n))).collect();
        for (n, first) in (1..20_000).zip(first) {
            let (again, first) = (stacks.find(&frames(n)), first.expect("memory"));
            assert_eq!(
                again.map(|found| (found.number, found.new)),
                Some((first.number, 0))
            );
        }
    }

    #[test]
    fn what_is_new_hangs_from_what_was_there() {
        let mut stacks = Stacks::new().expect("memory");
        let mut find = |frames: &[usize]| {
            let found = stacks.find(frames).expect("memory");
            (found.number, found.parent, found.new)
        };
        assert_eq!(find(&[3, 2, 1]), (3, 0, 3));
        assert_eq!(find(&[5, 4, 2, 1]), (5, 2, 2));
        assert_eq!(find(&[2, 1]), (2, 0, 0), "a part of a known one");
        assert_eq!(find(&[3, 2, 1]), (3, 0, 0));
        assert_eq!(find(&[9]), (6, 0, 1));
    }

    #[test]
    fn threads_are_numbered_as_they_come() {
        let mut threads = Threads::new().expect("memory");
        assert_eq!(threads.current().number, 0);
        std::thread::scope(|scope| {
            let threads = &mut threads;
            struct Moved<'a>(&'a mut Threads);
            // SAFETY: the thread is waited for while nobody else uses the table.
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
