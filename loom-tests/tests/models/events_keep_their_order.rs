//! `observe::recorder::order` and `progress`: threads that make, pass, free and reuse one block, each writing into a log of
//! its own. By the order of the tickets the block is made before it is freed, and freed before it is made again; also in
//! what a recording has that ends meanwhile.

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use loom::thread;
use pymalloc_loom_tests::model::{Static, explore};
use pymalloc_loom_tests::order::{Makers, Order, Turn};
use pymalloc_loom_tests::progress::{Progress, settle};

/// The block's address.
const BLOCK: usize = 0x1000;

/// The one maker there is to know.
struct Maker(AtomicU8);

impl Makers for Maker {
    fn of(&self, address: usize) -> Option<&AtomicU8> {
        assert_eq!(address, BLOCK);
        Some(&self.0)
    }

    fn known(&self, address: usize) -> Option<&AtomicU8> {
        self.of(address)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Done {
    Made,
    Freed,
}

/// What happened by which ticket, in one log of that number.
type Log = (usize, Vec<(u64, Done)>);

struct Process {
    order: Order,
    maker: Maker,
    /// Whether the block is free, among what threads share.
    shared: Mutex<bool>,
    /// Whether the program passed it on.
    passed: AtomicBool,
    /// How far the logs are.
    progress: [Progress; 2],
    /// The recorder's lock.
    recorder: Mutex<()>,
}

/// A thread with a log.
struct Thread {
    process: &'static Process,
    number: usize,
    turn: Turn<'static, Maker>,
    log: Vec<(u64, Done)>,
}

impl Process {
    /// The block is `free`, or nobody can have it yet.
    fn new(free: bool) -> Static<Self> {
        Static::new(Self {
            order: Order::default(),
            maker: Maker(AtomicU8::new(0)),
            shared: Mutex::new(free),
            passed: AtomicBool::new(false),
            progress: core::array::from_fn(|_| Progress::default()),
            recorder: Mutex::new(()),
        })
    }
}

impl Thread {
    /// Logs are numbered as they are opened.
    fn new(process: &'static Process) -> Self {
        let number = process.order.add_log();
        Self {
            process,
            number,
            turn: Turn::new(&process.order, &process.maker, number),
            log: Vec::new(),
        }
    }

    /// The block, made from what threads share. False if it is not there.
    fn make(&mut self) -> bool {
        let there = std::mem::take(&mut *self.process.shared.lock().unwrap());
        if there {
            self.write_made(true);
        }
        there
    }

    fn write_made(&mut self, taken: bool) {
        self.turn.makes(BLOCK, taken);
        self.log.push((self.turn.ticket(), Done::Made));
    }

    /// Gives the block up; it is this thread's still.
    fn write_freed(&mut self) {
        self.turn.ends(BLOCK);
        self.log.push((self.turn.ticket(), Done::Freed));
    }

    fn free(&mut self) {
        self.write_freed();
        *self.process.shared.lock().unwrap() = true;
    }

    fn pass(&self) {
        self.process.passed.store(true, Ordering::Release);
    }

    fn log(self) -> Log {
        (self.number, self.log)
    }

    /// Whether the program passed the block to this thread.
    fn receives(&self) -> bool {
        self.process.passed.load(Ordering::Acquire)
    }
}

/// Takes the logs as a reader does.
fn check(logs: &[Log]) {
    let of_log = |(number, events): &Log| {
        let number = *number;
        let events = events.clone().into_iter();
        events.map(move |(ticket, done)| (ticket, number, done))
    };
    let mut all: Vec<(u64, usize, Done)> = logs.iter().flat_map(of_log).collect();
    all.sort_by_key(|(ticket, log, _)| (*ticket, *log));
    let mut lives = false;
    for (_, _, done) in &all {
        assert_eq!(*done == Done::Made, !lives, "out of order: {all:?}");
        lives = !lives;
    }
}

#[test]
fn events_of_a_block_that_the_program_passes_on_keep_their_order() {
    explore("passed on", None, || {
        let process = Process::new(true);
        let p = process.get();
        let maker = thread::spawn(move || {
            let mut thread = Thread::new(p);
            thread.make();
            thread.pass();
            thread.log()
        });
        let mut freer = Thread::new(p);
        if freer.receives() {
            freer.free();
        }
        check(&[maker.join().unwrap(), freer.log()]);
    });
}

#[test]
fn events_of_a_block_that_is_used_again_keep_their_order() {
    explore("used again", None, || {
        let process = Process::new(true);
        let p = process.get();
        let second = thread::spawn(move || {
            let mut thread = Thread::new(p);
            if thread.make() {
                thread.pass();
            }
            thread.log()
        });
        let mut first = Thread::new(p);
        if first.make() {
            first.free();
        }
        if first.receives() {
            first.free();
        }
        check(&[first.log(), second.join().unwrap()]);
    });
}

#[test]
fn events_of_a_block_that_comes_back_to_its_first_maker_keep_their_order() {
    explore("there and back", Some(3), || {
        let process = Process::new(true);
        let p = process.get();
        let between = thread::spawn(move || {
            let mut thread = Thread::new(p);
            // Freed for the first one, made again from the thread's own list, and passed on.
            if thread.receives() {
                thread.write_freed();
                thread.write_made(false);
                *p.shared.lock().unwrap() = true;
            }
            thread.log()
        });
        let mut first = Thread::new(p);
        if first.make() {
            first.pass();
        }
        if std::mem::take(&mut *p.shared.lock().unwrap()) {
            // Alive: the other thread passed it back.
            first.free();
        }
        check(&[first.log(), between.join().unwrap()]);
    });
}

impl Thread {
    /// Writes an event, simply or as one that looked around and so sets anew how far that goes; none if the log is shut, but
    /// then it waits for who ends the recording.
    fn write(&mut self, simply: bool, event: impl FnOnce(&mut Self)) {
        let progress = &self.process.progress[self.number];
        let Some(done) = progress.simply() else {
            return drop(self.process.recorder.lock().unwrap());
        };
        event(self);
        match simply {
            true => drop(progress.advance(done, 1)),
            false => {
                progress.publish(done.bytes() + 1, 1);
                progress.set_simple_to(200);
            }
        }
    }
}

/// Two threads write while a third ends the recording. What is in it then is in order, and has lower tickets than its
/// end; afterwards nobody writes.
fn end_while(
    name: &str,
    first: impl Fn(&mut Thread) + Sync + Send + Copy + 'static,
    second: impl Fn(&mut Thread) + Sync + Send + Copy + 'static,
) {
    explore(name, Some(3), move || {
        let process = Process::new(false);
        let p = process.get();
        p.progress.iter().for_each(|log| log.set_simple_to(100));
        // The second one has the later ticket, under which it may free what the first one makes.
        let threads = [Thread::new(p), Thread::new(p)];
        let [one, other] = threads.map(|mut thread| {
            let first_one = thread.number == 0;
            thread::spawn(move || {
                match first_one {
                    true => first(&mut thread),
                    false => second(&mut thread),
                }
                thread.log()
            })
        });
        let locked = p.recorder.lock().unwrap();
        p.progress.iter().for_each(Progress::shut);
        settle(p.progress.iter());
        let end = p.order.take(3);
        drop(locked);
        let logs = [one.join().unwrap(), other.join().unwrap()].map(|(number, mut log)| {
            let progress = &p.progress[number];
            assert!(progress.simply().is_none(), "log {number} goes on");
            log.truncate(progress.seen().events() as usize);
            (number, log)
        });
        let late = |log: &Log| log.1.iter().any(|(ticket, _)| *ticket >= end);
        assert!(!logs.iter().any(late), "not before {end}: {logs:?}");
        check(&logs);
    });
}

#[test]
fn a_recording_that_ends_has_no_free_of_a_block_that_was_not_made() {
    end_while(
        "ends, passed on",
        |maker| {
            maker.write(true, |maker| maker.write_made(false));
            maker.pass();
        },
        |freer| {
            if freer.receives() {
                freer.write(true, Thread::write_freed);
            }
        },
    );
}

#[test]
fn a_recording_that_ends_has_no_block_made_where_one_lives() {
    end_while(
        "ends, used again",
        |user| {
            user.write(false, |user| user.write_made(false));
            user.write(true, Thread::write_freed);
            *user.process.shared.lock().unwrap() = true;
        },
        |next| {
            if std::mem::take(&mut *next.process.shared.lock().unwrap()) {
                next.write(false, |next| next.write_made(true));
            }
        },
    );
}
