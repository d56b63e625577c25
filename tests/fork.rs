//! A process may fork while its threads allocate: the child has a whole heap, and neither hangs.
//!
//! Every process is ended by a watchdog if it does hang.

#[path = "support/child.rs"]
mod child;
#[path = "support/rng.rs"]
mod rng;

use pymalloc::PyMalloc;
use rng::Rng;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[global_allocator]
static GLOBAL: PyMalloc = PyMalloc;

/// Most seconds one child may take.
const CHILD_SECONDS: u32 = 20;
const THREADS: usize = 4;

/// So many seconds, or four times as many where every block is guarded: filled, looked at, its stacks taken.
fn seconds(n: u32) -> u32 {
    if child::is_guarded() { 4 * n } else { n }
}

fn alone(test: &str, f: impl FnOnce()) {
    match child::part() {
        None => child::succeeds(test, "alone"),
        Some(_) => {
            child::no_core();
            child::watchdog(seconds(60));
            f();
        }
    }
}

/// A block full of one byte.
struct Block {
    addr: usize,
    size: usize,
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 16).unwrap()
}

impl Block {
    fn new(size: usize) -> Self {
        // SAFETY: the size is not 0; the block is written inside.
        unsafe {
            let p = PyMalloc.alloc(layout(size));
            assert!(!p.is_null());
            p.write_bytes(size as u8, size.min(4096));
            p.add(size - 1).write(size as u8);
            let addr = p.expose_provenance();
            Self { addr, size }
        }
    }

    fn free(self) {
        let p: *mut u8 = std::ptr::with_exposed_provenance_mut(self.addr);
        // SAFETY: from `new`, freed once.
        unsafe {
            for at in [0, self.size.min(4096) - 1, self.size - 1] {
                assert_eq!(
                    p.add(at).read(),
                    self.size as u8,
                    "byte {at} of {}",
                    self.size
                );
            }
            PyMalloc.dealloc(p, layout(self.size));
        }
    }
}

/// One size of every class, small and medium, and two huge ones.
fn every_class() -> Vec<usize> {
    let small = (1..=32).map(|n| 16 * n);
    let medium = (0..72).map(|index| (9 + index % 8) << (6 + index / 8));
    small.chain(medium).chain([300_000, 2 << 20]).collect()
}

/// Allocates and frees until told to stop, through blocks that another thread made.
fn allocate(seed: u64, stop: &AtomicBool, pass: &std::sync::Mutex<Vec<Block>>) {
    let mut random = Rng::new(seed);
    let mut own = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..200 {
            let most = if random.one_in(50) { 1 << 20 } else { 3000 };
            own.push(Block::new(random.size(most)));
        }
        std::mem::swap(&mut own, &mut pass.lock().unwrap());
        own.drain(..).for_each(Block::free);
    }
}

/// Runs `f` while threads allocate.
fn among_threads(f: impl FnOnce()) {
    let (stop, pass) = (AtomicBool::new(false), std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for seed in 0..THREADS as u64 {
            let (stop, pass) = (&stop, &pass);
            scope.spawn(move || allocate(seed, stop, pass));
        }
        f();
        stop.store(true, Ordering::Relaxed);
    });
    pass.into_inner().unwrap().into_iter().for_each(Block::free);
}

/// Forks; the child runs `f` and ends.
fn fork(f: impl FnOnce()) -> libc::pid_t {
    // SAFETY: what the child does is what is tested: all of it is promised to work.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        child::watchdog(seconds(CHILD_SECONDS));
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        // SAFETY: ends the child without the parent's exit handlers.
        unsafe { libc::_exit(i32::from(ran.is_err())) };
    }
    pid
}

/// Waits for a child, which must have ended well.
fn wait(pid: libc::pid_t) {
    let mut status = 0;
    // SAFETY: `status` is a valid place to write.
    while unsafe { libc::waitpid(pid, &mut status, 0) } != pid {
        let error = std::io::Error::last_os_error();
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "{error}");
    }
    assert_eq!(status, 0, "a child ended with status {status:#x}");
}

/// Uses every class and gives up the parent's blocks.
fn live_on(sizes: &[usize], parents: Vec<Block>) {
    let blocks: Vec<Block> = sizes.iter().map(|&size| Block::new(size)).collect();
    parents.into_iter().for_each(Block::free);
    blocks.into_iter().for_each(Block::free);
    let again: Vec<Block> = sizes.iter().rev().map(|&size| Block::new(size)).collect();
    again.into_iter().for_each(Block::free);
}

#[test]
fn children_of_a_busy_process_allocate_and_fork_again() {
    alone("children_of_a_busy_process_allocate_and_fork_again", || {
        let sizes = every_class();
        among_threads(|| {
            let rounds = if child::is_guarded() { 60 } else { 300 };
            for round in 0..rounds {
                child::goes_on(seconds(60));
                let parents: Vec<Block> = sizes.iter().map(|&size| Block::new(size)).collect();
                let pid = fork(|| {
                    let copies = parents.iter().map(|block| Block { ..*block }).collect();
                    live_on(&sizes, copies);
                    let mine: Vec<Block> = sizes.iter().map(|&size| Block::new(size)).collect();
                    let pid = fork(|| {
                        live_on(
                            &sizes,
                            mine.iter().map(|block| Block { ..*block }).collect(),
                        )
                    });
                    mine.into_iter().for_each(Block::free);
                    wait(pid);
                    assert_eq!(PyMalloc.stats().threads, 1);
                    if round % 10 == 0 {
                        // A child may have threads of its own, and give memory back.
                        std::thread::scope(|scope| {
                            (0..3).for_each(|_| drop(scope.spawn(|| live_on(&sizes, Vec::new()))));
                        });
                        PyMalloc.collect();
                    }
                });
                parents.into_iter().for_each(Block::free);
                wait(pid);
            }
        });
    });
}

