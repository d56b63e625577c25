//! What a log's owner works with: the chunk, its thread's stacks and ticket.

use super::super::recording::encode::simple::Ready;
use super::super::recording::encode::{Alloc, Chunk, EVENT_BYTES, STACK_BYTES, TEXT_BYTES};
use super::super::recording::format::{CHUNK_BYTES, CHUNK_HEADER_BYTES, MOST_FRAMES, MarkKind};
use super::log::{ChunkMemory, Log};
use super::order::Turn;
use super::progress::Done;
use super::stacks::{Found, copy};
use super::tracer::Tracer;
use super::{COMMON, Recorder, makers};
use crate::global::watch::Event;
use crate::os::{self, Call, Registers};
use crate::sync::{Ordering, fence};
use core::ptr::NonNull;

/// Bytes of events between two looks at the clock, and at the length of the recording: at least, and at most, which is
/// reached while one look after the other finds that no time has passed.
const LOOK_EVERY: usize = 48;
/// See there.
const LOOK_SELDOM: usize = 192;

/// Bytes of a chunk beyond which no event begins that may not be the last one: see [`Body::make_room`].
const LAST: usize = CHUNK_BYTES - 5 * EVENT_BYTES;

/// A block that was made, where that may be written simply.
pub struct Simple {
    /// Where it is, a multiple of 16.
    pub p: NonNull<u8>,
    /// Bytes asked for, at most those of the largest class.
    pub size: usize,
    /// Whether it was asked to be zero.
    pub zeroed: bool,
    /// Whether blocks were taken from what threads share since the last event.
    pub taken: bool,
}

/// See the module.
pub struct Body {
    recorder: &'static Recorder,
    turn: Turn<'static, makers::Table>,
    pub chunk: Chunk<'static>,
    tracer: Option<Tracer>,
    /// Number of the thread that writes.
    thread: u32,
    /// Length of the chunk, its header included, at which the next look is due, and bytes from one to the next.
    look_at: usize,
    look_every: usize,
    /// Frames to keep.
    frames: usize,
    /// Time written last.
    time_ms: u64,
    /// Bytes of the chunk that count towards the recording's limit already.
    counted: usize,
    /// Its place among the logs.
    pub number: usize,
}

impl Body {
    /// One that wrote nothing yet.
    pub fn new(
        recorder: &'static Recorder,
        number: usize,
        memory: ChunkMemory,
        tracer: Option<Tracer>,
    ) -> Self {
        Self {
            frames: tracer.as_ref().map_or(0, |tracer| tracer.frames),
            recorder,
            turn: Turn::new(&recorder.order, &recorder.makers, number),
            chunk: Chunk::new(memory, number as u32, tracer.is_some()),
            tracer,
            thread: 0,
            look_at: 0,
            look_every: LOOK_EVERY,
            time_ms: 0,
            counted: 0,
            number,
        }
    }

    /// Goes on for a thread: what it does comes after all that was done.
    pub fn go_on_for(&mut self, log: &Log, thread: u32) {
        self.thread = thread;
        self.look_at = 0;
        log.progress.set_simple_to(0);
        self.turn.renew();
        if let Some(tracer) = &mut self.tracer {
            tracer.forget_thread();
        }
    }

    /// The thread that writes next into the common log.
    pub fn speak_for(&mut self, thread: u32) {
        self.thread = thread;
        self.turn.renew();
    }

    /// A tracer for another log.
    pub fn tracer_beside(&self) -> Option<Tracer> {
        self.tracer.as_ref()?.beside()
    }

    /// Whether stacks are written.
    pub fn has_tracer(&self) -> bool {
        self.tracer.is_some()
    }

