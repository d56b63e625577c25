//! Exact counts of what a piece of code allocates: for tests and budgets of single functions.

use super::kept::Kept;
use crate::global::slot::Keeper;
use crate::global::watch::{self, Event};
use crate::{global::slow, os};
use std::collections::HashMap;
use std::ptr::NonNull;

/// Blocks and their bytes as asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.blocks += 1;
        self.bytes += bytes;
    }
}

/// What happened in a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Blocks made. A resize adds the bytes that the block gained.
    pub allocated: Sum,
    /// Blocks given back, those from before the region included. A resize adds the bytes that the block lost.
    pub freed: Sum,
    /// Resizes.
    pub resizes: u64,
    /// Blocks made in the region that live now, whoever frees them.
    pub live: Sum,
    /// The most bytes that `live` had.
    pub peak_bytes: u64,
}

/// Counts what the calling thread allocates, or the whole process, from its making on.
///
/// The counts are exact, down to the byte, and a thread's are its own: tests that run side by side do not
/// disturb each other. While a region exists, every allocation of the process takes the slow path. Needs
/// [`PyMalloc`](crate::PyMalloc) as the global allocator.
///
/// ```
/// # #[global_allocator]
/// # static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;
/// use pymalloc::observe::Region;
///
/// let region = Region::new();
/// let numbers = vec![0u8; 100];
/// assert_eq!(region.counts().allocated.bytes, 100);
/// drop(numbers);
/// assert_eq!(region.counts().live.blocks, 0);
/// assert_eq!(region.counts().peak_bytes, 100);
/// ```
#[derive(Debug)]
pub struct Region {
    number: u64,
}

/// A region that exists.
struct Open {
    number: u64,
    /// The thread it counts; `None` for all.
    thread: Option<usize>,
    counts: Counts,
    /// Sizes of the blocks made in it that live.
    blocks: HashMap<usize, u64>,
    budget: Option<Budget>,
}

/// What is called when the live bytes of a region come to exceed a number.
#[derive(Clone, Copy)]
struct Budget {
    bytes: u64,
    call: fn(&Counts),
    /// They do, and it was called.
    is_exceeded: bool,
}

/// All regions that exist.
#[derive(Default)]
struct Regions {
    open: Vec<Open>,
    /// Regions ever made.
    made: u64,
}

fn regions() -> &'static Kept<Regions> {
    Kept::of(Keeper::Regions)
}

impl Default for Region {
    fn default() -> Self {
        Self::new()
    }
}

impl Region {
    /// Counts the calling thread.
    pub fn new() -> Self {
        Self::of(Some(os::thread_id()))
    }

    /// Counts the whole process. Threads that run already are seen once the blocks in their lists are used up.
    pub fn of_process() -> Self {
        Self::of(None)
    }

    fn of(thread: Option<usize>) -> Self {
        let number = regions().with(|regions| {
            regions.made += 1;
            let number = regions.made;
            regions.open.push(Open {
                number,
                thread,
                counts: Counts::default(),
                blocks: HashMap::new(),
                budget: None,
            });
            // There are places for all observers of this crate.
            let is_observed = regions.open.len() > 1 || watch::observe(observe);
            debug_assert!(is_observed);
            number
        });
        Self { number }
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        regions().with(|regions| {
            let mut open = regions.open.iter();
            let own = open.find(|open| open.number == self.number);
            own.map_or(Counts::default(), |open| open.counts)
        })
    }

    /// Calls `call` each time the live bytes come to exceed `bytes`, on the thread whose call did it, before it has its
    /// block. What `call` allocates is not counted. A region has one budget; a later one takes its place.
    ///
    /// ```
    /// # #[global_allocator]
    /// # static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;
    /// use pymalloc::observe::Region;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// static EXCEEDED_WITH: AtomicU64 = AtomicU64::new(0);
    /// let region = Region::of_process();
    /// region.set_budget(1 << 20, |counts| EXCEEDED_WITH.store(counts.live.bytes, Ordering::Relaxed));
    /// let large = vec![0u8; 2 << 20];
    /// assert!(EXCEEDED_WITH.load(Ordering::Relaxed) >= 2 << 20);
    /// # drop(large);
    /// ```
    pub fn set_budget(&self, bytes: u64, call: fn(&Counts)) {
        regions().with(|regions| {
            let mut open = regions.open.iter_mut();
            if let Some(own) = open.find(|open| open.number == self.number) {
                own.budget = Some(Budget {
                    bytes,
                    call,
                    is_exceeded: own.counts.live.bytes > bytes,
                });
            }
        });
    }