#[test]
fn several_threads_fork_at_once() {
    alone("several_threads_fork_at_once", || {
        let sizes = every_class();
        let forks = if child::is_guarded() { 10 } else { 40 };
        among_threads(|| {
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        (0..forks).for_each(|_| {
                            child::goes_on(seconds(60));
                            wait(fork(|| live_on(&sizes, Vec::new())))
                        })
                    });
                }
            });
        });
    });
}

#[test]
fn a_process_forks_while_it_gives_memory_back() {
    alone("a_process_forks_while_it_gives_memory_back", || {
        let sizes = every_class();
        let stop = AtomicBool::new(false);
        among_threads(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        PyMalloc.collect();
                        let _ = PyMalloc.stats();
                    }
                });
                let forks = if child::is_guarded() { 20 } else { 60 };
                (0..forks).for_each(|_| {
                    child::goes_on(seconds(60));
                    wait(fork(|| live_on(&sizes, Vec::new())))
                });
                stop.store(true, Ordering::Relaxed);
            });
        });
    });
}

static FORKS: AtomicUsize = AtomicUsize::new(0);
/// Handlers that have come to their end.
static HANDLED: AtomicUsize = AtomicUsize::new(0);

/// Forks wherever the signal hits; the child, as one that writes a crash report, does not allocate.
extern "C" fn fork_here(_: i32) {
    // SAFETY: the child ends at once; the parent waits for it.
    unsafe {
        let saved = *libc::__errno_location();
        let pid = libc::fork();
        if pid == 0 {
            libc::_exit(0);
        }
        let mut status = 1;
        while libc::waitpid(pid, &mut status, 0) < 0 {}
        if status == 0 {
            FORKS.fetch_add(1, Ordering::Relaxed);
        }
        *libc::__errno_location() = saved;
    }
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// One thread makes blocks, is hit by signals whose handler forks, and hands the blocks to others, which
/// free them into its heap: its lock is wanted all the time.
#[test]
fn a_fork_inside_a_signal_handler_neither_hangs_nor_breaks_the_heap() {
    alone(
        "a_fork_inside_a_signal_handler_neither_hangs_nor_breaks_the_heap",
        || {
            let (stop, pass) = (AtomicBool::new(false), std::sync::Mutex::new(Vec::new()));
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        while !stop.load(Ordering::Relaxed) {
                            let blocks: Vec<Block> = std::mem::take(&mut pass.lock().unwrap());
                            blocks.into_iter().for_each(Block::free);
                        }
                    });
                }
                // SAFETY: the handler calls what may be called in one, but for fork's own handlers, ours.
                let target = unsafe {
                    let handler: extern "C" fn(i32) = fork_here;
                    libc::signal(libc::SIGUSR1, handler as libc::sighandler_t);
                    libc::pthread_self()
                };
                let stop = &stop;
                scope.spawn(move || {
                    let mut sent = 0;
                    while !stop.load(Ordering::Relaxed) {
                        std::thread::sleep(std::time::Duration::from_micros(50));
                        // With one waiting behind each, the target would never come to work.
                        if HANDLED.load(Ordering::Relaxed) < sent {
                            continue;
                        }
                        sent += 1;
                        // SAFETY: the target outlives this thread.
                        unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
                    }
                });
                let start = std::time::Instant::now();
                // Statistics of a heap with many pools hold its lock for long, so that signals hit inside.
                // Guarded ones are freed one by one, with a signal in each.
                let n = if child::is_guarded() { 5000 } else { 200_000 };
                let many: Vec<Block> = (0..n).map(|_| Block::new(200)).collect();
                while FORKS.load(Ordering::Relaxed) < 300 && start.elapsed().as_secs() < 20 {
                    child::goes_on(seconds(60));
                    let blocks: Vec<Block> = (0..1000).map(|_| Block::new(16)).collect();
                    pass.lock().unwrap().extend(blocks);
                    assert!(PyMalloc.stats().block_bytes > 0);
                }
                many.into_iter().for_each(Block::free);
                stop.store(true, Ordering::Relaxed);
            });
            pass.into_inner().unwrap().into_iter().for_each(Block::free);
            PyMalloc.collect();
            let least = if child::is_guarded() { 10 } else { 50 };
            assert!(FORKS.load(Ordering::Relaxed) >= least, "{FORKS:?} forks");
        },
    );
}

/// What holds all the tests above to an end.
#[test]
fn a_hang_ends_with_the_stacks_of_every_thread() {
    let test = "a_hang_ends_with_the_stacks_of_every_thread";
    if child::part().is_some() {
        child::no_core();
        child::watchdog(1);
        std::thread::spawn(waits_for_ever).join().unwrap();
    }
    let output = child::command(test, "hang").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    assert_eq!(signal, Some(libc::SIGALRM), "{said}");
    assert!(
        said.contains("waits_for_ever") && said.matches("Thread ").count() >= 2,
        "{said}"
    );
}

#[inline(never)]
fn waits_for_ever() {
    loop {
        std::thread::park();
    }
}
