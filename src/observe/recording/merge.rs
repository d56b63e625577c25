//! The logs of a recording as one sequence of events.
//!
//! ```text
//! log 255 │ t1 ··│ t9 ·                      │        least ticket first:
//! log 0   │ t2 ········│ t5 ···· │ t8 ··     │ mark   t1 t2 t3 t4 t5 t6 …
//! log 1   │ t3 ·│ t4 ····│ t6 ··             │
//! ```
//!
//! Tickets say which of two events of different logs came first, wherever one can have caused the other (I3 of
//! `recording`). So whoever takes what has the least ticket next sees them in an order in which they can have happened,
//! if nothing is missing. A recording that grows is read log by log, and what was written meanwhile is missing: so it
//! is read twice, and what is new in the second reading shows where to stop.
//!
//! | of a log | meaning |
//! |---|---|
//! | position | what was given to the reader ends here |
//! | mark | what the first reading saw ends here |
//! | end | what the second reading saw ends here |
//!
//! * **I1** position <= mark <= end.
//! * **I2** What is given has a lower ticket than all that is between a mark and an end. An event's causes have lower
//!   tickets, and were written before it, so before the first reading ended: those that it missed are in the second
//!   one, and hold their consequences back.

use super::decode::{Decoder, Item, Step};
use super::format::{CHUNK_HEADER_BYTES, Ending};
use super::tables::Tables;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A whole chunk of a log in the file.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Where its header is.
    at: u64,
    /// Bytes of its payload.
    len: usize,
}

/// A place in a log: chunk and bytes in its payload.
type Position = (u32, usize);

/// What there is of a log.
#[derive(Debug, Default)]
struct Source {
    /// Its whole chunks, from the one being decoded on.
    places: VecDeque<Place>,
    /// Number of whole chunks in the file.
    n: u32,
    /// Payload of the chunk behind them, as far as it is.
    tail: Vec<u8>,
    /// Payload of the whole chunk being decoded.
    payload: Vec<u8>,
    is_loaded: bool,
    mark: Position,
}

/// One log.
#[derive(Debug)]
struct Log {
    decoder: Decoder,
    source: Source,
}

impl Source {
    fn end(&self) -> Position {
        (self.n, self.tail.len())
    }

    /// Loads whole chunk `number`, the first of those left, if there is one.
    fn load(&mut self, number: u32, file: &File) -> io::Result<()> {
        if !self.is_loaded
            && number < self.n
            && let Some(place) = self.places.front()
        {
            self.payload.resize(place.len, 0);
            file.read_exact_at(&mut self.payload, place.at + CHUNK_HEADER_BYTES as u64)?;
            self.is_loaded = true;
        }
        Ok(())
    }

    /// The payload being decoded.
    fn payload(&self) -> &[u8] {
        match self.is_loaded {
            true => &self.payload,
            false => &self.tail,
        }
    }

    /// As [`Self::payload`], of chunk `number`, up to the mark.
    fn marked(&self, number: u32) -> &[u8] {
        let payload = self.payload();
        match self.mark {
            (marked, at) if marked == number => &payload[..at.min(payload.len())],
            _ => payload,
        }
    }
}

impl Log {
    fn new(has_stacks: bool) -> Self {
        Self {
            decoder: Decoder::new(has_stacks),
            source: Source::default(),
        }
    }

    fn position(&self) -> Position {
        (self.decoder.number(), self.decoder.at())
    }

    /// Goes on to the next chunk if all of a whole one was decoded, and reads the tickets that come next.
    fn settle(&mut self, file: &File) -> io::Result<()> {
        loop {
            self.source.load(self.decoder.number(), file)?;
            self.decoder.settle(self.source.payload());
            if !self.source.is_loaded || self.decoder.at() < self.source.payload.len() {
                return Ok(());
            }
            self.decoder.next_chunk();
            self.source.places.pop_front();
            self.source.is_loaded = false;
        }
    }
}

/// The next event of the log with the least ticket.
type Turns = BinaryHeap<Reverse<(u64, u32)>>;

/// All logs of a recording, and what they have said so far.
#[derive(Debug)]
pub struct Merged {
    has_stacks: bool,
    logs: BTreeMap<u32, Log>,
    tables: Tables,
    ending: Option<Ending>,
    is_damaged: bool,
    events: u64,
    time_ms: u64,
}

/// A chunk at this place of the file, or the one being filled, is none that a writer makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage(pub Option<u64>);

