//! Exact counts of what a piece of code allocates: for tests and budgets of single functions.

use super::kept::Kept;
use crate::global::slot::Keeper;
use crate::global::watch::{self, Event, Request};
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

/// Whose allocations a region counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Thread(usize),
    Process,
    /// Of threads that entered it last.
    Tag,
}

/// A region that exists.
struct Open {
    number: u64,
    scope: Scope,
    counts: Counts,
    /// What each thread did in it; only of a region of the whole process or a tag.
    by_thread: HashMap<usize, Counts>,
    /// The most bytes that may live.
    limit: Option<u64>,
    /// Bytes that were permitted and are not counted yet.
    promised: u64,
    /// The blocks made in it that live.
    blocks: HashMap<usize, Block>,
    budget: Option<Budget>,
}

/// A block that lives.
#[derive(Clone, Copy)]
struct Block {
    size: u64,
    /// Who made it.
    thread: usize,
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
    /// Tags that threads are in, by thread and the tag's number, in the order they were entered.
    entered: Vec<(usize, u64)>,
    /// Regions ever made.
    made: u64,
}

impl Regions {
    /// The tag that a thread entered last.
    fn tag_of(&self, thread: usize) -> Option<u64> {
        let mut entered = self.entered.iter().rev();
        let own = entered.find(|(own, _)| *own == thread);
        own.map(|(_, tag)| *tag)
    }

