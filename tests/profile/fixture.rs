//! Programs to record, and what the launcher makes of them.

use crate::recording::decode::Step;
use crate::recording::read::{Contents, read, tail_of};
use crate::support;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("profile");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    })
}

/// A file of this test.
pub fn file(name: &str) -> PathBuf {
    folder().join(name)
}

fn source(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profile");
    folder.join(name)
}

fn built(name: &str, compiler: &str, options: &[&str], from: &str) -> PathBuf {
    let program = file(name);
    let mut command = Command::new(compiler);
    command.args(options).arg("-o").arg(&program);
    let status = command.arg(source(from)).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{compiler} {from}"
    );
    program
}

/// A program or library of C.
pub fn built_with(name: &str, from: &str, options: &[&str]) -> PathBuf {
    let program = file(name);
    let mut command = Command::new("gcc");
    command.arg("-o").arg(&program).arg(source(from));
    // Libraries come after what needs them.
    let status = command.args(options).status();
    assert!(status.is_ok_and(|status| status.success()), "gcc {from}");
    program
}

/// The C program.
pub fn leak() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let options = ["-O1", "-g", "-fno-inline", "-fno-builtin"];
    BUILT
        .get_or_init(|| built("leak", "gcc", &options, "leak.c"))
        .clone()
}

/// The Rust program.
pub fn threads() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let options = ["--edition=2021", "-O", "-g"];
    BUILT
        .get_or_init(|| built("threads", "rustc", &options, "threads.rs"))
        .clone()
}

/// The line of a source that holds a comment.
pub fn line_of(name: &str, comment: &str) -> usize {
    let text = std::fs::read_to_string(source(name)).expect("a source");
    let holds = |line: &&str| {
        line.ends_with(&format!("/* {comment} */")) || line.ends_with(&format!("// {comment}"))
    };
    text.lines()
        .position(|line| holds(&line))
        .expect("the comment")
        + 1
}

/// How reports name a line.
pub fn place(name: &str, line: usize) -> String {
    format!("{}:{line}", source(name).display())
}

/// The launcher with the library of the same build.
pub fn pymalloc(words: &[&str]) -> Command {
    let mut command = Command::new(support::launcher());
    command.args(words).env_remove("LD_PRELOAD");
    command.env("PYMALLOC_LIB", support::preload_library());
    command
}

/// What `pymalloc report WORDS` prints of a recording.
pub fn report(words: &[&str], path: &Path) -> String {
    let output = pymalloc(&["report"])
        .args(words)
        .arg(path)
        .output()
        .expect("runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// A program that was run and recorded.
pub struct Run {
    /// The recording.
    pub path: PathBuf,
    /// What the launcher printed and how it ended.
    pub output: Output,
}

impl Run {
    /// `pymalloc COMMAND -o NAME -- PROGRAM WORDS`.
    pub fn with(
        name: &str,
        command: &[&str],
        program: &Path,
        words: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let path = file(&format!("{name}.pmrec"));
        let mut line = pymalloc(command);
        line.arg("-o").arg(&path).arg("--").arg(program).args(words);
        prepare(&mut line);
        let output = line.output().expect("runs");
        Self { path, output }
    }

    pub fn record(name: &str, program: &Path, words: &[&str]) -> Self {
        Self::with(name, &["record"], program, words, |_| {})
    }

    pub fn profile(name: &str, program: &Path, words: &[&str]) -> Self {
        Self::with(name, &["profile"], program, words, |_| {})
    }

    pub fn record_into(path: &Path, program: &Path) -> Self {
        let mut line = pymalloc(&["record", "-o"]);
        let output = line
            .arg(path)
            .arg("--")
            .arg(program)
            .output()
            .expect("runs");
        let path = path.to_owned();
        Self { path, output }
    }

    /// What the program printed; it ended well.
    #[track_caller]
    pub fn succeeds(&self) -> String {
        assert!(self.output.status.success(), "{:?}", self.output);
        assert!(!tail_of(&self.path).exists(), "the tail is gone");
        String::from_utf8(self.output.stdout.clone()).expect("text")
    }

    /// Whether the launcher said so on stderr.
    pub fn said(&self, words: &str) -> bool {
        String::from_utf8_lossy(&self.output.stderr).contains(words)
    }
}

/// All events of a recording.
pub fn steps_of(path: &Path) -> (Vec<Step>, Contents) {
    let mut steps = Vec::new();
    let contents = read(path, |step| steps.push(*step)).expect("a recording");
    (steps, contents)
}

/// Recordings of other processes beside this one.
pub fn others(path: &Path) -> Vec<PathBuf> {
    let start = format!("{}.", path.file_name().expect("a name").display());
    let entries = std::fs::read_dir(folder()).expect("the folder");
    let names = entries.map(|entry| entry.expect("an entry").path());
    let is_other = |path: &PathBuf| {
        let name = path.file_name().expect("a name").display().to_string();
        name.starts_with(&start)
    };
    names.filter(is_other).collect()
}
