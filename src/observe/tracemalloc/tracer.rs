//! The observer behind the module's functions, and its tables.
//!
//! | state | entered | left |
//! |---|---|---|
//! | off | at first; `stop` | `start` |
//! | tracing | `start` | `stop` |
//!
//! * **I1** `current` is the sum of the sizes of all traces; `peak` is the most it was since the last reset.
//! * **I2** The tables are whole under the lock, also in a child after fork (see [`Kept`]).
//! * **I3** A thread that holds the lock is not traced: neither what the tables need nor a signal handler's calls.

use super::super::heap_profile::lines;
use super::super::kept::Kept;
use super::super::recorder::stacks::Threads;
use super::super::recording::weight;
use super::super::unwind::{MOST_STEPS, Unwinder};
use crate::global::slot::Keeper;
use crate::global::watch::{self, Event};
use crate::os;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Frames kept beyond the limit: those of the allocator and of a language's machinery, which are taken away when the
/// frames get their names.
pub(super) const SPARE: usize = 24;

/// A block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub size: u64,
    /// Blocks it stands for: 1, unless only some are seen.
    pub count: u64,
    /// Index into [`State::stacks`].
    pub stack: usize,
}

/// A stack by its return addresses, innermost first.
#[derive(Clone, Debug)]
pub(super) struct Stack {
    pub frames: Box<[usize]>,
    /// Frames there were.
    pub total: usize,
}

/// Blocks by address.
pub(super) type Blocks = HashMap<usize, Record, BuildHasherDefault<Mixer>>;

/// Mixes one word: addresses and hashes are nobody's to choose.
#[derive(Default)]
pub(super) struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_u64(&mut self, word: u64) {
        // Tables look at the lowest bits and at the highest.
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }
}

/// A code address in the numbering of its file.
pub(super) type InFile = (Vec<u8>, u64);

/// All that is known.
pub(super) struct State {
    pub is_tracing: bool,
    /// Bytes between two blocks that are seen, on average; 0 if all are.
    pub sample_bytes: u64,
    /// Sampled blocks seen so far.
    seen: u64,
    pub limit: usize,
    /// When tracing began, by the calendar and by the clock of [`os::now_ms`].
    pub start_unix_ms: u64,
    pub start_ms: u64,
    pub current: u64,
    pub peak: u64,
    /// By domain and address.
    pub traces: HashMap<u32, Blocks>,
    pub stacks: Vec<Stack>,
    /// Indices into `stacks` by a hash of their frames: two different stacks of one hash are not to be expected
    /// before there are billions.
    numbers: HashMap<u64, usize, BuildHasherDefault<Mixer>>,
    pub walker: Option<(Unwinder, Threads)>,
}

fn tracer() -> &'static Kept<State> {
    Kept::of(Keeper::Tracer)
}

/// Runs `f` on the state under the lock.
pub(super) fn with_state<R>(f: impl FnOnce(&mut State) -> R) -> R {
    tracer().with(f)
}

/// Runs `f` on the state under the lock, if there is one; makes none, and allocates nothing itself.
pub(super) fn with_existing<R>(f: impl FnOnce(&mut State) -> R) -> Option<R> {
    Kept::existing(Keeper::Tracer).map(|kept| kept.with(f))
}

/// Called for every event, by the thread that caused it.
pub(super) fn observe(event: &Event) {
    // I3; and who finds lines for a served profile is no part of it.
    if tracer().is_mine() || lines::is_here() {
        return;
    }
    os::keep_errno(|| {
        with_state(|state| {
            if !state.is_tracing {
                return;
            }
            match *event {
                Event::Allocated {
                    address,
                    size,
                    align,
                    ..
                } => state.see(address, size, align),
                Event::Freeing { address, .. } => state.remove(0, address),
                Event::Resized { old, new, size, .. } => {
                    state.remove(0, old);
                    state.see(new, size, 1);
                }
            }
        })
    });
}

/// Begins to trace, unless it goes on already.
pub(super) fn start(limit: usize, sample_bytes: u64) -> bool {
    let begins = with_state(|state| {
        if state.is_tracing {
            return false;
        }
        state.is_tracing = true;
        state.limit = limit;
        state.sample_bytes = sample_bytes;
        (state.start_unix_ms, state.start_ms) = (os::unix_ms(), os::now_ms());
        true
    });
    let observes = || match sample_bytes {
        0 => watch::observe(observe),
        bytes => watch::observe_samples(observe, bytes as usize),
    };
    if begins && !observes() {
        with_state(State::forget_all);
        return false;
    }
    true
}

