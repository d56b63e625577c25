//! Tracing inside a process never hangs: while threads allocate at every depth, libraries come and go, the process
//! forks, threads are born and end, signals interrupt, and others look at what was traced.
//!
//! Each storm is a process of its own under a watchdog, which prints all stacks of it and of its children.

#[path = "support/child.rs"]
mod child;

use pymalloc::observe::{Region, tracemalloc};
use std::ffi::CString;
use std::fmt::Write;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

/// Seconds after which a storm counts as hung; it takes a few.
const LIMIT: u64 = 100;
const FORKS: u64 = 80;

/// A library for the storm named `part`.
fn library(part: &str, which: u64) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("storm_{part}_{which}.so"))
}

/// Runs a storm under the watchdog.
fn weather(test: &str, part: &str) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profile/plugin.c");
    for which in 0..2 {
        let mut gcc = Command::new("gcc");
        gcc.args(["-O1", "-shared", "-fPIC", "-o"])
            .arg(library(part, which))
            .arg(&source);
        assert!(gcc.status().expect("gcc runs").success());
    }
    let mut storm = child::command(test, part).spawn().expect("runs");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = storm.try_wait().expect("a child") {
            break status;
        }
        if start.elapsed() > Duration::from_secs(LIMIT) {
            let stacks = all_stacks(storm.id());
            let _ = storm.kill();
            panic!("{part}: hung for {LIMIT} s\n{stacks}");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{part}: {status}");
}

/// The stacks of all threads of a process and of its children.
fn all_stacks(pid: u32) -> String {
    let mut text = String::new();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let mut children: Vec<u32> = Vec::new();
    for task in tasks {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let _ = writeln!(text, "{:?} waits in {}", task.file_name(), read("wchan"));
        children.extend(
            read("children")
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    let gdb = Command::new("gdb")
        .args([
            "-nx",
            "-batch",
            "-ex",
            "thread apply all backtrace 40",
            "-p",
            &pid.to_string(),
        ])
        .output();
    match gdb {
        Ok(output) => text.push_str(&String::from_utf8_lossy(&output.stdout)),
        Err(error) => drop(writeln!(text, "no stacks without gdb: {error}")),
    }
    for child in children {
        let _ = writeln!(text, "child {child}:");
        text.push_str(&all_stacks(child));
    }
    text
}

static OVER: AtomicBool = AtomicBool::new(false);
static SERIAL: AtomicU64 = AtomicU64::new(1);

fn next(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    (*seed >> 33) as usize
}

/// Makes, resizes and frees blocks below `depth` frames.
#[inline(never)]
fn deep(depth: usize, seed: &mut u64) -> usize {
    if depth > 0 {
        let mut room = [depth; 8];
        let sum = deep(depth - 1, seed);
        return black_box(&mut room)[depth % 8] ^ sum;
    }
    let mut sum = 0;
    for _ in 0..50 {
        let mut block = vec![1u8; next(seed) % 2048];
        block.resize(next(seed) % 2048 + 1, 2);
        sum += black_box(&block).len();
    }
    sum
}

fn allocate() {
    let mut seed = SERIAL.fetch_add(1, Ordering::Relaxed);
    while !OVER.load(Ordering::Relaxed) {
        deep(next(&mut seed) % 40, &mut seed);
    }
}

extern "C" fn called_back() {
    let mut seed = SERIAL.fetch_add(1, Ordering::Relaxed);
    deep(3, &mut seed);
}

fn open_and_close(path: &Path) {
    let path = CString::new(path.as_os_str().as_encoded_bytes()).expect("no nul");
    while !OVER.load(Ordering::Relaxed) {
        // SAFETY: the library is the one built for this, and closed after its last use.
        unsafe {
            let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
            let through = libc::dlsym(handle, c"through".as_ptr());
            assert!(!through.is_null());
            let through: extern "C" fn(extern "C" fn()) = std::mem::transmute(through);
            through(called_back);
            libc::dlclose(handle);
        }
    }
}

fn short_lives() {
    while !OVER.load(Ordering::Relaxed) {
        let made = std::thread::spawn(|| vec![0u8; 300])
            .join()
            .expect("no panic");
        assert_eq!(made.len(), 300);
    }
}

/// Looks at what is traced; `again` also stops and begins anew.
fn look(again: impl Fn()) {
    for round in 0u64.. {
        if OVER.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(snapshot) = tracemalloc::take_snapshot() {
            let statistics = snapshot.statistics(tracemalloc::KeyType::Lineno, false);
            black_box(statistics.expect("statistics").len());
        }
        let (current, peak) = tracemalloc::get_traced_memory();
        assert!(current <= peak);
        match round % 8 {
            3 => tracemalloc::clear_traces(),
            7 => again(),
            _ => {}
        }
    }
}

extern "C" fn on_signal(_: libc::c_int) {
    // SAFETY: writes nothing.
    unsafe { libc::write(1, c"".as_ptr().cast(), 0) };
}

/// Forks; the child allocates under tracing, looks at it, and ends.
fn fork(round: u64) {
    // SAFETY: the child uses this library and its own stack, which is what is tested, and ends by `_exit`.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let mut seed = round;
            for depth in 0..20 {
                deep(depth, &mut seed);
            }
            let (current, peak) = tracemalloc::get_traced_memory();
            libc::_exit(i32::from(current > peak));
        }
        assert!(child > 0);
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        assert_eq!(status, 0, "the child of round {round}");
    }
}

fn storm(part: &str, begin: impl Fn() + Sync) {
    use std::os::unix::thread::JoinHandleExt;
    let handler: extern "C" fn(libc::c_int) = on_signal;
    // SAFETY: a handler that only writes.
    unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
    begin();
    let mut threads = vec![
        std::thread::spawn(allocate),
        std::thread::spawn(allocate),
        std::thread::spawn(short_lives),
    ];
    for which in 0..2 {
        let library = library(part, which);
        threads.push(std::thread::spawn(move || open_and_close(&library)));
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            look(|| {
                tracemalloc::stop();
                begin();
            });
        });
        for round in 0..FORKS {
            let thread = &threads[round as usize % threads.len()];
            // SAFETY: the thread is joined below.
            unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR1) };
            fork(round);
        }
        OVER.store(true, Ordering::Relaxed);
    });
    for thread in threads {
        thread.join().expect("no panic");
    }
}

#[test]
fn exact_tracing_survives_libraries_forks_threads_and_signals() {
    match child::part() {
        None => weather(
            "exact_tracing_survives_libraries_forks_threads_and_signals",
            "exact",
        ),
        Some(part) => storm(&part, || tracemalloc::start(16).expect("it starts")),
    }
}

#[test]
fn sampled_tracing_survives_libraries_forks_threads_and_signals() {
    match child::part() {
        None => weather(
            "sampled_tracing_survives_libraries_forks_threads_and_signals",
            "sampled",
        ),
        Some(part) => storm(&part, || {
            tracemalloc::start_sampled(16, 2048).expect("it starts");
        }),
    }
}

#[test]
fn tracing_beside_a_region_survives_libraries_forks_threads_and_signals() {
    match child::part() {
        None => weather(
            "tracing_beside_a_region_survives_libraries_forks_threads_and_signals",
            "region",
        ),
        Some(part) => {
            let region = Region::new();
            storm(&part, || tracemalloc::start(1).expect("it starts"));
            assert!(region.counts().allocated.blocks > 0);
        }
    }
}
