//! What the logs of a recording share: the file, and who has which log. Under the recorder's lock.

use super::super::recording::encode::Chunk;
use super::super::recording::format::{ChunkHeader, Ending, Header, MOST_FRAMES, checksum};
use super::config::Config;
use super::log::{CLOSED, IDLE, Log, OPEN};
use super::order::{LOGS, Order};
use super::output::{Output, OutputError};
use super::stacks::Threads;
use super::tracer::Tracer;
use super::{COMMON, Recorder, SPARE, StartError, progress};
use crate::os;
use crate::sync::{Ordering, fence};

/// A recording.
pub struct Session {
    output: Output,
    threads: Threads,
    /// Logs of threads, by their numbers.
    logs: [Option<&'static Log>; COMMON],
    n_logs: usize,
    /// Those whose threads have ended.
    idle: [u8; LOGS],
    n_idle: usize,
    /// The log of all who have none.
    pub common: &'static Log,
    /// Whether somebody has written into it.
    common_is_used: bool,
}

impl Session {
    /// Makes the file and begins with what the program is.
    pub fn new(recorder: &'static Recorder, config: &Config) -> Result<Self, StartError> {
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
            frames => {
                let frames = (frames + SPARE).min(MOST_FRAMES);
                Some(Tracer::new(frames).ok_or(StartError::Refused)?)
            }
        };
        let mut output = Output::create(config, &header).map_err(|error| match error {
            OutputError::Taken => StartError::Taken,
            OutputError::Refused => StartError::Refused,
        })?;
        let memory = output.chunk_memory().ok_or(StartError::Refused)?;
        let common = Log::make(recorder, COMMON, memory, tracer).ok_or(StartError::Refused)?;
        // SAFETY: not open, and the lock is held by who begins.
        unsafe { common.with(|body| body.introduce(common)) };
        Ok(Self {
            output,
            threads,
            logs: [None; COMMON],
            n_logs: 0,
            idle: [0; LOGS],
            n_idle: 0,
            common,
            common_is_used: false,
        })
    }

    /// A log for the calling thread, which writes to it from now on. `None` when there are too many, or no memory.
    pub fn open_log(&mut self, recorder: &'static Recorder) -> Option<&'static Log> {
        let log = match self.n_idle.checked_sub(1) {
            Some(last) => {
                self.n_idle = last;
                self.logs[usize::from(self.idle[last])]?
            }
            None => self.make_log(recorder)?,
        };
        let thread = self.threads.current().number;
        // SAFETY: not open yet, and the lock is held.
        unsafe { log.with(|body| body.go_on_for(log, thread)) };
        log.enter(OPEN);
        Some(log)
    }

    #[cold]
    fn make_log(&mut self, recorder: &'static Recorder) -> Option<&'static Log> {
        let number = self.n_logs;
        let place = self.logs.get_mut(number)?;
        // SAFETY: never open, and the lock is held.
        let (tracer, traces) = unsafe {
            self.common
                .with(|body| (body.tracer_beside(), body.has_tracer()))
        };
        if tracer.is_none() && traces {
            return None;
        }
        let memory = self.output.chunk_memory()?;
        let log = Log::make(recorder, number, memory, tracer)?;
        *place = Some(log);
        self.n_logs += 1;
        recorder.order.add_log();
        Some(log)
    }

    /// The thread of `log` has ended.
    pub fn leave_log(&mut self, log: &Log) {
        // SAFETY: it was this thread's, and is not used any more.
        let number = unsafe { log.with(|body| body.number) };
        log.enter(IDLE);
        self.idle[self.n_idle] = number as u8;
        self.n_idle += 1;
    }

    /// Prepares the common log for an event of the calling thread's.
    pub fn use_common(&mut self, recorder: &Recorder) -> &'static Log {
        if !core::mem::replace(&mut self.common_is_used, true) {
            recorder.order.add_log();
        }
        let thread = self.threads.current().number;
        // SAFETY: never open, and the lock is held.
        unsafe { self.common.with(|body| body.speak_for(thread)) };
        self.common
    }

    /// Writes a full chunk to the file. False when the system refuses.
    pub fn hand_over(&mut self, log: &Log, chunk: &mut Chunk<'_>) -> bool {
        if !self.output.write(chunk) {
            return false;
        }
        chunk.next();
        log.begin_chunk(chunk.number());
        // The new number comes before the events that overwrite the old ones.
        fence(Ordering::Release);
        true
    }

    fn logs(&self) -> impl Iterator<Item = &'static Log> + Clone {
        self.logs.iter().flatten().copied()
    }

    /// Ends all logs where they are; the ticket of the end, above those of all events in them.
    pub fn settle(&self, order: &Order) -> u64 {
        for log in self.logs() {
            log.enter(CLOSED);
            log.progress.shut();
        }
        progress::settle(self.logs().map(|log| &log.progress));
        // Each event took its ticket before it was published, and so before it was seen.
        order.take(COMMON)
    }

    /// Writes what all logs have that have settled, and at last, under that ticket, why the recording ends, into `common`,
    /// which is the common log's chunk.
    pub fn end(&mut self, ticket: u64, ms: u64, common: &mut Chunk<'_>, why: Ending) {
        let mut events = self.common.progress.done().events();
        let mut is_written = why != Ending::Refused;
        for (number, log) in self.logs.iter().flatten().enumerate() {
            let (payload, of_log) = log.whole();
            events += of_log;
            is_written = is_written && self.output.write_log(number as u32, log.chunk(), payload);
        }
        let why = if is_written { why } else { Ending::Refused };
        common.ticket(ticket);
        common.time(ms);
        common.end(why, events);
        fence(Ordering::Release);
        common.publish();
        if is_written && self.output.write(common) {
            self.output.finish();
        } else {
            // The tail, at least, says why.
            os::say(format_args!(
                "the recording cannot be written (is the disk full?); it ends here"
            ));
        }
    }
}

impl Output {
    /// Writes what a log has in its chunk so far.
    fn write_log(&mut self, log: u32, number: u32, payload: &[u8]) -> bool {
        let header = ChunkHeader {
            len: payload.len() as u32,
            number,
            log,
            checksum: checksum(payload),
        };
        payload.is_empty() || self.write_part(&header, payload)
    }
}