    /// Writes one event, of that call if it is known.
    #[inline(always)]
    pub fn event(&mut self, log: &Log, event: &Event, call: Option<Call>) {
        self.chunk.go_on_at(log.progress.done().bytes());
        if self.chunk.at() >= self.look_at {
            self.look_around(log);
        }
        match *event {
            Event::Allocated {
                address,
                size,
                align,
                zeroed,
                taken,
                ..
            } => {
                let stack = self.stack_of(log, call);
                if !self.make_room(log, EVENT_BYTES) {
                    return;
                }
                self.turn.makes(address, taken);
                self.chunk.ticket(self.turn.ticket());
                let block = Alloc {
                    address,
                    size,
                    align,
                    zeroed,
                };
                self.chunk.alloc(self.thread, &block, stack);
            }
            Event::Freeing { address, .. } => {
                if !self.make_room(log, EVENT_BYTES) {
                    return;
                }
                self.turn.ends(address);
                self.chunk.ticket(self.turn.ticket());
                self.chunk.free(self.thread, address);
            }
            Event::Resized { old, new, size, .. } => {
                let stack = self.stack_of(log, call);
                if !self.make_room(log, EVENT_BYTES) {
                    return;
                }
                self.turn.ends(old);
                self.turn.makes(new, old != new);
                self.chunk.ticket(self.turn.ticket());
                self.chunk.resize(self.thread, old, new, size, stack);
            }
        }
        self.publish(log, 1);
        let goes_on = self.chunk.goes_on(self.thread, self.turn.ticket());
        log.progress.set_simple_to(match goes_on {
            true => self.look_at.min(LAST).saturating_sub(CHUNK_HEADER_BYTES),
            false => 0,
        });
    }

    /// Writes that a block was made, if that is all there is to do. False if nothing was done. Where the log
    /// [is simple](super::progress::Progress::simply).
    #[inline(always)]
    pub fn simply_allocated(
        &mut self,
        log: &Log,
        done: Done,
        block: &Simple,
        stack: Option<Ready>,
    ) -> bool {
        let address = block.p.addr().get();
        if !self.turn.simply_makes(address, block.taken) {
            return false;
        }
        let (len, size, zeroed) = (done.bytes(), block.size, block.zeroed);
        // SAFETY: there is room where an event is simple.
        let bytes = unsafe { self.chunk.alloc_small(len, address, size, zeroed, stack) };
        self.is_written(log, done, bytes)
    }

    /// As [`Self::simply_allocated`], that a block is given up.
    #[inline(always)]
    pub fn simply_freed(&mut self, log: &Log, done: Done, p: NonNull<u8>) -> bool {
        let address = p.addr().get();
        if !self.turn.simply_ends(address) {
            return false;
        }
        // SAFETY: there is room where an event is simple.
        let bytes = unsafe { self.chunk.free_small(done.bytes(), address) };
        self.is_written(log, done, bytes)
    }

    /// As [`Self::simply_allocated`], that a block became another.
    #[inline(always)]
    pub fn simply_resized(
        &mut self,
        log: &Log,
        done: Done,
        old: NonNull<u8>,
        block: &Simple,
        stack: Option<Ready>,
    ) -> bool {
        let (old, new) = (old.addr().get(), block.p.addr().get());
        if !(self.turn.simply_ends(old) && self.turn.simply_makes(new, block.taken)) {
            return false;
        }
        let (len, size) = (done.bytes(), block.size);
        // SAFETY: there is room where an event is simple.
        let bytes = unsafe { self.chunk.resize_small(len, old, new, size, stack) };
        self.is_written(log, done, bytes)
    }

    /// Counts and publishes an event of so many bytes, if it was written.
    #[inline(always)]
    fn is_written(&mut self, log: &Log, done: Done, bytes: Option<usize>) -> bool {
        let Some(bytes) = bytes else {
            return false;
        };
        let done = log.progress.advance(done, bytes);
        // Release: as in `publish`.
        fence(Ordering::Release);
        self.chunk.publish_simply(done.bytes());
        true
    }

    /// Writes a mark.
    pub fn mark(&mut self, log: &Log, kind: MarkKind, name: &[u8]) {
        self.chunk.go_on_at(log.progress.done().bytes());
        self.look_around(log);
        if self.make_room(log, EVENT_BYTES + TEXT_BYTES) {
            self.chunk.ticket(self.turn.ticket());
            self.chunk.mark(self.thread, kind, name);
            self.publish(log, 1);
        }
    }

