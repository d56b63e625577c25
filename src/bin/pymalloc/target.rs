//! Which program would run, and whether the loader would preload a library into it.
//!
//! ```text
//! NAME ─(PATH)─▶ file ─┬─ ELF ──────────────────────────────▶ image, checked
//!                      ├─ #!INTERPRETER ──▶ file … (as the kernel, at most 5 deep)
//!                      ├─ #!…/env NAME ───▶ NAME …
//!                      └─ text without #! ─▶ /bin/sh (as execvp)
//! ```
//!
//! The loader ignores `LD_PRELOAD` without a word when there is no loader (a static executable), when the
//! library was built for another machine, and in secure mode (setuid and its relatives; ld.so(8), "secure
//! execution"). A user who asked for our allocator must hear of it, so each of these is an error here.

use crate::elf::{self, Elf};
use crate::system;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Interpreters of interpreters that Linux follows before it gives up (`bprm_execve`).
const MAX_INTERPRETERS: usize = 5;

/// Bytes of a script's first line that Linux looks at (`BINPRM_BUF_SIZE`).
const FIRST_LINE_BYTES: u64 = 256;

/// A program that can be run with a preloaded library.
#[derive(Debug)]
pub struct Target {
    /// What to execute: the executable or the script.
    pub file: PathBuf,
    /// True when the executable exports a `malloc` of its own, before which no library's comes.
    pub own_malloc: bool,
}

/// A program that cannot be run, or not with a preloaded library.
#[derive(Debug)]
pub struct TargetError {
    /// As the user named it, or where `PATH` led.
    program: PathBuf,
    /// The interpreter that is at fault, when `program` is a script.
    interpreter: Option<PathBuf>,
    /// What is wrong with whichever is at fault.
    problem: Problem,
}

/// What is wrong with an executable file.
#[derive(Debug)]
enum Problem {
    /// A bare name that no folder of `PATH` holds.
    NotInPath,
    /// A path that leads nowhere.
    Missing,
    /// A folder.
    Directory,
    /// No permission to execute, or no regular file.
    NotExecutable,
    /// Neither an ELF executable nor text.
    NotAProgram,
    /// Scripts of scripts beyond [`MAX_INTERPRETERS`].
    TooManyInterpreters,
    /// The executable asks for this loader, which is not there.
    NoLoader(PathBuf),
    /// The system refuses to show it.
    Unreachable(io::Error),
    /// There is no loader to preload anything.
    Static,
    /// Built for this machine, the library for ours.
    ForeignMachine(String),
    /// Linked against another C library than ours.
    ForeignLoader {
        /// Its loader.
        its: PathBuf,
        /// The one our library needs.
        ours: PathBuf,
    },
    /// The kernel would start it in secure mode, for this reason.
    Privileged(&'static str),
}

impl TargetError {
    /// A shell's status for the case, 1 where the program would run, but not on our allocator.
    pub fn status(&self) -> i32 {
        match self.problem {
            Problem::NotInPath | Problem::Missing | Problem::NoLoader(_) => 127,
            Problem::Directory
            | Problem::NotExecutable
            | Problem::NotAProgram
            | Problem::TooManyInterpreters
            | Problem::Unreachable(_) => 126,
            _ => 1,
        }
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.program.display())?;
        if let Some(interpreter) = &self.interpreter {
            write!(out, "its interpreter {}: ", interpreter.display())?;
        }
        self.problem.fmt(out)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NotInPath => write!(out, "no such program in PATH"),
            Problem::Missing => write!(out, "no such program"),
            Problem::Directory => write!(out, "is a directory"),
            Problem::NotExecutable => write!(out, "not executable"),
            Problem::NotAProgram => write!(out, "neither an executable nor a script"),
            Problem::TooManyInterpreters => {
                write!(
                    out,
                    "more than {MAX_INTERPRETERS} interpreters follow each other"
                )
            }
            Problem::NoLoader(loader) => {
                write!(out, "its loader {} does not exist", loader.display())
            }
            Problem::Unreachable(error) => write!(out, "cannot be examined: {error}"),
            Problem::Static => {
                write!(
                    out,
                    "statically linked, so no loader would preload libpymalloc.so"
                )
            }
            Problem::ForeignMachine(machine) => write!(
                out,
                "built for {machine}, so the loader would ignore libpymalloc.so, built for {}",
                elf::native_machine()
            ),
            Problem::ForeignLoader { its, ours } => write!(
                out,
                "uses the loader {}, libpymalloc.so was built for {}",
                its.display(),
                ours.display()
            ),
            Problem::Privileged(how) => write!(
                out,
                "runs with privileges ({how}), so the loader would ignore LD_PRELOAD"
            ),
        }
    }
}