    fn of_number(&mut self, number: u64) -> Option<&mut Open> {
        self.open.iter_mut().find(|open| open.number == number)
    }
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
        Self::of(Scope::Thread(os::thread_id()))
    }

    /// Counts the whole process. Threads that run already are seen once the blocks in their lists are used up.
    pub fn of_process() -> Self {
        Self::of(Scope::Process)
    }

    pub(super) fn of(scope: Scope) -> Self {
        let number = regions().with(|regions| {
            regions.made += 1;
            let number = regions.made;
            regions.open.push(Open {
                number,
                scope,
                counts: Counts::default(),
                by_thread: HashMap::new(),
                limit: None,
                promised: 0,
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

    /// The calling thread enters it, as a tag.
    pub(super) fn enter(&self) {
        let entry = (os::thread_id(), self.number);
        regions().with(|regions| regions.entered.push(entry));
    }

    /// The calling thread leaves it, as often as it entered.
    pub(super) fn leave(&self) {
        let entry = (os::thread_id(), self.number);
        regions().with(|regions| {
            let entered = &mut regions.entered;
            if let Some(place) = entered.iter().rposition(|own| *own == entry) {
                entered.remove(place);
            }
        });
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        regions().with(|regions| {
            let own = regions.of_number(self.number);
            own.map_or(Counts::default(), |open| open.counts)
        })
    }

    /// What each thread did, of a region of the whole process or a [`Tag`](super::Tag), in no order. The live bytes are those of
    /// blocks that the thread made and that it or another has not freed.
    pub fn threads(&self) -> Vec<Counts> {
        // Cloned under the lock, where nothing is observed.
        regions().with(|regions| {
            let own = regions.of_number(self.number);
            own.map_or(Vec::new(), |open| {
                open.by_thread.values().copied().collect()
            })
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
            if let Some(own) = regions.of_number(self.number) {
                own.budget = Some(Budget {
                    bytes,
                    call,
                    is_exceeded: own.counts.live.bytes > bytes,
                });
            }
        });
    }

    /// Refuses what would make the live bytes exceed `bytes`: such a request finds no memory, which is null with
    /// `ENOMEM` for C and an allocation failure for Rust, and leaves every block as it was. `None` refuses nothing.
    ///
    /// ```
    /// # #[global_allocator]
    /// # static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;
    /// use pymalloc::observe::Region;
    ///
    /// let region = Region::new();
    /// region.set_limit(Some(1 << 20));
    /// let mut data: Vec<u8> = Vec::new();
    /// assert!(data.try_reserve_exact(1 << 19).is_ok());
    /// assert!(data.try_reserve_exact(2 << 20).is_err());
    /// assert_eq!(region.counts().live.bytes, 1 << 19);
    /// ```
    pub fn set_limit(&self, bytes: Option<u64>) {
        regions().with(|regions| {
            if let Some(own) = regions.of_number(self.number) {
                own.limit = bytes;
            }
        });
        watch::set_judge(judge);
    }

    /// Begins anew: nothing happened so far.
    pub fn reset(&self) {
        regions().with(|regions| {
            if let Some(own) = regions.of_number(self.number) {
                own.counts = Counts::default();
                own.by_thread.clear();
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
    if !regions().is_mine() {
        os::keep_errno(|| note_event(event));
    }
}

fn note_event(event: &Event) {
    let kept = regions();
    let thread = os::thread_id();
    // Called outside the lock: it may ask a region for its counts.
    let mut due: [Option<Due>; MOST_DUE] = [None; MOST_DUE];
    kept.with(|regions| {
        let mut places = due.iter_mut();
        let tag = regions.tag_of(thread);
        for open in &mut regions.open {
            let counts_it = open.covers(thread, tag);
            open.note(event, counts_it, thread);
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

/// Says whether all regions that would count a request have room for it, and promises it to them; or takes the
/// promise back.
fn judge(request: &Request, asks: bool) -> bool {
    let kept = regions();
    if kept.is_mine() {
        return true;
    }
    let thread = os::thread_id();
    kept.with(|regions| {
        let tag = regions.tag_of(thread);
        let more = |open: &Open| open.more(request, open.covers(thread, tag));
        let has_room = |open: &Open| {
            let limit = open.limit.unwrap_or(u64::MAX);
            let more = more(open);
            more == 0 || open.counts.live.bytes + open.promised + more <= limit
        };
        if asks && !regions.open.iter().all(has_room) {
            return false;
        }
        for open in &mut regions.open {
            let more = more(open);
            match asks {
                true => open.promised += more,
                false => open.promised = open.promised.saturating_sub(more),
            }
        }
        true
    })
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
    /// Whether it counts what a thread does that entered `tag` last.
    fn covers(&self, thread: usize, tag: Option<u64>) -> bool {
        match self.scope {
            Scope::Thread(own) => own == thread,
            Scope::Process => true,
            Scope::Tag => tag == Some(self.number),
        }
    }

    /// Live bytes that a request would add.
    fn more(&self, request: &Request, counts_it: bool) -> u64 {
        match *request {
            _ if self.limit.is_none() => 0,
            Request::New { size } if counts_it => size as u64,
            Request::New { .. } => 0,
            Request::Resized { old, size } => {
                let block = self.blocks.get(&old);
                block.map_or(0, |block| (size as u64).saturating_sub(block.size))
            }
        }
    }

    /// What was promised for an event is counted by it now.
    fn keep_promise(&mut self, event: &Event, counts_it: bool) {
        let request = match *event {
            Event::Allocated { size, .. } => Request::New { size },
            Event::Resized { old, size, .. } => Request::Resized { old, size },
            Event::Freeing { .. } => return,
        };
        let more = self.more(&request, counts_it);
        self.promised = self.promised.saturating_sub(more);
    }

    /// Notes an event; one of another thread only as far as it ends a block of this region.
    fn note(&mut self, event: &Event, counts_it: bool, thread: usize) {
        self.keep_promise(event, counts_it);
        match *event {
            Event::Allocated { address, size, .. } if counts_it => {
                self.counts.allocated.add(size as u64);
                self.of_thread(thread, |counts| counts.allocated.add(size as u64));
                self.begin(address, size as u64, thread);
            }
            Event::Freeing { address, size, .. } => {
                let own = self.end(address).map(|block| block.size);
                if counts_it {
                    let said = size.map(|size| size as u64);
                    let bytes = own.or(said).unwrap_or_else(|| held(address));
                    self.counts.freed.add(bytes);
                    self.of_thread(thread, |counts| counts.freed.add(bytes));
                }
            }
            Event::Resized { old, new, size, .. } => {
                let (own, size) = (self.end(old), size as u64);
                if counts_it {
                    let before = own.map_or_else(|| held(old), |block| block.size);
                    let add = |counts: &mut Counts| {
                        counts.resizes += 1;
                        counts.allocated.bytes += size.saturating_sub(before);
                        counts.freed.bytes += before.saturating_sub(size);
                    };
                    add(&mut self.counts);
                    self.of_thread(thread, add);
                }
                if let Some(block) = own {
                    self.begin(new, size, block.thread);
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

    /// Changes a thread's counts, where they are kept.
    fn of_thread(&mut self, thread: usize, change: impl FnOnce(&mut Counts)) {
        if !matches!(self.scope, Scope::Thread(_)) {
            change(self.by_thread.entry(thread).or_default());
        }
    }

    fn begin(&mut self, address: usize, size: u64, thread: usize) {
        self.blocks.insert(address, Block { size, thread });
        let add = |counts: &mut Counts| {
            counts.live.add(size);
            counts.peak_bytes = counts.peak_bytes.max(counts.live.bytes);
        };
        add(&mut self.counts);
        self.of_thread(thread, add);
    }

    /// The block of this region, which lives no more.
    fn end(&mut self, address: usize) -> Option<Block> {
        let block = self.blocks.remove(&address)?;
        let take = |counts: &mut Counts| {
            counts.live.blocks -= 1;
            counts.live.bytes -= block.size;
        };
        take(&mut self.counts);
        self.of_thread(block.thread, take);
        Some(block)
    }
}
