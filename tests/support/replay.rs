//! Replays a recording into an allocator and stops at the first difference.
//!
//! Blocks are freed by key, never by a guess of the replay's own, so that one divergence is reported
//! where it starts.

use std::fmt;

use super::pymt::{Checkpoint, Key, KeyMap, Record, Recording};
use super::report::grouped;
use super::subject::{ArenaEvent, Statistics, Subject};

/// What a replay without a difference compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    pub calls: u64,
    /// Results of malloc, calloc and realloc.
    pub addresses: u64,
    pub arena_events: u64,
    pub checkpoints: u64,
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [calls, addresses, events, checkpoints] = [
            self.calls,
            self.addresses,
            self.arena_events,
            self.checkpoints,
        ]
        .map(grouped);
        write!(
            f,
            "{calls} calls, {addresses} addresses, {events} arena events, {checkpoints} checkpoints"
        )
    }
}

/// The first difference between an allocator and a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Number of the call, from 1; calls completed, for a checkpoint or the report.
    pub call: u64,
    pub problem: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {}: {}", grouped(self.call), self.problem)
    }
}

/// Performs every call of `recording` on `subject`, which must be new, and compares each address, each
/// arena event and each checkpoint.
///
/// # Errors
/// The first difference.
pub fn replay(recording: &Recording, subject: &mut dyn Subject) -> Result<Compared, Divergence> {
    let mut replay = Replay {
        subject,
        live: KeyMap::new(),
        due: Vec::new(),
        compared: Compared::default(),
    };
    for record in recording.records() {
        let problem = replay.one(recording, record).err();
        if let Some(problem) = problem {
            return Err(Divergence {
                call: replay.compared.calls,
                problem,
            });
        }
    }
    Ok(replay.compared)
}

/// Compares the subject's report after a replay with the interpreter's own text.
///
/// # Errors
/// The first line that differs.
pub fn compare_report(
    recording: &Recording,
    subject: &dyn Subject,
    expected: &str,
) -> Result<(), Divergence> {
    let (mid_nodes, bot_nodes) = recording
        .checkpoints
        .last()
        .map_or((0, 0), Checkpoint::map_nodes);
    let found = subject.report(mid_nodes, bot_nodes);
    if found == expected {
        return Ok(());
    }
    let same = found
        .split('\n')
        .zip(expected.split('\n'))
        .take_while(|(f, e)| f == e)
        .count();
    let line = |text: &str| {
        text.split('\n')
            .nth(same)
            .map_or("nothing".to_owned(), |l| format!("{l:?}"))
    };
    let (at, found, expected) = (same + 1, line(&found), line(expected));
    let problem = format!("line {at} of the report is {found}, expected {expected}");
    Err(Divergence {
        call: recording.calls,
        problem,
    })
}

struct Replay<'a> {
    subject: &'a mut dyn Subject,
    /// The subject's address of each live key.
    live: KeyMap<usize>,
    /// Arena events that must happen inside the next call.
    due: Vec<ArenaEvent>,
    compared: Compared,
}

impl Replay<'_> {
    fn one(&mut self, recording: &Recording, record: Record) -> Result<(), String> {
        match record {
            Record::Malloc { size, key } => {
                let addr = self.subject.malloc(size as usize);
                self.result(|| format!("malloc({size})"), addr, key)
            }
            Record::Calloc { total, key } => {
                let addr = self.subject.calloc(total as usize);
                self.result(|| format!("calloc({total})"), addr, key)
            }
            Record::Realloc { old, size, key } => {
                let addr = old.map_or(0, |old| self.take(old));
                let addr = self.subject.realloc(addr, size as usize);
                let old = || old.map_or("null".to_owned(), |old| old.to_string());
                self.result(|| format!("realloc({}, {size})", old()), addr, key)
            }
            Record::Free { key } => {
                let addr = self.take(key);
                self.subject.free(addr);
                self.compared.calls += 1;
                self.events(|| format!("free({key})"))
            }
            Record::ArenaObtained { ordinal, excess } => {
                self.live.add_arena();
                self.due.push(ArenaEvent::Obtained { ordinal, excess });
                Ok(())
            }
            Record::ArenaReleased { ordinal } => {
                self.due.push(ArenaEvent::Released { ordinal });
                Ok(())
            }
            Record::Checkpoint { index } => self.checkpoint(&recording.checkpoints[index as usize]),
        }
    }

    fn take(&mut self, key: Key) -> usize {
        self.live
            .remove(key)
            .expect("the reader checked that the key is live")
    }

    /// Compares what a call returned, and what it did to arenas.
    fn result(&mut self, call: impl Fn() -> String, addr: usize, key: Key) -> Result<(), String> {
        self.compared.calls += 1;
        if addr == 0 {
            return Err(format!("{} gave null, expected {key}", call()));
        }
        let place = self.subject.locate(addr);
        if place != key.place() {
            let found = place.map_or("a RAW block".to_owned(), |(ordinal, sixteenth)| {
                // The reader's Display has the words; both numbers fit by the format of a key.
                Key(ordinal << 16 | sixteenth).to_string()
            });
            return Err(format!("{} gave {found}, expected {key}", call()));
        }
        self.compared.addresses += 1;
        self.live.insert(key, addr);
        self.events(call)
    }

    fn events(&mut self, call: impl Fn() -> String) -> Result<(), String> {
        let found = self.subject.take_events();
        if found != self.due {
            return Err(format!(
                "{} did {found:?} to arenas, expected {:?}",
                call(),
                self.due
            ));
        }
        self.compared.arena_events += self.due.len() as u64;
        self.due.clear();
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        let differences = self
            .subject
            .statistics()
            .differences(&Statistics::from_checkpoint(checkpoint));
        if !differences.is_empty() {
            return Err(format!(
                "checkpoint {}: {}",
                checkpoint.label,
                differences.join("; ")
            ));
        }
        self.compared.checkpoints += 1;
        Ok(())
    }
}
