//! Many threads that make, resize and free each other's blocks: the recording of each thread's own log, read as one
//! sequence, has no block freed before it was made and none made where another one lives.

use crate::fixture::{Run, built_with, file, pymalloc, steps_of};
use crate::recording::decode::{Event, Step};
use crate::recording::format::Ending;
use crate::recording::last::last;
use crate::recording::read::{End, Follower, read};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

fn exchange() -> PathBuf {
    // Once: who compiles it again takes it away from those who are about to run it.
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| built_with("exchange", "exchange.c", &["-O2", "-pthread"]))
        .clone()
}

/// What lives, and who made it.
#[derive(Default)]
struct Live {
    makers: HashMap<u64, u32>,
    /// Blocks freed by another thread than the one that made them.
    passed_on: u64,
    /// Blocks made where another thread's was freed last.
    used_again: u64,
    freed_by: HashMap<u64, u32>,
}

impl Live {
    fn step(&mut self, step: &Step) {
        match step.event {
            Event::Alloc { address, .. } => self.make(address, step),
            Event::Free { address } => self.free(address, step),
            Event::Resize { old, new, .. } => {
                self.free(old, step);
                self.make(new, step);
            }
            Event::Mark { .. } => {}
        }
    }

    fn make(&mut self, address: u64, step: &Step) {
        let other = self.makers.insert(address, step.thread);
        assert_eq!(other, None, "made where a block lives: {step:?}");
        let freer = self.freed_by.get(&address);
        self.used_again += u64::from(freer.is_some_and(|freer| *freer != step.thread));
    }

    fn free(&mut self, address: u64, step: &Step) {
        let Some(maker) = self.makers.remove(&address) else {
            panic!("freed before it was made: {step:?}");
        };
        self.passed_on += u64::from(maker != step.thread);
        self.freed_by.insert(address, step.thread);
    }
}

#[test]
fn blocks_that_threads_exchange_are_made_before_they_are_freed() {
    let program = exchange();
    for (name, words) in [
        ("exchange_record", &["record"][..]),
        ("exchange_profile", &["profile", "--frames", "1"]),
        ("exchange_deep", &["profile", "--frames", "16"]),
    ] {
        let run = Run::with(name, words, &program, &["12", "3000"], |_| {});
        assert_eq!(run.succeeds(), "exchanged\n");
        let mut live = Live::default();
        let (steps, contents) = steps_of(&run.path);
        steps.iter().for_each(|step| live.step(step));
        assert_eq!(contents.end, End::Whole(Ending::Exit), "{name}");
        // Each life makes one block a round, and frees or leaves one.
        let least = 12 * 4 * 2 * 3000 * 2 * 9 / 10;
        assert!(steps.len() > least, "{name}: {} events", steps.len());
        assert!(live.passed_on > 10_000, "{name}: {}", live.passed_on);
        assert!(live.used_again > 1_000, "{name}: {}", live.used_again);
        let per_event = contents.bytes as f64 / steps.len() as f64;
        assert!(per_event <= 10.0, "{name}: {per_event} bytes per event");
        let is_sorted = steps.is_sorted_by_key(|step| step.time_ms);
        assert!(is_sorted, "{name}: time goes back");
    }
}

#[test]
fn a_recording_that_ends_while_threads_exchange_blocks_frees_none_that_it_did_not_make() {
    let program = exchange();
    let mut passed_on = 0;
    for round in 0..30 {
        let limited = round % 2 == 1;
        let (words, arguments, said, why) = match limited {
            true => (
                &["record", "--limit", "300K"][..],
                ["24", "300"].to_vec(),
                "exchanged\n",
                Ending::Limit,
            ),
            false => (
                &["record"][..],
                ["24", "100000000", "20"].to_vec(),
                "left\n",
                Ending::Exit,
            ),
        };
        let run = Run::with("exchange_ends", words, &program, &arguments, |_| {});
        assert_eq!(run.succeeds(), said, "round {round}");
        let mut live = Live::default();
        let contents = read(&run.path, |step| live.step(step)).expect("a recording");
        assert_eq!(contents.end, End::Whole(why), "round {round}");
        let told = last(&run.path).expect("a file").map(|last| last.events);
        assert_eq!(told, Some(contents.events), "round {round}");
        passed_on += live.passed_on;
    }
    assert!(passed_on > 10_000, "{passed_on}");
}

#[test]
fn a_recording_that_many_threads_write_can_be_followed() {
    let path = file("exchange_live.pmrec");
    let mut command = pymalloc(&["record", "-o"]);
    command.arg(&path).arg("--").arg(exchange());
    let mut child = command.args(["6", "20000"]).spawn().expect("runs");
    let started = Instant::now();
    let mut follower = loop {
        match Follower::open(&path) {
            Ok(follower) => break follower,
            Err(error) if started.elapsed() > Duration::from_secs(60) => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let (mut live, mut n, mut early) = (Live::default(), 0u64, 0u64);
    let mut ended = false;
    while !ended {
        ended = child.try_wait().expect("a child").is_some();
        let mut sink = |step: &Step| {
            live.step(step);
            n += 1;
        };
        follower.poll(&mut sink).expect("readable");
        if !ended {
            early = n;
        }
    }
    child.wait().expect("a child");
    let whole = read(&path, |_| {}).expect("a recording");
    assert_eq!(whole.end, End::Whole(Ending::Exit));
    assert_eq!(n, whole.events, "every event was seen once");
    assert!(early > 1000, "{early} of {n} events were seen while it ran");
}

#[test]
fn threads_that_are_killed_leave_their_events() {
    let path = file("exchange_killed.pmrec");
    let mut command = pymalloc(&["profile", "--frames", "4", "-o"]);
    command.arg(&path).arg("--").arg(exchange());
    let mut child = command.args(["8", "100000000"]).spawn().expect("runs");
    let started = Instant::now();
    let is_long = || std::fs::metadata(&path).is_ok_and(|file| file.len() > 1 << 20);
    while !is_long() && started.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = Follower::open(&path).expect("a recording").header().pid;
    // SAFETY: a number and a signal; the process is the one that records.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    child.wait().expect("a child");
    let mut live = Live::default();
    let contents = read(&path, |step| live.step(step)).expect("a recording");
    assert_eq!(contents.end, End::Open);
    assert!(contents.bytes > 1 << 20);
    assert!(live.passed_on > 1000, "{}", live.passed_on);
}
