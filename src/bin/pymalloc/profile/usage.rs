//! A recording followed from start to end: which blocks live, what each stack asked for.
//!
//! The stacks that hold the memory at its high-water mark are known only when the mark is: the recording is
//! read a second time up to it.

use super::why::ARENA_BYTES;
use crate::progress::Progress;
use crate::recording::decode::{Event, Step};
use crate::recording::format::MarkKind;
use crate::recording::read::{Contents, Follower, ReadError, read};
use crate::recording::weight;
use crate::size_class::SizeClass;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::Path;

/// Blocks and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub blocks: u64,
    /// Bytes asked for.
    pub bytes: u64,
}

impl Sum {
    /// All of another sum.
    pub fn add_all(&mut self, other: Sum) {
        self.blocks += other.blocks;
        self.bytes += other.bytes;
    }

    fn remove_all(&mut self, other: Sum) {
        self.blocks -= other.blocks;
        self.bytes -= other.bytes;
    }
}

/// What to add up per stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Blocks live when most bytes were.
    Peak,
    /// Blocks live at the end.
    Leaks,
    /// All blocks ever.
    Total,
    /// Blocks freed soon after.
    Temporary,
}

impl Measure {
    /// All, in the order they are shown.
    pub const ALL: [Measure; 4] = [
        Measure::Peak,
        Measure::Leaks,
        Measure::Total,
        Measure::Temporary,
    ];

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Peak => "peak",
            Measure::Leaks => "leaks",
            Measure::Total => "total",
            Measure::Temporary => "temporary",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|measure| measure.name() == name)
    }
}

/// What one stack asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct StackUse {
    sums: [Sum; 4],
    live: Sum,
    /// The most bytes of it that lived at once, and the blocks then.
    pub most: Sum,
    /// Milliseconds that its blocks lived, added up.
    pub lifetimes_ms: u64,
}

impl StackUse {
    /// Its sum of that kind.
    pub fn of(&self, measure: Measure) -> Sum {
        self.sums[measure as usize]
    }

    /// All of another stack's. The most at once is then at most this.
    pub fn add_all(&mut self, other: &StackUse) {
        for (sum, other) in self.sums.iter_mut().zip(other.sums) {
            sum.add_all(other);
        }
        self.live.add_all(other.live);
        self.most.add_all(other.most);
        self.lifetimes_ms += other.lifetimes_ms;
    }

    fn at(&mut self, measure: Measure) -> &mut Sum {
        &mut self.sums[measure as usize]
    }

    fn made(&mut self, sum: Sum) {
        self.at(Measure::Total).add_all(sum);
        self.live.add_all(sum);
        if self.live.bytes > self.most.bytes {
            self.most = self.live;
        }
    }
}

/// A block that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Bytes asked for; of a sampled block, what it stands for.
    pub size: u64,
    /// Blocks it stands for: 1, unless it was sampled.
    pub count: u64,
    /// Number of the stack that made it.
    pub stack: u32,
    /// The thread that made it.
    pub thread: u32,
    /// How many blocks that thread had made before.
    nth: u64,
    /// When it was made, in milliseconds since the start.
    pub born_ms: u64,
}

impl Block {
    /// What it adds to sums.
    pub fn sum(&self) -> Sum {
        Sum {
            blocks: self.count,
            bytes: self.size,
        }
    }
}

/// Hashes addresses: one multiplication, as the map's users are many and known.
#[derive(Default)]
pub struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

/// Blocks by address.
pub type Blocks = HashMap<u64, Block, BuildHasherDefault<AddressHasher>>;

/// The process's memory at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the start.
    pub time_ms: u64,
    /// Blocks live then.
    pub live: Sum,
    /// Arenas of 1 MiB that a recorded block began in.
    pub arenas: u64,
}

/// One thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadUse {
    /// Blocks it made.
    pub made: Sum,
    /// Blocks it freed.
    pub freed: u64,
    /// Blocks it freed that another thread had made.
    pub freed_of_others: u64,
}

/// Something the program said.
#[derive(Clone, Copy, Debug)]
pub struct MarkAt {
    /// When, and how much lived.
    pub moment: Moment,
    /// The thread.
    pub thread: u32,
    /// Point, begin or end.
    pub kind: MarkKind,
    /// Index into the tables' marks.
    pub name: u32,
}

