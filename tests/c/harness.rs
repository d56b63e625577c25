//! Compiles the C and C++ programs of this folder and runs them, each under a watchdog.
//!
//! A program runs on an [`Arm`]: plain glibc (the control: a failure there is a bug of the test), our
//! library by preload, or our library passing through (`PYMALLOC=malloc`). A test file that wants this
//! says `#[path = "c/harness.rs"] mod harness;` and `mod support;`.
#![allow(dead_code)]

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Long enough for a busy machine; every program here needs seconds at most.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Which malloc serves the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    Glibc,
    Preload,
    PassThrough,
}

/// The library under test: ours, or the one named by `PYMALLOC_TEST_LIBRARY`.
pub fn library() -> PathBuf {
    match std::env::var_os("PYMALLOC_TEST_LIBRARY") {
        Some(path) => path.into(),
        None => crate::support::preload_library(),
    }
}

/// A command that runs `program` on `arm`. The options of our library in this process's environment
/// hold for it too, so the whole suite can be run under `PYMALLOC=debug`.
pub fn command(arm: Arm, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_remove("LD_PRELOAD").env_remove("TEST_ARM");
    if arm != Arm::Glibc {
        command.env("LD_PRELOAD", library());
        command.env(
            "TEST_ARM",
            if arm == Arm::Preload {
                "preload"
            } else {
                "pass"
            },
        );
    }
    if arm == Arm::PassThrough {
        command.env("PYMALLOC", "malloc");
    }
    command
}

/// How a program ended and what it wrote.
#[derive(Debug)]
pub struct Run {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Exit status 0, or a panic with all that is known.
    pub fn succeeded(self, what: &str) -> Run {
        assert!(
            self.status.success(),
            "{what}: {}\n--- stdout\n{}--- stderr\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Ended by abort().
    pub fn aborted(&self) -> bool {
        self.status.signal() == Some(libc::SIGABRT)
    }
}

fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c");
    fs::create_dir_all(&folder).expect("the scratch folder can be made");
    folder.join(format!("{}.{count}.{name}", std::process::id()))
}

/// Compiles `sources` (in tests/c) to `name`, once per test binary. `flags` come after the sources.
///
/// # Panics
/// If the compiler is missing or refuses a source, warnings included.
pub fn build(name: &str, sources: &[&str], flags: &[&str]) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut built = BUILT
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let built = built.get_or_insert_with(HashMap::new);
    if let Some(path) = built.get(name) {
        return path.clone();
    }
    let cxx = sources.iter().any(|source| source.ends_with(".cpp"));
    let made = scratch(name);
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c");
    let output = Command::new(if cxx { "g++" } else { "gcc" })
        .arg(if cxx { "-std=gnu++17" } else { "-std=gnu11" })
        .args([
            "-D_GNU_SOURCE",
            "-O1",
            "-g",
            "-fno-builtin",
            "-fno-omit-frame-pointer",
            "-pthread",
        ])
        .args([
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wno-deprecated-declarations",
            "-Wno-format-truncation",
        ])
        .args(sources.iter().map(|source| here.join(source)))
        .arg("-o")
        .arg(&made)
        .args(flags)
        .arg("-ldl")
        .output()
        .expect("gcc and g++ are installed");
    assert!(
        output.status.success(),
        "{name} does not compile:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Renamed into place, so that another test process never runs half a program.
    let path = made.with_file_name(name);
    fs::rename(&made, &path).expect("a file can be renamed within a folder");
    built.insert(name.to_owned(), path.clone());
    path
}

/// Builds `name` as a shared object.
pub fn build_shared(name: &str, sources: &[&str], flags: &[&str]) -> PathBuf {
    build(name, sources, &[&["-shared", "-fPIC"], flags].concat())
}

/// The names `program --list` prints.
pub fn cases(program: &Path) -> Vec<String> {
    let mut command = command(Arm::Glibc, program);
    command.arg("--list");
    let listed = run(command, LIMIT).succeeded("--list").stdout;
    listed.lines().map(str::to_owned).collect()
}

/// Runs `command` to its end, in a process group of its own that is gone afterwards. `PYMALLOC_TEST_PATIENCE`, a whole
/// number, says how many times as long as usual it may take.
///
/// # Panics
/// If it does not end within `limit`: then with the stacks of every process of the group.
pub fn run(mut command: Command, limit: Duration) -> Run {
    let patience = std::env::var("PYMALLOC_TEST_PATIENCE").ok();
    let limit = limit * patience.map_or(1, |text| text.parse().expect("a whole number above 0"));
    let (out, err) = (scratch("stdout"), scratch("stderr"));
    command
        .stdin(Stdio::null())
        .stdout(File::create(&out).expect("a file for stdout"))
        .stderr(File::create(&err).expect("a file for stderr"))
        .process_group(0);
    // SAFETY: setrlimit is async-signal-safe and reads a struct on this stack.
    unsafe {
        command.pre_exec(|| {
            let none = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            Ok(())
        });
    }
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let group = child.id().cast_signed();
    let hung = !ends_within(&child, limit);
    let stacks = if hung {
        stacks_of_group(group)
    } else {
        String::new()
    };
    // SAFETY: the leader is not reaped yet, so the group's number is still its own.
    unsafe { libc::kill(-group, libc::SIGKILL) };
    let status = child.wait().expect("our child can be waited for");
    let read = |path: &Path| {
        let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let _ = fs::remove_file(path);
        text
    };
    let run = Run {
        status,
        stdout: read(&out),
        stderr: read(&err),
    };
    assert!(!hung, "{command:?} hangs for {limit:?}\n{run:?}\n{stacks}");
    run
}

fn ends_within(child: &Child, limit: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        // SAFETY: all zeroes is a valid siginfo_t; WNOWAIT leaves the child to be reaped by its owner.
        let ended = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            libc::waitid(libc::P_PID, child.id(), &raw mut info, flags) == 0 && info.si_pid() != 0
        };
        if ended {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

/// All stacks of all processes of a group, by gdb if there is one, else by the kernel's word.
fn stacks_of_group(group: i32) -> String {
    let mut text = String::new();
    for entry in fs::read_dir("/proc").expect("/proc is mounted").flatten() {
        let Ok(process) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        // SAFETY: getpgid touches no memory of ours.
        if unsafe { libc::getpgid(process) } != group {
            continue;
        }
        text += &format!("=== process {process}\n");
        let gdb = Command::new("gdb")
            .args([
                "-nx",
                "-batch",
                "-ex",
                "set pagination off",
                "-ex",
                "thread apply all bt 25",
                "-p",
            ])
            .arg(process.to_string())
            .output();
        match gdb {
            Ok(output) => text += &String::from_utf8_lossy(&output.stdout),
            Err(_) => {
                let tasks = fs::read_dir(entry.path().join("task"))
                    .into_iter()
                    .flatten()
                    .flatten();
                for task in tasks {
                    let place = fs::read_to_string(task.path().join("wchan")).unwrap_or_default();
                    text += &format!("thread {:?} waits in {place}\n", task.file_name());
                }
            }
        }
    }
    text
}
