//! What the bytes alone cannot show: that the records make sense in their order (I2 to I5 of the
//! parent module).

use super::{Error, Key, KeyMap, NULL_KEY, Record, Recording};

/// Walks all records once and checks I2 to I5.
pub(super) struct Checker<'a> {
    recording: &'a Recording,
    /// Number of the record being checked.
    record: u64,
    calls: u64,
    next_checkpoint: usize,
    live: KeyMap<()>,
    /// Per arena obtained: is it mapped?
    mapped: Vec<bool>,
    /// Arena records since the last call: obtained, released.
    pending: (u32, u32),
}

impl<'a> Checker<'a> {
    pub(super) fn new(recording: &'a Recording) -> Self {
        Self {
            recording,
            record: 0,
            calls: 0,
            next_checkpoint: 0,
            live: KeyMap::new(),
            mapped: Vec::new(),
            pending: (0, 0),
        }
    }

    /// # Errors
    /// `Header`, `Record` or `ForeignKey`.
    pub(super) fn check(mut self) -> Result<(), Error> {
        for record in self.recording.records() {
            self.one(record)?;
            self.record += 1;
        }
        self.no_arena_record_waits("the end")?;
        for (what, stated, found) in [
            ("allocator calls", self.recording.calls, self.calls),
            (
                "arenas",
                self.recording.arenas.into(),
                self.mapped.len() as u64,
            ),
            (
                "checkpoints",
                self.recording.checkpoints.len() as u64,
                self.next_checkpoint as u64,
            ),
        ] {
            if stated != found {
                return Err(Error::Header(format!(
                    "{stated} {what} stated, {found} found"
                )));
            }
        }
        Ok(())
    }

    fn one(&mut self, record: Record) -> Result<(), Error> {
        match record {
            Record::Malloc { key, .. } | Record::Calloc { total: _, key } => {
                self.call(true, false)?;
                self.create(key)
            }
            Record::Realloc { old: None, key, .. } => {
                self.call(true, false)?;
                self.create(key)
            }
            Record::Realloc {
                old: Some(old),
                key,
                ..
            } => {
                self.call(true, true)?;
                self.destroy(old)?;
                if old.place().is_none() && key != old {
                    return self.problem(format!("{old} became {key}; a RAW block keeps its key"));
                }
                self.create(key)
            }
            Record::Free { key } => {
                self.call(false, true)?;
                self.destroy(key)
            }
            Record::ArenaObtained { ordinal, excess } => self.obtained(ordinal, excess),
            Record::ArenaReleased { ordinal } => {
                self.pending.1 += 1;
                match self.mapped.get_mut(ordinal as usize) {
                    // A block may still be live here: the call that follows frees the arena's last one.
                    Some(mapped) if *mapped => *mapped = false,
                    _ => {
                        return self.problem(format!("arena {ordinal} is released but not mapped"));
                    }
                }
                Ok(())
            }
            Record::Checkpoint { index } => self.checkpoint(index),
        }
    }

    fn obtained(&mut self, ordinal: u32, excess: u32) -> Result<(), Error> {
        self.pending.0 += 1;
        if ordinal as usize != self.mapped.len() {
            return self.problem(format!(
                "arena {ordinal} obtained after {} arenas",
                self.mapped.len()
            ));
        }
        let stated = self.recording.excess_rule.excess(ordinal);
        if excess != stated {
            return self.problem(format!(
                "arena {ordinal} has excess {excess}, the metadata say {stated}"
            ));
        }
        self.mapped.push(true);
        self.live.add_arena();
        Ok(())
    }

    fn checkpoint(&mut self, index: u32) -> Result<(), Error> {
        self.no_arena_record_waits("a checkpoint")?;
        if index as usize != self.next_checkpoint {
            return self.problem(format!(
                "checkpoint {index} where {} is due",
                self.next_checkpoint
            ));
        }
        let Some(checkpoint) = self.recording.checkpoints.get(index as usize) else {
            return self.problem(format!("checkpoint {index} is not in the file"));
        };
        if checkpoint.calls != self.calls {
            let (stated, found) = (checkpoint.calls, self.calls);
            return self.problem(format!(
                "checkpoint {index} states {stated} calls after {found}"
            ));
        }
        self.next_checkpoint += 1;
        Ok(())
    }

    /// A call that may obtain one arena and may release one (I3).
    fn call(&mut self, may_obtain: bool, may_release: bool) -> Result<(), Error> {
        let (obtained, released) = std::mem::take(&mut self.pending);
        if obtained > u32::from(may_obtain) || released > u32::from(may_release) {
            let problem =
                format!("a call that cannot obtain {obtained} and release {released} arenas");
            return self.problem(problem);
        }
        self.calls += 1;
        Ok(())
    }

    fn no_arena_record_waits(&self, what: &str) -> Result<(), Error> {
        match self.pending {
            (0, 0) => Ok(()),
            _ => self.problem(format!(
                "{what} stands between an arena record and its call"
            )),
        }
    }

    fn create(&mut self, key: Key) -> Result<(), Error> {
        if key.0 == NULL_KEY {
            return self.problem("a call that returned null".to_owned());
        }
        let is_mapped = |ordinal: u32| self.mapped.get(ordinal as usize) == Some(&true);
        if let Some((ordinal, _)) = key.place().filter(|&(ordinal, _)| !is_mapped(ordinal)) {
            return self.problem(format!(
                "a block at {key}, but arena {ordinal} is not mapped"
            ));
        }
        match self.live.insert(key, ()) {
            None => Ok(()),
            Some(()) => self.problem(format!("a block at {key}, which is live already")),
        }
    }

    fn destroy(&mut self, key: Key) -> Result<(), Error> {
        self.live.remove(key).ok_or(Error::ForeignKey {
            record: self.record,
            key,
        })
    }

    fn problem<T>(&self, problem: String) -> Result<T, Error> {
        Err(Error::Record {
            record: self.record,
            problem,
        })
    }
}