/// Sizes are counted by their power of two: 0, 1, 2–3, 4–7 …
pub const SIZE_CLASSES: usize = 65;

/// Follows the events of a recording.
pub struct Usage {
    /// Blocks that live.
    pub blocks: Blocks,
    /// Their sum.
    pub live: Sum,
    /// When most bytes lived.
    pub peak: Moment,
    /// Events up to the peak.
    pub peak_event: u64,
    /// Events so far.
    pub events: u64,
    /// Recorded blocks so far; a resized one is another.
    recorded: u64,
    /// By number; 0 for blocks without a stack.
    pub stacks: Vec<StackUse>,
    /// By number.
    pub threads: Vec<ThreadUse>,
    /// One for each time that the recording names, with the most that lived since the one before.
    pub timeline: Vec<Moment>,
    /// Live blocks by the arena they begin in.
    arenas: HashMap<u64, u64, BuildHasherDefault<AddressHasher>>,
    /// Blocks made, by power of two of their size.
    pub sizes: [Sum; SIZE_CLASSES],
    /// What the program said.
    pub marks: Vec<MarkAt>,
    /// Frees of blocks from before the recording.
    pub unknown_frees: u64,
    /// Resizes.
    pub resizes: u64,
    /// A block freed before so many others of its thread were made is temporary.
    within: u64,
    /// Bytes between two recorded blocks on average; 0 if all were recorded.
    sample_bytes: u64,
}

impl Usage {
    /// At the start of a recording of a block in so many bytes (0: of all). A block is temporary if its thread makes
    /// fewer than `within` others while it lives.
    pub fn new(within: u64, sample_bytes: u64) -> Self {
        Self {
            blocks: Blocks::default(),
            live: Sum::default(),
            peak: Moment::default(),
            peak_event: 0,
            events: 0,
            recorded: 0,
            stacks: vec![StackUse::default()],
            threads: Vec::new(),
            timeline: Vec::new(),
            arenas: HashMap::default(),
            sizes: [Sum::default(); SIZE_CLASSES],
            marks: Vec::new(),
            unknown_frees: 0,
            resizes: 0,
            within,
            sample_bytes,
        }
    }

    /// The next event.
    pub fn step(&mut self, step: &Step) {
        self.events += 1;
        let thread = step.thread as usize;
        if thread >= self.threads.len() {
            self.threads.resize(thread + 1, ThreadUse::default());
        }
        match step.event {
            Event::Alloc {
                address,
                size,
                align,
                stack,
                ..
            } => self.alloc(step, address, (size, align), stack),
            Event::Free { address } => {
                self.free(step, address);
            }
            Event::Resize {
                old,
                new,
                size,
                stack,
            } => {
                self.resizes += 1;
                self.free(step, old);
                self.alloc(step, new, (size, 1), stack);
            }
            Event::Mark { kind, name } => {
                let moment = self.moment(step);
                self.marks.push(MarkAt {
                    moment,
                    thread: step.thread,
                    kind,
                    name,
                });
            }
        }
        self.note_time(step);
    }

    fn moment(&self, step: &Step) -> Moment {
        Moment {
            time_ms: step.time_ms,
            live: self.live,
            arenas: self.arenas.len() as u64,
        }
    }

    /// What a recorded block stands for.
    fn stands_for(&self, size: u64, align: u64) -> Sum {
        if self.sample_bytes == 0 {
            return Sum {
                blocks: 1,
                bytes: size,
            };
        }
        let class = SizeClass::aligned(size as usize, align as usize);
        let charged = class.map_or(size, |class| class.block_bytes() as u64);
        let weight = weight::weight(charged, self.sample_bytes);
        let (blocks, bytes) = weight::stands_for(weight, size, self.recorded);
        Sum { blocks, bytes }
    }

    fn alloc(&mut self, step: &Step, address: u64, (size, align): (u64, u64), stack: u32) {
        self.recorded += 1;
        let sum = self.stands_for(size, align);
        let thread = &mut self.threads[step.thread as usize];
        let block = Block {
            size: sum.bytes,
            count: sum.blocks,
            stack,
            thread: step.thread,
            nth: thread.made.blocks,
            born_ms: step.time_ms,
        };
        thread.made.add_all(sum);
        self.stack(stack).made(sum);
        self.sizes[64 - size.leading_zeros() as usize].add_all(sum);
        self.live.add_all(sum);
        *self.arenas.entry(address / ARENA_BYTES).or_default() += 1;
        if let Some(lost) = self.blocks.insert(address, block) {
            // Its free was not seen: the recorder does not see everything.
            self.died(&lost, address, step);
        }
        if self.live.bytes > self.peak.live.bytes {
            self.peak = self.moment(step);
            self.peak_event = self.events;
        }
    }

