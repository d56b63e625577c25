//! A program that serves, and what asks it.

use crate::support;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// A path of this test.
pub fn file(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        // Short, for the paths of sockets.
        let folder = std::env::temp_dir().join(format!("pms-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    });
    folder.join(name)
}

pub fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serving/waits.c")
}

/// The C program.
pub fn waits() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let program = file("waits");
        let status = Command::new("gcc")
            .args(["-O1", "-g", "-fno-inline", "-fno-builtin", "-pthread", "-o"])
            .arg(&program)
            .arg(source())
            .arg("-ldl")
            .status();
        assert!(status.expect("gcc").success());
        program
    })
}

/// The program by itself, with the library and a mode in its environment.
pub fn preloaded(mode: &str) -> Command {
    let mut command = Command::new(waits());
    command.env("LD_PRELOAD", support::preload_library());
    command.env("PYMALLOC", mode);
    command
}

/// The program by `pymalloc serve WORDS -- waits`.
pub fn launched(words: &[&str]) -> Command {
    let mut command = Command::new(support::launcher());
    command.arg("serve").args(words).arg("--").arg(waits());
    command.env("PYMALLOC_LIB", support::preload_library());
    command
}

/// One that is ready; killed when dropped.
pub struct Program {
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// What it said on standard error before it was ready.
    pub said: String,
}

impl Program {
    /// Starts it and waits until it is ready.
    pub fn start(command: &mut Command) -> Self {
        let errors = file(&format!("errors-{}", fresh()));
        let mut process = command
            .env_remove("PYMALLOC_CONF")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&errors).expect("a file"))
            .spawn()
            .expect("runs");
        let stdout = BufReader::new(process.stdout.take().expect("piped"));
        let stdin = process.stdin.take();
        let mut program = Self {
            process,
            stdin,
            stdout,
            said: String::new(),
        };
        let line = program.line();
        program.said = std::fs::read_to_string(&errors).expect("text");
        assert_eq!(line, "ready\n", "{}", program.said);
        program
    }

    /// Where it serves, as it said last: a script that becomes another program says it for each.
    pub fn place(&self) -> &str {
        let last = self.said.lines().last();
        let place = last.and_then(|line| line.strip_prefix("pymalloc: serving at "));
        place.unwrap_or_else(|| panic!("said: {}", self.said))
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        line
    }

    /// What it answers to a word.
    pub fn told(&mut self, word: &str) -> String {
        self.tell(word);
        self.line().trim_end().to_owned()
    }

    pub fn tell(&mut self, word: &str) {
        let stdin = self.stdin.as_mut().expect("open");
        writeln!(stdin, "{word}").expect("written");
    }

    /// Lets it end, which it does in time.
    pub fn end(mut self) {
        self.stdin = None;
        self.ends();
    }

    /// Waits for its end.
    pub fn ends(&mut self) {
        for _ in 0..1000 {
            if let Some(status) = self.process.try_wait().expect("waited for") {
                assert!(status.success(), "{status}");
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end");
    }

    pub fn kill(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("waited for");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A number that nobody had yet.
fn fresh() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
