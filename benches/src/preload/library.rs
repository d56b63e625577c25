//! Finds the libraries to preload, and checks that each really replaces `malloc`: a library that does not
//! would silently be the C library under another name.

use super::peers;
use crate::cli::RunArgs;
use crate::session::{folder, workspace};
use pymalloc_bench::catalogue::{OURS, OURS_AGAIN};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The column without a library.
pub const GLIBC: &str = "glibc";

/// A column.
#[derive(Debug)]
pub struct Library {
    /// Its name.
    pub name: String,
    /// What is preloaded; `None` for the C library itself.
    pub path: Option<PathBuf>,
}

/// Peers from packages: column, file, Debian package.
const PEERS: [(&str, &[&str], &str); 3] = [
    (
        "mimalloc",
        &[
            "libmimalloc.so.3",
            "libmimalloc.so.2",
            "libmimalloc.so.2.0",
            "libmimalloc.so",
        ],
        "libmimalloc2.0",
    ),
    ("jemalloc", &["libjemalloc.so.2"], "libjemalloc2"),
    (
        "tcmalloc",
        &["libtcmalloc_minimal.so.4"],
        "libtcmalloc-minimal4",
    ),
];

/// Where packages put libraries.
const FOLDERS: [&str; 6] = [
    "/usr/local/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/lib64",
];

/// Names of all columns, whether their libraries are installed or not.
pub fn names(so: &[String]) -> Vec<String> {
    let given = so.iter().filter_map(|so| Some(so.split_once('=')?.0));
    [GLIBC]
        .into_iter()
        .chain(PEERS.map(|(name, _, _)| name))
        .chain(peers::MADE)
        .chain([OURS, OURS_AGAIN])
        .chain(given)
        .map(str::to_owned)
        .collect()
}

/// Every library there is: glibc, the peers, the one built here, `--so`.
///
/// # Errors
/// When a `--so` is malformed, missing, or replaces nothing.
pub fn find(
    args: &RunArgs,
    inputs: &Path,
    left_out: &mut Vec<String>,
) -> Result<Vec<Library>, String> {
    let owner = compile_owner(inputs)?;
    let mut given = Vec::new();
    for so in &args.so {
        let library = parse(so)?;
        check(&library, &owner)?;
        given.push(library);
    }
    let is_given = |name: &str| given.iter().any(|l| l.name == name);
    let checked = |name: &str, path: PathBuf| {
        let library = Library {
            name: name.into(),
            path: Some(path),
        };
        check(&library, &owner).map(|()| library)
    };
    let mut found = vec![Library {
        name: GLIBC.into(),
        path: None,
    }];
    let mut add = |library: Result<Library, String>| match library {
        Ok(library) => found.push(library),
        Err(why) => left_out.push(why),
    };
    for (name, files, package) in PEERS.into_iter().filter(|peer| !is_given(peer.0)) {
        add(packaged(name, files, package).and_then(|path| checked(name, path)));
    }
    let wanted = |name: &&str| !is_given(name) && args.common.is_chosen(name);
    for name in peers::MADE.into_iter().filter(wanted) {
        add(peers::make(name, !args.no_build).and_then(|path| checked(name, path)));
    }
    if !is_given(OURS) {
        let path = if args.no_build { built()? } else { build()? };
        // A report about ours without ours is none.
        found.push(checked(OURS, path)?);
    }
    found.extend(given);
    if let Some(ours) = found.iter().find(|l| l.name == OURS) {
        let again = Library {
            name: OURS_AGAIN.into(),
            path: ours.path.clone(),
        };
        found.push(again);
    }
    for (i, library) in found.iter().enumerate() {
        if found[..i].iter().any(|other| other.name == library.name) {
            return Err(format!("--so {}: the name is given twice", library.name));
        }
    }
    Ok(found)
}

/// The library of a package.
fn packaged(name: &str, files: &[&str], package: &str) -> Result<PathBuf, String> {
    locate(files).ok_or_else(|| {
        format!(
            "{name}: no {} (Debian: apt install {package}, or --so {name}=PATH)",
            files[0]
        )
    })
}

