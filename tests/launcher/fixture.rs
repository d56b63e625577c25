//! The programs and libraries the launcher is tried on, built by gcc once for all tests of this binary.

use crate::support;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The folder with everything built; tests add files of their own under other names.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("launcher");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        gcc(&folder, "probe", "probe.c", &[]);
        gcc(&folder, "static", "probe.c", &["-static"]);
        gcc(
            &folder,
            "own_malloc",
            "probe.c",
            &["-DOWN_MALLOC", "-rdynamic", "-fno-builtin"],
        );
        gcc(&folder, "object", "probe.c", &["-c"]);
        gcc(
            &folder,
            "library.so",
            "library.c",
            &["-shared", "-fPIC", "-fno-builtin"],
        );
        gcc(
            &folder,
            "nothing.so",
            "probe.c",
            &["-shared", "-fPIC", "-fvisibility=hidden"],
        );
        folder
    })
}

/// A file of the folder.
pub fn file(name: &str) -> PathBuf {
    folder().join(name)
}

/// Compiles one of the sources beside this file.
pub fn gcc(folder: &Path, name: &str, source: &str, options: &[&str]) {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/launcher");
    let built = Command::new("gcc")
        .args(["-O1", "-o"])
        .arg(folder.join(name))
        .arg(sources.join(source))
        .args(options)
        .status();
    assert!(built.expect("gcc is installed").success(), "gcc {name}");
}

/// A new executable file of the folder.
pub fn executable(name: &str, content: &[u8]) -> PathBuf {
    let (content_file, path) = (file(&format!("{name}.content")), file(name));
    std::fs::write(&content_file, content).unwrap();
    copy(&content_file, &path);
    permit(&path, 0o755);
    path
}

/// Copies a file that will be executed. By a process of its own: a test of another thread that forked while
/// this one had the file open for writing would make its execution fail (ETXTBSY).
pub fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args([from, to]).status();
    assert!(copied.unwrap().success(), "cp {}", to.display());
}

/// A copy of the program `probe` with bytes of it changed.
pub fn patched(name: &str, of: &str, bytes: &[(usize, u8)]) -> PathBuf {
    let mut content = std::fs::read(file(of)).unwrap();
    for (at, byte) in bytes {
        content[*at] = *byte;
    }
    executable(name, &content)
}

/// Sets a file's permissions.
pub fn permit(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The launcher, told to use the stand-in library, free of what the environment of the tests holds.
pub fn pymalloc(words: &[&str]) -> Command {
    let mut command = Command::new(support::launcher());
    command
        .args(words)
        .env_remove("LD_PRELOAD")
        .env_remove("PYMALLOC_STATS_FILE");
    command
        .env_remove("FAKE_SUMMARY")
        .env("PYMALLOC_LIB", file("library.so"));
    command
}

/// `pymalloc run PROGRAM WORDS…`, plain or with `--stats`.
pub fn run(stats: bool, program: &Path, words: &[&str]) -> Command {
    let mut command = pymalloc(&["run"]);
    command
        .args(stats.then_some("--stats"))
        .arg("--")
        .arg(program)
        .args(words);
    command
}

/// What a process printed, as text.
pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs the command, which must print nothing, say exactly this on stderr and end with this status.
#[track_caller]
pub fn refuses(command: &mut Command, status: i32, message: &str) {
    let Output {
        status: ended,
        stdout,
        stderr,
    } = command.output().unwrap();
    assert_eq!(text(&stderr), format!("pymalloc: {message}\n"));
    assert_eq!(text(&stdout), "");
    assert_eq!(ended.code(), Some(status), "{ended}");
}