/// Finds the program the user named and checks it, down to the image that will run.
pub fn resolve(name: &OsStr) -> Result<Target, TargetError> {
    let file = look_up(name).map_err(|(program, problem)| TargetError {
        program,
        interpreter: None,
        problem,
    })?;
    match image_of(&file) {
        Ok(own_malloc) => Ok(Target { file, own_malloc }),
        Err((image, problem)) => Err(TargetError {
            interpreter: (image != file).then_some(image),
            program: file,
            problem,
        }),
    }
}

/// A path as it is; a bare name by `PATH`, as execvp(3) does.
fn look_up(name: &OsStr) -> Result<PathBuf, (PathBuf, Problem)> {
    if name.as_bytes().contains(&b'/') {
        return Ok(name.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut refused = None;
    for folder in std::env::split_paths(&path) {
        let folder = if folder.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            folder
        };
        let file = folder.join(name);
        match executable(&file) {
            Ok(_) => return Ok(file),
            Err(Problem::NotExecutable) => refused = refused.or(Some(file)),
            _ => {}
        }
    }
    Err(match refused {
        Some(file) => (file, Problem::NotExecutable),
        None => (name.into(), Problem::NotInPath),
    })
}

/// The file's metadata, if this user may execute it.
fn executable(file: &Path) -> Result<Metadata, Problem> {
    let metadata = std::fs::metadata(file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Problem::Missing,
        _ => Problem::Unreachable(error),
    })?;
    if metadata.is_dir() {
        return Err(Problem::Directory);
    }
    if !metadata.is_file() || !system::may_execute(file) {
        return Err(Problem::NotExecutable);
    }
    Ok(metadata)
}

/// Follows scripts to the ELF image and checks it; whether it has a malloc of its own. The error names the
/// file at fault.
fn image_of(file: &Path) -> Result<bool, (PathBuf, Problem)> {
    let mut file = file.to_owned();
    for _ in 0..=MAX_INTERPRETERS {
        let next = match executable(&file).and_then(|metadata| examine(&file, &metadata)) {
            Ok(Examined::Image { own_malloc }) => return Ok(own_malloc),
            Ok(Examined::Script { interpreter }) => interpreter,
            Err(problem) => return Err((file, problem)),
        };
        file = match next {
            Interpreter::File(file) => file,
            Interpreter::Env { env, name } => {
                executable(&env).map_err(|problem| (env, problem))?;
                look_up(&name)?
            }
        };
    }
    Err((file, Problem::TooManyInterpreters))
}

/// What an executable file turned out to be.
enum Examined {
    /// An ELF executable that passed every check, or one that may be run but not read.
    Image {
        /// As [`Target::own_malloc`].
        own_malloc: bool,
    },
    /// Text, for another program to run.
    Script {
        /// That program.
        interpreter: Interpreter,
    },
}

/// What runs a script.
#[derive(Debug, PartialEq)]
enum Interpreter {
    /// The file at this path.
    File(PathBuf),
    /// `env`, which looks the name up in `PATH` and becomes it.
    Env {
        /// `env` itself.
        env: PathBuf,
        /// The name it is given.
        name: OsString,
    },
}

/// Tells ELF from text, and makes every check of an ELF image.
fn examine(file: &Path, metadata: &Metadata) -> Result<Examined, Problem> {
    let elf = match Elf::open(file) {
        // Execute permission without read permission: nothing can be said, so nothing is refused.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(Examined::Image { own_malloc: false });
        }
        Err(error) => return Err(Problem::Unreachable(error)),
        Ok(None) => return script(file).map(|interpreter| Examined::Script { interpreter }),
        Ok(Some(elf)) => elf,
    };
    if let Some(machine) = elf.foreign_machine() {
        return Err(Problem::ForeignMachine(machine));
    }
    if !elf.is_loadable() {
        return Err(Problem::NotAProgram);
    }
    let loader = elf.interpreter().map_err(Problem::Unreachable)?;
    let loader = loader.ok_or(Problem::Static)?;
    if !loader.exists() {
        return Err(Problem::NoLoader(loader));
    }
    if let Some(ours) = launchers_loader().filter(|ours| ours.file_name() != loader.file_name()) {
        return Err(Problem::ForeignLoader { its: loader, ours });
    }
    if let Some(how) = privileges(file, metadata) {
        return Err(Problem::Privileged(how));
    }
    let own_malloc = elf.exports(&["malloc"]).unwrap_or(false);
    Ok(Examined::Image { own_malloc })
}

