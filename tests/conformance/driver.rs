//! A difference is reported where it starts, in words that name it.

use crate::support::model::Model;
use crate::support::replay::{compare_report, replay};
use crate::support::subject::{ArenaEvent, Statistics, Subject};
use crate::{open_shared, shared_folder};

/// The model, with one answer changed.
struct Liar {
    model: Model,
    lie: Lie,
    calls: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Lie {
    /// The 1,000th call returns null.
    Null,
    /// The 1,000th call reports a second release of an arena.
    Release,
    /// Arenas lie 4096 bytes further than they do.
    Excess,
    /// One byte too many in available blocks.
    Available,
    /// One block too many of class 31.
    InUse,
    /// One middle node too many.
    Report,
}

impl Liar {
    /// Counts a call; is it the 1,000th, and does it lie so?
    fn now(&mut self, lie: Lie) -> bool {
        self.calls += 1;
        self.calls == 1000 && self.lie == lie
    }
}

impl Subject for Liar {
    fn malloc(&mut self, size: usize) -> usize {
        let addr = self.model.malloc(size);
        if self.now(Lie::Null) { 0 } else { addr }
    }
    fn calloc(&mut self, total: usize) -> usize {
        let addr = self.model.calloc(total);
        if self.now(Lie::Null) { 0 } else { addr }
    }
    fn realloc(&mut self, old: usize, size: usize) -> usize {
        let addr = self.model.realloc(old, size);
        if self.now(Lie::Null) { 0 } else { addr }
    }
    fn free(&mut self, addr: usize) {
        self.model.free(addr);
    }
    fn locate(&self, addr: usize) -> Option<(u32, u32)> {
        self.model.locate(addr)
    }
    fn take_events(&mut self) -> Vec<ArenaEvent> {
        let mut events = self.model.take_events();
        if self.lie == Lie::Release && self.calls == 1000 {
            events.push(ArenaEvent::Released { ordinal: 0 });
        }
        for event in &mut events {
            if let ArenaEvent::Obtained { excess, .. } = event {
                *excess += if self.lie == Lie::Excess { 4096 } else { 0 };
            }
        }
        events
    }
    fn refuse_arenas(&mut self, refuse: bool) {
        self.model.refuse_arenas(refuse);
    }
    fn statistics(&self) -> Statistics {
        let mut statistics = self.model.statistics();
        statistics.available_bytes += u64::from(self.lie == Lie::Available);
        statistics.classes[31].blocks_in_use += u64::from(self.lie == Lie::InUse);
        statistics
    }
    fn report(&self, mid_nodes: u64, bot_nodes: u64) -> String {
        self.model
            .report(mid_nodes + u64::from(self.lie == Lie::Report), bot_nodes)
    }
}

/// What the replay of `startup_exit` into a liar says.
fn caught(lie: Lie) -> String {
    let recording = open_shared("startup_exit");
    let mut liar = Liar {
        model: Model::new(recording.excess_rule, None),
        lie,
        calls: 0,
    };
    let text = std::fs::read_to_string(shared_folder().join("startup_exit.stats.txt")).unwrap();
    replay(&recording, &mut liar)
        .and_then(|_| compare_report(&recording, &liar, &text))
        .expect_err("the lie is found out")
        .to_string()
}

#[test]
fn a_null_is_reported_with_its_call() {
    let report = caught(Lie::Null);
    assert!(
        report.contains(" gave null, expected arena 0 + 0x"),
        "{report}"
    );
}

#[test]
fn an_arena_event_the_recording_does_not_have_is_reported() {
    let report = caught(Lie::Release);
    assert!(
        report.contains(" did [Released { ordinal: 0 }] to arenas, expected []"),
        "{report}"
    );
}

#[test]
fn an_arena_at_the_wrong_excess_is_reported() {
    let report = caught(Lie::Excess);
    assert!(report.starts_with("call 1: malloc("), "{report}");
    assert!(
        report.contains(" did [Obtained { ordinal: 0, excess: 4096 }] to arenas"),
        "{report}"
    );
}

#[test]
fn a_wrong_statistic_is_reported_by_name() {
    let report = caught(Lie::Available);
    assert_eq!(
        report,
        "call 0: checkpoint empty: bytes in available blocks: 1, expected 0"
    );
    let report = caught(Lie::InUse);
    assert_eq!(
        report,
        "call 0: checkpoint empty: blocks in use of class 31: 1, expected 0"
    );
}

#[test]
fn a_wrong_line_of_the_report_is_reported() {
    let expected = "call 162,075: line 39 of the report is \
        \"# arena map mid nodes              =                    2\", expected \
        \"# arena map mid nodes              =                    1\"";
    assert_eq!(caught(Lie::Report), expected);
}