/// Stops tracing and forgets everything but the limit.
pub(super) fn stop() {
    watch::forget(observe);
    with_state(State::forget_all);
}

impl Default for State {
    fn default() -> Self {
        Self {
            is_tracing: false,
            sample_bytes: 0,
            seen: 0,
            limit: 1,
            start_unix_ms: 0,
            start_ms: 0,
            current: 0,
            peak: 0,
            traces: HashMap::new(),
            stacks: Vec::new(),
            numbers: HashMap::default(),
            walker: None,
        }
    }
}

// SAFETY: the walker's tables are mappings of its own, which belong to no thread.
unsafe impl Send for State {}

impl State {
    fn forget_all(&mut self) {
        // What the walker maps is mapped once; its trails know numbers of stacks that go.
        let mut walker = self.walker.take();
        if let Some((_, threads)) = &mut walker {
            threads.forget();
        }
        *self = Self {
            limit: self.limit,
            walker,
            ..Self::default()
        };
    }

    /// Forgets the blocks.
    pub fn clear(&mut self) {
        self.traces.clear();
        (self.current, self.peak) = (0, 0);
    }

    /// Notes a block of this allocator, with what it stands for.
    fn see(&mut self, address: usize, size: usize, align: usize) {
        let charged = watch::charged(size, align) as u64;
        let weight = weight::weight(charged, self.sample_bytes);
        let (count, size) = weight::stands_for(weight, size as u64, self.seen);
        self.seen += 1;
        self.add(0, address, size, count);
    }

    /// Notes a block, in the place of one that was at its address. The stack is the caller's.
    pub fn add(&mut self, domain: u32, address: usize, size: u64, count: u64) {
        let stack = self.stack();
        let record = Record { size, count, stack };
        let blocks = self.traces.entry(domain).or_default();
        if let Some(old) = blocks.insert(address, record) {
            self.current -= old.size;
        }
        self.current += size;
        self.peak = self.peak.max(self.current);
    }

    /// Forgets a block; one that is not known is nothing.
    pub fn remove(&mut self, domain: u32, address: usize) {
        let blocks = self.traces.get_mut(&domain);
        if let Some(old) = blocks.and_then(|blocks| blocks.remove(&address)) {
            self.current -= old.size;
        }
    }

    /// The number of the calling thread's stack.
    fn stack(&mut self) -> usize {
        if self.walker.is_none() {
            self.walker = Unwinder::new().zip(Threads::new());
        }
        let here = os::registers();
        let walker = self.walker.as_mut();
        let walked = walker.and_then(|(unwinder, threads)| {
            let (bounds, trail) = threads.current().walk()?;
            unwinder.climb(here, &(0..0), bounds, trail, MOST_STEPS);
            Some(trail)
        });
        // A number counts from 1.
        if let Some(number) = walked
            .as_ref()
            .and_then(|trail| trail.number.checked_sub(1))
        {
            return number;
        }
        let steps = walked.as_ref().map_or(&[][..], |trail| trail.steps());
        let total = steps.len();
        let kept = steps.iter().rev().take(self.limit + SPARE);
        let kept = kept.map(|step| step.program);
        let hash = kept.clone().fold(total as u64, |sum, frame| {
            let mixed = (sum ^ frame as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^ mixed >> 29
        });
        let (stacks, numbers) = (&mut self.stacks, &mut self.numbers);
        let number = *numbers.entry(hash).or_insert_with(|| {
            stacks.push(Stack {
                frames: kept.collect(),
                total,
            });
            stacks.len() - 1
        });
        if let Some(trail) = walked {
            trail.number = number + 1;
        }
        number
    }

    /// Where in which file each call of a stack is, innermost first.
    pub fn calls(&mut self, stack: &Stack) -> Vec<InFile> {
        let Some((unwinder, _)) = &mut self.walker else {
            return Vec::new();
        };
        let calls = stack.frames.iter().map(|frame| {
            // The call is before the address it returns to.
            let (path, address) = unwinder.in_file(frame - 1);
            (path.to_vec(), address)
        });
        calls.collect()
    }

    /// Bytes of the tables, not of the stacks.
    pub fn own_bytes(&self) -> usize {
        let blocks = self.traces.values().map(Blocks::capacity).sum::<usize>();
        let block = size_of::<(usize, Record)>() + 1;
        let stack = size_of::<(u64, usize)>() + 1;
        blocks * block + self.numbers.capacity() * stack
    }
}
