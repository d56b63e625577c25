//! One recording being written.

use super::super::recording::encode::{Alloc, Chunk, EVENT_BYTES, STACK_BYTES, TEXT_BYTES};
use super::super::recording::format::{Ending, Header, MOST_FRAMES, MarkKind};
use super::super::unwind::Unwinder;
use super::StartError;
use super::config::Config;
use super::output::{Output, OutputError};
use super::stacks::{Found, Stacks, Threads, copy};
use crate::global::watch::Event;
use crate::os::{self, File};
use crate::sync::{Ordering, fence};
use core::ops::Range;

/// Events between two looks at the clock; a power of two.
const CLOCK_EVERY: u64 = 16;

/// What a recording with stacks has beside one without.
struct Tracer {
    unwinder: Unwinder,
    stacks: Stacks,
    /// The range of this library's code; empty when it is part of the program.
    own: Range<usize>,
    /// Frames to keep.
    frames: usize,
}

/// A recording.
pub struct Session {
    chunk: Chunk<'static>,
    output: Output,
    threads: Threads,
    tracer: Option<Tracer>,
    /// Events written.
    events: u64,
    start_ms: u64,
    /// Time written last.
    time_ms: u64,
    limit: u64,
    /// Events are few.
    is_sampled: bool,
    /// Nothing more is written.
    over: bool,
}

impl Session {
    /// Makes the file and begins with what the program is.
    pub fn new(config: &Config) -> Result<Self, StartError> {
        let header = Header {
            has_stacks: config.frames > 0,
            pid: os::pid(),
            parent: os::parent_pid(),
            start_unix_ms: os::unix_ms(),
            max_frames: config.frames as u32,
            page_bytes: os::page_size() as u32,
            sample_bytes: config.sample_bytes,
        };
        let threads = Threads::new().ok_or(StartError::Refused)?;
        let tracer = match config.frames {
            0 => None,
            frames => Some(Tracer::new(frames).ok_or(StartError::Refused)?),
        };
        let (output, memory) = Output::create(config, &header).map_err(|error| match error {
            OutputError::Taken => StartError::Taken,
            OutputError::Refused => StartError::Refused,
        })?;
        let mut session = Self {
            chunk: Chunk::new(memory, header.has_stacks),
            output,
            threads,
            tracer,
            events: 0,
            start_ms: os::now_ms(),
            time_ms: 0,
            limit: config.limit,
            is_sampled: config.sample_bytes > 0,
            over: false,
        };
        session.introduce();
        Ok(session)
    }

    /// Writes the program's path and command line.
    fn introduce(&mut self) {
        let mut text = [0; TEXT_BYTES];
        let len = os::executable_path(&mut text);
        self.chunk.program(&text[..len]);
        if let Some(file) = File::open(c"/proc/self/cmdline") {
            // What does not fit is cut; a command line may have megabytes.
            let len = file.read(&mut text);
            let words = text[..len].strip_suffix(&[0]).unwrap_or(&text[..len]);
            for word in words.split(|byte| *byte == 0) {
                if self.chunk.has_room(EVENT_BYTES + word.len()) {
                    self.chunk.argument(word);
                }
            }
        }
        self.publish();
    }

    /// Writes one event. False when the recording is over.
    pub fn event(&mut self, event: &Event) -> bool {
        if self.is_sampled || self.events.is_multiple_of(CLOCK_EVERY) {
            self.tell_time();
        }
        let is_free = matches!(event, Event::Freeing { .. });
        let stack = if is_free { 0 } else { self.stack() };
        if !self.make_room(EVENT_BYTES) {
            return false;
        }
        let thread = self.threads.current().number;
        match *event {
            Event::Allocated {
                address,
                size,
                align,
                zeroed,
                ..
            } => {
                let block = Alloc {
                    address,
                    size,
                    align,
                    zeroed,
                };
                self.chunk.alloc(thread, &block, stack);
            }
            Event::Freeing { address, .. } => self.chunk.free(thread, address),
            Event::Resized { old, new, size, .. } => {
                self.chunk.resize(thread, old, new, size, stack);
            }
        }
        self.events += 1;
        self.publish();
        true
    }

    /// Writes a mark. False when the recording is over.
    pub fn mark(&mut self, kind: MarkKind, name: &[u8]) -> bool {
        self.tell_time();
        if !self.make_room(EVENT_BYTES + TEXT_BYTES) {
            return false;
        }
        let thread = self.threads.current().number;
        self.chunk.mark(thread, kind, name);
        self.events += 1;
        self.publish();
        true
    }