    /// Writes the program's path and command line.
    pub fn introduce(&mut self, log: &Log) {
        let mut text = [0; TEXT_BYTES];
        let len = os::executable_path(&mut text);
        self.chunk.program(&text[..len]);
        if let Some(file) = os::File::open(c"/proc/self/cmdline") {
            // What does not fit is cut; a command line may have megabytes.
            let len = file.read(&mut text);
            let words = text[..len].strip_suffix(&[0]).unwrap_or(&text[..len]);
            for word in words.split(|byte| *byte == 0) {
                if self.chunk.has_room(EVENT_BYTES + word.len()) {
                    self.chunk.argument(word);
                }
            }
        }
        self.publish(log, 0);
    }

    /// I3 of the recorder: the lengths come after the events that they count, of which so many are new.
    #[inline(always)]
    pub fn publish(&mut self, log: &Log, new_events: u64) {
        log.progress.publish(self.chunk.len(), new_events);
        // Release, for a reader of the tail file: it has no other way to know.
        fence(Ordering::Release);
        self.chunk.publish();
    }

    /// Writes the time if it has gone on, and sees to it that this log does not stay behind, and that the recording does
    /// not get too long.
    #[cold]
    #[inline(never)]
    fn look_around(&mut self, log: &Log) {
        let recorder = self.recorder;
        if recorder.is_limited() {
            self.count_bytes();
            if recorder.is_too_long() {
                self.publish(log, 0);
                recorder.end_too_long(self.common_chunk());
                return;
            }
        }
        let now = recorder.elapsed_ms();
        self.look_every = match now == self.time_ms {
            true => (2 * self.look_every).min(LOOK_SELDOM),
            false => LOOK_EVERY,
        };
        // Samples are few.
        self.look_at = match recorder.is_sampled() {
            true => 0,
            false => self.chunk.at() + self.look_every,
        };
        self.turn.keep_up(now != self.time_ms);
        if now == self.time_ms {
            return;
        }
        self.time_ms = now;
        // Room for this, and for the last event, is never asked for otherwise.
        if self.chunk.has_room(4 * EVENT_BYTES) {
            self.chunk.ticket(self.turn.ticket());
            self.chunk.time(now);
        }
    }

    fn count_bytes(&mut self) {
        let len = self.chunk.len();
        self.recorder.add_bytes(len - self.counted);
        self.counted = len;
    }

