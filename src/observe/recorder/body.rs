//! What a log's owner works with: the chunk, its thread's stacks and ticket.

use super::super::recording::encode::{Alloc, Chunk, EVENT_BYTES, STACK_BYTES, TEXT_BYTES};
use super::super::recording::format::{MOST_FRAMES, MarkKind};
use super::log::{ChunkMemory, Log};
use super::order::Turn;
use super::stacks::{Found, copy};
use super::tracer::Tracer;
use super::{COMMON, Recorder, makers};
use crate::global::watch::Event;
use crate::os;
use crate::sync::{Ordering, fence};

/// Events between two looks at the clock, and at the length of the recording.
const LOOK_EVERY: u32 = 16;

/// See the module.
pub struct Body {
    recorder: &'static Recorder,
    turn: Turn<'static, makers::Table>,
    pub chunk: Chunk<'static>,
    tracer: Option<Tracer>,
    /// Number of the thread that writes.
    thread: u32,
    /// Events until the next look.
    look_in: u32,
    /// Time written last.
    time_ms: u64,
    events: u64,
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
            recorder,
            turn: Turn::new(&recorder.order, &recorder.makers, number),
            chunk: Chunk::new(memory, number as u32, tracer.is_some()),
            tracer,
            thread: 0,
            look_in: 1,
            time_ms: 0,
            events: 0,
            counted: 0,
            number,
        }
    }

    /// Goes on for a thread: what it does comes after all that was done.
    pub fn go_on_for(&mut self, thread: u32) {
        self.thread = thread;
        self.look_in = 1;
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

    /// Writes one event.
    #[inline(always)]
    pub fn event(&mut self, log: &Log, event: &Event) {
        self.look_in -= 1;
        if self.look_in == 0 {
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
                let stack = self.stack(log);
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
                let stack = self.stack(log);
                if !self.make_room(log, EVENT_BYTES) {
                    return;
                }
                self.turn.ends(old);
                self.turn.makes(new, old != new);
                self.chunk.ticket(self.turn.ticket());
                self.chunk.resize(self.thread, old, new, size, stack);
            }
        }
        self.events += 1;
        self.publish(log);
    }

    /// Writes a mark.
    pub fn mark(&mut self, log: &Log, kind: MarkKind, name: &[u8]) {
        self.look_around(log);
        if self.make_room(log, EVENT_BYTES + TEXT_BYTES) {
            self.chunk.ticket(self.turn.ticket());
            self.chunk.mark(self.thread, kind, name);
            self.events += 1;
            self.publish(log);
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
        self.publish(log);
    }

    /// I3 of the recorder: the lengths come after the events that they count.
    #[inline]
    pub fn publish(&mut self, log: &Log) {
        log.publish(self.chunk.len(), self.events);
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
        self.look_in = match recorder.is_sampled() {
            true => 1,
            false => LOOK_EVERY,
        };
        if recorder.is_limited() {
            self.count_bytes();
            if recorder.is_too_long() {
                self.publish(log);
                recorder.end_too_long(self.common_chunk());
                return;
            }
        }
        let now = recorder.elapsed_ms();
        if now == self.time_ms {
            return;
        }
        self.time_ms = now;
        if !recorder.order.is_alone() {
            self.turn.renew();
        }
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
        self.publish(log);
        if self.recorder.is_limited() {
            self.count_bytes();
        }
        let is_common = self.number == COMMON;
        let goes_on = self.recorder.hand_over(log, &mut self.chunk, is_common);
        self.counted = 0;
        goes_on
    }

    /// The number of the calling thread's stack, defined if it is new. 0 for none.
    #[inline(always)]
    fn stack(&mut self, log: &Log) -> u32 {
        let Some(tracer) = &mut self.tracer else {
            return 0;
        };
        let here = os::registers();
        if tracer.frames == 1 {
            let Some(frame) = tracer
                .unwinder
                .nearest(here, &tracer.own, &mut tracer.bounds)
            else {
                return 0;
            };
            let Some((number, is_new)) = tracer.stacks.child(0, frame) else {
                return 0;
            };
            if is_new {
                self.define(log, 0, 0, &[frame]);
            }
            return number;
        }
        let Some(mut trail) = tracer.trail() else {
            return 0;
        };
        // SAFETY: mapped as long as the tracer lives, and used by this call only.
        let trail = unsafe { trail.as_mut() };
        let (unwinder, own) = (&mut tracer.unwinder, &tracer.own);
        unwinder.climb(here, own, &mut tracer.bounds, trail, tracer.frames);
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