    fn free(&mut self, step: &Step, address: u64) {
        let Some(block) = self.blocks.remove(&address) else {
            self.unknown_frees += 1;
            return;
        };
        self.died(&block, address, step);
        let made = self.threads[block.thread as usize].made.blocks;
        // Of a sample, the others that were made meanwhile are not known.
        if self.sample_bytes == 0 && made - block.nth <= self.within {
            self.stack(block.stack)
                .at(Measure::Temporary)
                .add_all(block.sum());
        }
        let freer = &mut self.threads[step.thread as usize];
        freer.freed += block.count;
        if block.thread != step.thread {
            freer.freed_of_others += block.count;
        }
    }

    fn died(&mut self, block: &Block, address: u64, step: &Step) {
        if let Entry::Occupied(mut blocks) = self.arenas.entry(address / ARENA_BYTES) {
            *blocks.get_mut() -= 1;
            if *blocks.get() == 0 {
                blocks.remove();
            }
        }
        self.live.remove_all(block.sum());
        let stack = self.stack(block.stack);
        stack.live.remove_all(block.sum());
        stack.lifetimes_ms += block.count * step.time_ms.saturating_sub(block.born_ms);
    }

    fn stack(&mut self, number: u32) -> &mut StackUse {
        let index = number as usize;
        if index >= self.stacks.len() {
            self.stacks.resize(index + 1, StackUse::default());
        }
        &mut self.stacks[index]
    }

    fn note_time(&mut self, step: &Step) {
        let now = self.moment(step);
        match self.timeline.last_mut() {
            Some(last) if last.time_ms == now.time_ms => {
                if now.live.bytes > last.live.bytes {
                    *last = now;
                }
            }
            _ => self.timeline.push(now),
        }
    }

    /// Adds what lives now to the stacks that made it.
    pub fn add_live(&mut self, measure: Measure) {
        let blocks = std::mem::take(&mut self.blocks);
        for stack in &mut self.stacks {
            *stack.at(measure) = Sum::default();
        }
        for block in blocks.values() {
            self.stack(block.stack).at(measure).add_all(block.sum());
        }
        self.blocks = blocks;
    }
}

/// A recording and what it says.
pub struct Profile {
    /// What it says of itself.
    pub contents: Contents,
    /// What was used.
    pub usage: Usage,
}

/// Reads the recording at `path`.
///
/// # Errors
/// When it is none or the system refuses.
pub fn profile(path: &Path, within: u64) -> Result<Profile, ReadError> {
    let sample_bytes = Follower::open(path)?.header().sample_bytes;
    let mut usage = Usage::new(within, sample_bytes);
    let mut progress = Progress::of(path);
    let contents = read(path, |step| {
        usage.step(step);
        progress.at(usage.events, None);
    })?;
    usage.add_live(Measure::Leaks);
    let until = usage.peak_event;
    let mut at_peak = usage_until(path, within, |_, events| {
        progress.at(events, Some(until));
        events >= until
    })?;
    progress.end();
    at_peak.add_live(Measure::Peak);
    for (stack, peak) in usage.stacks.iter_mut().zip(&at_peak.stacks) {
        *stack.at(Measure::Peak) = peak.of(Measure::Peak);
    }
    Ok(Profile { contents, usage })
}

/// The recording at `path` up to the event before which `stop`, told of it and of the number of events so far,
/// says so.
///
/// # Errors
/// When it is none or the system refuses.
pub fn usage_until(
    path: &Path,
    within: u64,
    mut stop: impl FnMut(&Step, u64) -> bool,
) -> Result<Usage, ReadError> {
    let mut follower = Follower::open(path)?;
    let mut usage = Usage::new(within, follower.header().sample_bytes);
    let mut stopped = false;
    // A recording that still grows has events behind those that were counted.
    follower.poll(&mut |step: &Step| {
        stopped = stopped || stop(step, usage.events);
        if !stopped {
            usage.step(step);
        }
    })?;
    Ok(usage)
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