    /// Begins anew: nothing happened so far.
    pub fn reset(&self) {
        regions().with(|regions| {
            let mut open = regions.open.iter_mut();
            if let Some(own) = open.find(|open| open.number == self.number) {
                own.counts = Counts::default();
                own.blocks.clear();
            }
        });
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let own = regions().with(|regions| {
            let mut open = regions.open.iter();
            let place = open.position(|open| open.number == self.number);
            let own = place.map(|place| regions.open.swap_remove(place));
            // Under the lock: a region that is made meanwhile begins to observe after this.
            if regions.open.is_empty() {
                watch::forget(observe);
            }
            own
        });
        // Outside the lock, as any memory of the program's.
        drop(own);
    }
}

/// Called for every event, by the thread that caused it.
fn observe(event: &Event) {
    let kept = regions();
    if kept.is_mine() {
        return;
    }
    let thread = os::thread_id();
    // Called outside the lock: it may ask a region for its counts.
    let mut due: [Option<Due>; MOST_DUE] = [None; MOST_DUE];
    kept.with(|regions| {
        let mut places = due.iter_mut();
        for open in &mut regions.open {
            let counts_it = open.thread.is_none_or(|own| own == thread);
            open.note(event, counts_it);
            if let Some(call) = open.newly_exceeded()
                && let Some(place) = places.next()
            {
                *place = Some((call, open.counts));
            }
        }
    });
    for (call, counts) in due.iter().flatten() {
        call(counts);
    }
}

/// What to call, and with what.
type Due = (fn(&Counts), Counts);

/// Most budgets that one event is told to.
const MOST_DUE: usize = 8;

/// Bytes that the block at `address` holds, when nobody said what was asked for.
fn held(address: usize) -> u64 {
    let p = NonNull::new(std::ptr::without_provenance_mut(address));
    p.and_then(slow::usable_unknown).unwrap_or(0) as u64
}

impl Open {
    /// Notes an event; one of another thread only as far as it ends a block of this region.
    fn note(&mut self, event: &Event, counts_it: bool) {
        match *event {
            Event::Allocated { address, size, .. } if counts_it => {
                self.counts.allocated.add(size as u64);
                self.begin(address, size as u64);
            }
            Event::Freeing { address, size, .. } => {
                let own = self.end(address);
                if counts_it {
                    let said = size.map(|size| size as u64);
                    let bytes = own.or(said).unwrap_or_else(|| held(address));
                    self.counts.freed.add(bytes);
                }
            }
            Event::Resized { old, new, size, .. } => {
                let (own, size) = (self.end(old), size as u64);
                if counts_it {
                    self.counts.resizes += 1;
                    let before = own.unwrap_or_else(|| held(old));
                    self.counts.allocated.bytes += size.saturating_sub(before);
                    self.counts.freed.bytes += before.saturating_sub(size);
                }
                if own.is_some() {
                    self.begin(new, size);
                }
            }
            Event::Allocated { .. } => {}
        }
    }

    /// What to call, if the budget is exceeded since this event.
    fn newly_exceeded(&mut self) -> Option<fn(&Counts)> {
        let budget = self.budget.as_mut()?;
        let exceeds = self.counts.live.bytes > budget.bytes;
        let before = std::mem::replace(&mut budget.is_exceeded, exceeds);
        (exceeds && !before).then_some(budget.call)
    }

    fn begin(&mut self, address: usize, size: u64) {
        self.blocks.insert(address, size);
        self.counts.live.add(size);
        let most = self.counts.peak_bytes.max(self.counts.live.bytes);
        self.counts.peak_bytes = most;
    }

    /// The size of a block of this region, which lives no more.
    fn end(&mut self, address: usize) -> Option<u64> {
        let size = self.blocks.remove(&address)?;
        self.counts.live.blocks -= 1;
        self.counts.live.bytes -= size;
        Some(size)
    }
}