    /// The chunk, if it is the common log's.
    fn common_chunk(&mut self) -> Option<&mut Chunk<'static>> {
        (self.number == COMMON).then_some(&mut self.chunk)
    }

    /// Gives the chunk away if `need` bytes do not fit. False when the recording is over.
    #[inline]
    fn make_room(&mut self, log: &Log, need: usize) -> bool {
        // A ticket, and in the common log the last event, fit too.
        self.chunk.has_room(need + 4 * EVENT_BYTES) || self.next_chunk(log)
    }

    #[cold]
    #[inline(never)]
    fn next_chunk(&mut self, log: &Log) -> bool {
        // What was defined for the event at hand is part of it.
        self.publish(log, 0);
        if self.recorder.is_limited() {
            self.count_bytes();
        }
        let is_common = self.number == COMMON;
        let goes_on = self.recorder.hand_over(log, &mut self.chunk, is_common);
        self.counted = 0;
        self.look_at = 0;
        goes_on
    }

    /// The number of the stack of a call, or of the calling thread, defined if it is new. 0 for none.
    #[inline(always)]
    fn stack_of(&mut self, log: &Log, call: Option<Call>) -> u32 {
        // SAFETY: the function called is this one's caller.
        match call.map(|call| unsafe { call.caller() }) {
            _ if self.tracer.is_none() => 0,
            Some(caller) if self.frames == 1 => self.nearest(log, caller.program),
            None if self.frames == 1 => self.nearest_of_all(log),
            caller => self.climbed(log, caller),
        }
    }

    /// As [`Self::stack_of`], of one frame that returns there.
    #[cold]
    #[inline(never)]
    fn nearest(&mut self, log: &Log, program: usize) -> u32 {
        let Some(tracer) = &mut self.tracer else {
            return 0;
        };
        // The function was not called last by those before it.
        if tracer.own.contains(&program) {
            return self.nearest_of_all(log);
        }
        let Some((number, is_new)) = tracer.stacks.child(0, program) else {
            return 0;
        };
        // SAFETY: whoever has the body may use the log.
        unsafe { log.put_at_hand(program, number) };
        if is_new {
            self.define(log, 0, 0, &[program]);
        }
        number
    }

    /// As [`Self::stack_of`], of the nearest frame of the calling thread.
    #[inline(always)]
    fn nearest_of_all(&mut self, log: &Log) -> u32 {
        let Some(tracer) = &mut self.tracer else {
            return 0;
        };
        let here = os::registers();
        let (unwinder, own) = (&mut tracer.unwinder, &tracer.own);
        let Some(frame) = unwinder.nearest(here, own, &mut tracer.bounds) else {
            return 0;
        };
        let Some((number, is_new)) = tracer.stacks.child(0, frame) else {
            return 0;
        };
        if is_new {
            self.define(log, 0, 0, &[frame]);
        }
        number
    }

    /// The number of a stack of several frames, defined if it is new: from the function on that has these registers, unless
    /// it is one of ours; else that of the calling thread. 0 for none.
    #[inline(always)]
    fn climbed(&mut self, log: &Log, caller: Option<Registers>) -> u32 {
        let Some(tracer) = &mut self.tracer else {
            return 0;
        };
        let Some(mut trail) = tracer.trail() else {
            return 0;
        };
        // SAFETY: mapped as long as the tracer lives, and used by this call only.
        let trail = unsafe { trail.as_mut() };
        let (unwinder, own) = (&mut tracer.unwinder, &tracer.own);
        match caller.filter(|caller| !own.contains(&caller.program)) {
            Some(caller) => unwinder.climb_from(caller, &mut tracer.bounds, trail, tracer.frames),
            None => {
                let here = os::registers();
                unwinder.climb(here, own, &mut tracer.bounds, trail, tracer.frames);
            }
        }
        if trail.number != 0 {
            return trail.number as u32;
        }
        let Some(found) = tracer.stacks.number(trail) else {
            return 0;
        };
        if found.new > 0 {
            self.define_part(log, found);
        }
        found.number
    }

    /// Writes the definition of the new frames of the calling thread's trail.
    #[cold]
    #[inline(never)]
    fn define_part(&mut self, log: &Log, found: Found) {
        let mut frames = [0; MOST_FRAMES];
        if let Some(trail) = self.tracer.as_mut().and_then(Tracer::trail) {
            // SAFETY: as in `stack`.
            copy(unsafe { trail.as_ref() }, &mut frames);
        }
        let outside = frames.get(found.new).copied().unwrap_or(0);
        self.define(log, found.parent, outside, &frames[..found.new]);
    }

    /// Writes the definition of new frames, and of the modules they are the first to touch.
    #[cold]
    #[inline(never)]
    fn define(&mut self, log: &Log, parent: u32, outside: usize, frames: &[usize]) {
        for frame in frames {
            self.define_module(log, *frame);
        }
        if self.make_room(log, STACK_BYTES) {
            self.chunk.stack(parent, outside, frames);
        }
    }

    fn define_module(&mut self, log: &Log, frame: usize) {
        let Some(tracer) = &mut self.tracer else {
            return;
        };
        let Some(module) = tracer.unwinder.module_of(frame).copied() else {
            return;
        };
        if tracer.is_untold(module.serial) && self.make_room(log, EVENT_BYTES + TEXT_BYTES) {
            let (start, end, offset) = (module.start, module.end, module.file_offset);
            self.chunk.module(start, end, offset, module.path());
        }
    }
}
