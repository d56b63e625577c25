//! Which `libpymalloc.so` to preload, and whether it is one.
//!
//! The first of these that is there is taken: `--lib`, the environment's `PYMALLOC_LIB`, the launcher's own
//! folder, `deps/` in it (`cargo run --bin` leaves the library only there). Then it must prove itself: a
//! library built without the feature `preload` has the same name and exports nothing, and every program
//! would run as if nothing had been asked.

use crate::elf::{self, Elf};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Its file name.
const NAME: &str = "libpymalloc.so";

/// What it exports when it was built to be preloaded: the function to replace, and our own mark.
const EXPORTS: [&str; 2] = ["malloc", "pymalloc_is_in_charge"];

/// How to get one.
const BUILD: &str = "build it with: cargo build --release --features preload";

/// No usable library.
#[derive(Debug)]
pub enum LibraryError {
    /// Nothing was named, and nothing lies in or below this folder.
    NotFound(PathBuf),
    /// The one that was named or found does not do.
    Unusable {
        /// Which.
        path: PathBuf,
        /// Who named it: ` (from --lib)`, ` (from PYMALLOC_LIB)` or nothing.
        source: &'static str,
        /// What is wrong.
        problem: LibraryProblem,
    },
}

/// What is wrong with a library.
#[derive(Debug)]
pub enum LibraryProblem {
    /// It is not there.
    Missing,
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is no ELF shared library.
    NotALibrary,
    /// It was built for this other machine.
    ForeignMachine(String),
    /// It does not export [`EXPORTS`].
    ExportsNothing,
    /// Its path would fall apart in `LD_PRELOAD`.
    Separator,
}

impl fmt::Display for LibraryError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LibraryError::NotFound(folder) => {
                let folder = folder.display();
                write!(out, "no {NAME} in {folder} or {folder}/deps; {BUILD}")
            }
            LibraryError::Unusable {
                path,
                source,
                problem,
            } => {
                write!(out, "{}{source}: {problem}", path.display())
            }
        }
    }
}

impl fmt::Display for LibraryProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LibraryProblem::Missing => write!(out, "no such library; {BUILD}"),
            LibraryProblem::Unreadable(error) => write!(out, "cannot read the library: {error}"),
            LibraryProblem::NotALibrary => write!(out, "not a shared library; {BUILD}"),
            LibraryProblem::ForeignMachine(machine) => write!(
                out,
                "built for {machine}, programs here need {}; {BUILD}",
                elf::native_machine()
            ),
            LibraryProblem::ExportsNothing => write!(
                out,
                "exports no malloc or no {}, as when built without the feature preload; {BUILD}",
                EXPORTS[1]
            ),
            LibraryProblem::Separator => write!(
                out,
                "the path holds a space or a colon, which part the entries of LD_PRELOAD; copy the library elsewhere"
            ),
        }
    }
}

/// The library to preload, as an absolute path that is safe in `LD_PRELOAD`.
pub fn find(named: Option<&Path>) -> Result<PathBuf, LibraryError> {
    if let Some(path) = named {
        return checked(path, " (from --lib)");
    }
    match std::env::var_os("PYMALLOC_LIB") {
        Some(path) if !path.is_empty() => checked(Path::new(&path), " (from PYMALLOC_LIB)"),
        _ => checked(&beside_launcher()?, ""),
    }
}

/// The library in the launcher's folder, or in `deps/` there.
fn beside_launcher() -> Result<PathBuf, LibraryError> {
    let launcher = std::env::current_exe().unwrap_or_default();
    let folder = launcher.parent().unwrap_or(Path::new("."));
    let places = [folder.join(NAME), folder.join("deps").join(NAME)];
    let found = places.into_iter().find(|path| path.exists());
    found.ok_or_else(|| LibraryError::NotFound(folder.to_owned()))
}

/// The absolute path, if [`check`] finds nothing and `LD_PRELOAD` can hold it.
fn checked(path: &Path, source: &'static str) -> Result<PathBuf, LibraryError> {
    let unusable = |problem| LibraryError::Unusable {
        path: path.to_owned(),
        source,
        problem,
    };
    check(path).map_err(unusable)?;
    // The program may change its folder before it starts another.
    let path = std::path::absolute(path).map_err(|e| unusable(LibraryProblem::Unreadable(e)))?;
    if path
        .as_os_str()
        .as_bytes()
        .iter()
        .any(|byte| b" \t\n:".contains(byte))
    {
        return Err(unusable(LibraryProblem::Separator));
    }
    Ok(path)
}

/// Reads the file as far as needed to know that the loader takes it and that it is ours.
fn check(path: &Path) -> Result<(), LibraryProblem> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => LibraryProblem::Missing,
        io::ErrorKind::InvalidData => LibraryProblem::NotALibrary,
        _ => LibraryProblem::Unreadable(error),
    };
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(LibraryProblem::NotALibrary);
    }
    let elf = Elf::open(path).map_err(unreadable)?;
    let elf = elf.ok_or(LibraryProblem::NotALibrary)?;
    if let Some(machine) = elf.foreign_machine() {
        return Err(LibraryProblem::ForeignMachine(machine));
    }
    if !elf.is_shared() {
        return Err(LibraryProblem::NotALibrary);
    }
    match elf.exports(&EXPORTS).map_err(unreadable)? {
        true => Ok(()),
        false => Err(LibraryProblem::ExportsNothing),
    }
}