/// The launcher's own loader, which is that of the C library its libpymalloc.so was built with; `None` when
/// the launcher is static, and then any may be right.
fn launchers_loader() -> Option<PathBuf> {
    let launcher = Elf::open(Path::new("/proc/self/exe")).ok()??;
    launcher.interpreter().ok()?
}

/// Why the kernel would start this executable in secure mode (`AT_SECURE`, getauxval(3)), if it would.
fn privileges(file: &Path, metadata: &Metadata) -> Option<&'static str> {
    let ids = system::ids();
    let mode = metadata.permissions().mode();
    let honoured = system::honours_setuid(file);
    // A set-group-ID bit without group execution marks mandatory locking.
    let setgid = mode & 0o2010 == 0o2010;
    if honoured && mode & 0o4000 != 0 && metadata.uid() != ids.real_uid {
        Some("setuid")
    } else if honoured && setgid && metadata.gid() != ids.real_gid {
        Some("setgid")
    } else if honoured && ids.real_uid != 0 && system::has_capabilities(file) {
        Some("file capabilities")
    } else if ids.are_switched() {
        Some("real and effective user differ")
    } else {
        None
    }
}

/// Reads a script's first line.
fn script(file: &Path) -> Result<Interpreter, Problem> {
    let mut start = Vec::new();
    let opened = std::fs::File::open(file);
    opened
        .and_then(|file| file.take(FIRST_LINE_BYTES).read_to_end(&mut start))
        .map_err(Problem::Unreachable)?;
    let line = start
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    if line.contains(&0) {
        return Err(Problem::NotAProgram);
    }
    let sh = Interpreter::File("/bin/sh".into());
    Ok(line
        .strip_prefix(b"#!")
        .and_then(interpreter_of)
        .unwrap_or(sh))
}

/// The interpreter a first line names after `#!`; `None` when it names none.
fn interpreter_of(line: &[u8]) -> Option<Interpreter> {
    let mut words = line
        .split(|byte| b" \t\r".contains(byte))
        .filter(|word| !word.is_empty());
    let file = PathBuf::from(os_string(words.next()?));
    if file.file_name() != Some(OsStr::new("env")) {
        return Some(Interpreter::File(file));
    }
    let words = words.skip_while(|word| [&b"-S"[..], b"--split-string"].contains(word));
    let mut words = words.skip_while(|word| word.contains(&b'='));
    Some(match words.next() {
        // Another option of env: what it runs is for env to say.
        Some(name) if name[0] != b'-' => Interpreter::Env {
            env: file,
            name: os_string(name),
        },
        _ => Interpreter::File(file),
    })
}

/// Bytes of a path as a path wants them.
fn os_string(word: &[u8]) -> OsString {
    OsString::from_vec(word.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_is_read_as_the_kernel_and_env_read_it() {
        let file = |path: &str| Some(Interpreter::File(path.into()));
        let env = |name: &str| {
            Some(Interpreter::Env {
                env: "/usr/bin/env".into(),
                name: name.into(),
            })
        };
        for (line, expected) in [
            ("/bin/sh", file("/bin/sh")),
            (" \t/bin/sh -e", file("/bin/sh")),
            ("", None),
            ("  ", None),
            ("/usr/bin/env python3", env("python3")),
            ("/usr/bin/env -S python3 -u", env("python3")),
            ("/usr/bin/env -S A=1 B=2 python3", env("python3")),
            ("/usr/bin/env -i python3", file("/usr/bin/env")),
            ("/usr/bin/env", file("/usr/bin/env")),
        ] {
            assert_eq!(interpreter_of(line.as_bytes()), expected, "{line}");
        }
    }
}