    /// Writes the last event, and what is left, to the file.
    pub fn end(&mut self, why: Ending) {
        self.tell_time();
        if self.make_room(EVENT_BYTES) {
            self.close(why);
        }
    }

    /// Writes why it ends, and all that is left.
    fn close(&mut self, why: Ending) {
        self.over = true;
        self.chunk.end(why, self.events);
        self.publish();
        if self.output.write(&mut self.chunk) {
            self.output.finish();
        } else {
            full();
        }
    }

    fn tell_time(&mut self) {
        let now = os::now_ms() - self.start_ms;
        if now != self.time_ms && !self.over && self.chunk.has_room(2 * EVENT_BYTES) {
            self.time_ms = now;
            self.chunk.time(now);
        }
    }

    /// I3 of the module: the header's length comes after the events it counts.
    fn publish(&mut self) {
        // Release, for a reader of the tail file: it has no other way to know.
        fence(Ordering::Release);
        self.chunk.publish();
    }

    /// Writes the chunk to the file if `need` bytes do not fit. False when the recording is over.
    fn make_room(&mut self, need: usize) -> bool {
        // The last event always fits.
        if self.over || self.chunk.has_room(need + EVENT_BYTES) {
            return !self.over;
        }
        if self.output.len >= self.limit {
            self.close(Ending::Limit);
            return false;
        }
        if !self.output.write(&mut self.chunk) {
            self.over = true;
            // The tail, at least, says why.
            self.chunk.end(Ending::Refused, self.events);
            self.publish();
            full();
            return false;
        }
        self.chunk.next();
        // The new number comes before the events that overwrite the old ones.
        fence(Ordering::Release);
        true
    }

    /// The number of the calling thread's stack, defined if it is new. 0 for none.
    #[inline]
    fn stack(&mut self) -> u32 {
        let Some(tracer) = &mut self.tracer else {
            return 0;
        };
        let here = os::registers();
        let entry = self.threads.current();
        let (unwinder, own) = (&mut tracer.unwinder, &tracer.own);
        if tracer.frames == 1 {
            let Some(frame) = unwinder.nearest(here, own, &mut entry.bounds) else {
                return 0;
            };
            let Some((number, is_new)) = tracer.stacks.child(0, frame) else {
                return 0;
            };
            if is_new {
                self.define(0, 0, &[frame]);
            }
            return number;
        }
        let Some((bounds, trail)) = entry.walk() else {
            return 0;
        };
        unwinder.climb(here, own, bounds, trail, tracer.frames);
        if trail.number != 0 {
            return trail.number as u32;
        }
        let Some(found) = tracer.stacks.number(trail) else {
            return 0;
        };
        if found.new > 0 {
            self.define_part(found);
        }
        found.number
    }

    /// Writes the definition of the new frames of the calling thread's trail.
    #[cold]
    #[inline(never)]
    fn define_part(&mut self, found: Found) {
        let mut frames = [0; MOST_FRAMES];
        if let Some((_, trail)) = self.threads.current().walk() {
            copy(trail, &mut frames);
        }
        let outside = frames.get(found.new).copied().unwrap_or(0);
        self.define(found.parent, outside, &frames[..found.new]);
    }

    /// Writes the definition of new frames, and of the modules they are the first to touch.
    #[cold]
    #[inline(never)]
    fn define(&mut self, parent: u32, outside: usize, frames: &[usize]) {
        for frame in frames {
            self.define_module(*frame);
        }
        if self.make_room(STACK_BYTES) {
            self.chunk.stack(parent, outside, frames);
        }
    }

    fn define_module(&mut self, frame: usize) {
        let Some(tracer) = &mut self.tracer else {
            return;
        };
        match tracer.unwinder.module_of(frame) {
            Some(module) if !module.told => module.told = true,
            _ => return,
        }
        if self.make_room(EVENT_BYTES + TEXT_BYTES)
            && let Some(tracer) = &mut self.tracer
            && let Some(module) = tracer.unwinder.module_of(frame)
        {
            let (start, end, offset) = (module.start, module.end, module.file_offset);
            self.chunk.module(start, end, offset, module.path());
        }
    }
}

/// Says that the recording ends early, once.
fn full() {
    os::say(format_args!(
        "the recording cannot be written (is the disk full?); it ends here"
    ));
}

impl Tracer {
    fn new(frames: usize) -> Option<Self> {
        let mut unwinder = Unwinder::new()?;
        let own = match cfg!(feature = "preload") {
            true => unwinder.range_of(os::registers().program),
            false => 0..0,
        };
        Some(Self {
            unwinder,
            stacks: Stacks::new()?,
            own,
            frames,
        })
    }
}