impl Merged {
    /// At the start of a recording.
    pub fn new(has_stacks: bool) -> Self {
        Self {
            has_stacks,
            logs: BTreeMap::new(),
            tables: Tables::default(),
            ending: None,
            is_damaged: false,
            events: 0,
            time_ms: 0,
        }
    }

    /// What was defined so far.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The tables alone.
    pub fn into_tables(self) -> Tables {
        self.tables
    }

    /// Why the recording ended, if it did.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Events read so far; definitions do not count.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Milliseconds from the start to what was read last.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    fn log(&mut self, number: u32) -> &mut Log {
        let new = || Log::new(self.has_stacks);
        self.logs.entry(number).or_insert_with(new)
    }

    /// Number of the chunk of a log that comes next, or of which more may come.
    pub fn next_chunk_of(&self, log: u32) -> u32 {
        self.logs.get(&log).map_or(0, |log| log.source.n)
    }

    /// The next chunk of a log is whole at `at` of the file.
    pub fn add_chunk(&mut self, log: u32, at: u64, len: usize) {
        let source = &mut self.log(log).source;
        source.places.push_back(Place { at, len });
        source.n += 1;
        source.tail.clear();
    }

    /// The next chunk of a log is as far as this.
    pub fn set_tail(&mut self, log: u32, payload: &[u8]) {
        let tail = &mut self.log(log).source.tail;
        if payload.len() >= tail.len() {
            tail.clear();
            tail.extend_from_slice(payload);
        }
    }

    /// The chunks that are not in the file: log, number and payload so far.
    pub fn tails(&self) -> impl Iterator<Item = (u32, u32, &[u8])> {
        let with_tail = self
            .logs
            .iter()
            .filter(|(_, log)| !log.source.tail.is_empty());
        with_tail.map(|(number, log)| (*number, log.source.n, log.source.tail.as_slice()))
    }

    /// Puts the marks where the logs end now.
    pub fn set_marks(&mut self) {
        for log in self.logs.values_mut() {
            log.source.mark = log.source.end();
        }
    }

    /// Gives what may be given (I2).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn give(
        &mut self,
        file: &File,
        sink: &mut impl FnMut(&Step),
    ) -> io::Result<Option<Damage>> {
        let mut turns = Turns::new();
        for (number, log) in &mut self.logs {
            log.settle(file)?;
            if log.position() < log.source.end() {
                turns.push(Reverse((log.decoder.ticket(), *number)));
            }
        }
        while let Some(Reverse((ticket, number))) = turns.pop() {
            if self.ending.is_some() || self.is_damaged {
                break;
            }
            let Some(log) = self.logs.get(&number) else {
                break;
            };
            if log.position() >= log.source.mark {
                // More came behind its mark: I2.
                break;
            }
            if let Some(damage) = self.turn(number, ticket, file, sink)? {
                return Ok(Some(damage));
            }
            if let Some(log) = self.logs.get(&number)
                && log.position() < log.source.end()
            {
                turns.push(Reverse((log.decoder.ticket(), number)));
            }
        }
        Ok(None)
    }

    /// Gives the events of a log that have this ticket, up to its mark.
    fn turn(
        &mut self,
        number: u32,
        ticket: u64,
        file: &File,
        sink: &mut impl FnMut(&Step),
    ) -> io::Result<Option<Damage>> {
        let Some(log) = self.logs.get_mut(&number) else {
            return Ok(None);
        };
        while log.decoder.ticket() == ticket && log.position() < log.source.mark {
            let payload = log.source.marked(log.decoder.number());
            match log.decoder.next(payload, &mut self.tables) {
                Ok(Some(Item::Event(step))) => {
                    self.time_ms = self.time_ms.max(step.time_ms);
                    self.events += 1;
                    sink(&Step {
                        time_ms: self.time_ms,
                        ..step
                    });
                }
                Ok(Some(Item::Time(time_ms))) => self.time_ms = self.time_ms.max(time_ms),
                Ok(Some(Item::Other)) => {}
                Ok(Some(Item::End { why, .. })) => {
                    self.ending = Some(why);
                    return Ok(None);
                }
                Ok(None) => log.settle(file)?,
                Err(_) => {
                    let places = &log.source.places;
                    let at = places.front().filter(|_| log.source.is_loaded);
                    self.is_damaged = true;
                    return Ok(Some(Damage(at.map(|place| place.at))));
                }
            }
        }
        log.settle(file)?;
        Ok(None)
    }
}