fn parse(so: &str) -> Result<Library, String> {
    let (name, path) = so
        .split_once('=')
        .ok_or_else(|| format!("--so {so}: expected NAME=PATH"))?;
    if name.is_empty() || path.is_empty() {
        return Err(format!("--so {so}: expected NAME=PATH"));
    }
    // The dynamic linker looks for a name without a slash in its own folders.
    let path = Path::new(path)
        .canonicalize()
        .map_err(|e| format!("--so {so}: {e}"))?;
    Ok(Library {
        name: name.into(),
        path: Some(path),
    })
}

fn locate(files: &[&str]) -> Option<PathBuf> {
    let candidates = files.iter().flat_map(|file| {
        FOLDERS
            .iter()
            .map(move |folder| Path::new(folder).join(file))
    });
    candidates.into_iter().find(|path| path.exists())
}

/// Our library as it was built before.
fn built() -> Result<PathBuf, String> {
    let path = folder()?.join("../release/libpymalloc.so");
    path.canonicalize()
        .map_err(|_| format!("{} is not built; leave out --no-build", path.display()))
}

/// Builds our library.
fn build() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    eprintln!("building libpymalloc.so");
    let output = Command::new(cargo)
        .current_dir(workspace())
        .args([
            "build",
            "--release",
            "-p",
            "pymalloc",
            "--lib",
            "--features",
            "preload",
        ])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cargo: {e}"))?;
    if !output.status.success() {
        return Err("libpymalloc.so does not build; --no-build leaves it out".into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut names = text.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let files = message["filenames"].as_array()?;
        let shared = files
            .iter()
            .filter_map(Value::as_str)
            .find(|f| f.ends_with("libpymalloc.so"));
        shared.map(PathBuf::from)
    });
    names
        .next_back()
        .ok_or_else(|| "cargo built no libpymalloc.so".into())
}

/// The C library this program itself runs with.
pub fn c_library() -> Result<PathBuf, String> {
    let mut found = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the address of a function, and room for the answer; zeroed is a value of that plain type.
    let found = unsafe {
        libc::dladdr(libc::malloc as *const libc::c_void, found.as_mut_ptr());
        found.assume_init()
    };
    if found.dli_fname.is_null() {
        return Err("no shared C library".into());
    }
    // SAFETY: the loader keeps the name of a library that stays loaded.
    let name = unsafe { std::ffi::CStr::from_ptr(found.dli_fname) };
    Ok(PathBuf::from(name.to_string_lossy().into_owned()))
}

/// A program that prints the path of the object that owns `malloc`.
fn compile_owner(inputs: &Path) -> Result<PathBuf, String> {
    super::micro::compile("owner", inputs)
}

/// Checks that the library is the one that serves `malloc` when it is preloaded.
fn check(library: &Library, owner: &Path) -> Result<(), String> {
    let Some(path) = &library.path else {
        return Ok(());
    };
    let output = Command::new(owner)
        .env("LD_PRELOAD", path)
        .output()
        .map_err(|e| format!("{}: {e}", owner.display()))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let same = Path::new(&said)
        .canonicalize()
        .is_ok_and(|said| path.canonicalize().is_ok_and(|path| said == path));
    if output.status.success() && same {
        return Ok(());
    }
    let why = match said.as_str() {
        "" => format!("a program preloaded with it ends with {}", output.status),
        other => format!("malloc still comes from {other}"),
    };
    let hint = match said.as_str() {
        "" => "",
        _ if library.name == OURS => " (built without `--features preload`?)",
        _ => "",
    };
    Err(format!(
        "{}: {} does not replace malloc: {why}{hint}",
        library.name,
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_library_is_found() {
        let path = c_library().unwrap();
        assert!(
            path.to_string_lossy().contains("libc"),
            "{}",
            path.display()
        );
    }

    #[test]
    fn a_malformed_so_is_refused() {
        assert_eq!(parse("x").unwrap_err(), "--so x: expected NAME=PATH");
        assert_eq!(parse("=x").unwrap_err(), "--so =x: expected NAME=PATH");
        assert!(
            parse("x=/does/not/exist")
                .unwrap_err()
                .contains("No such file")
        );
    }
}
