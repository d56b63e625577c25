//! Which library is preloaded, and what is no library to preload.

use crate::fixture::{copy, executable, file, folder, patched, permit, pymalloc, refuses, text};
use crate::support;
use std::path::{Path, PathBuf};
use std::process::Command;

const BUILD: &str = "build it with: cargo build --release --features preload";

/// What `LD_PRELOAD` is in a program the command runs; the command lacks only the program.
#[track_caller]
fn preloaded(command: &mut Command) -> String {
    let output = command.args(["printenv", "LD_PRELOAD"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim_end().to_owned()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn lib_comes_before_the_environment() {
    let library = shown(&file("library.so"));
    assert_eq!(preloaded(&mut pymalloc(&["run"])), library);
    let mut named = pymalloc(&["run", "--lib", &library]);
    assert_eq!(preloaded(named.env("PYMALLOC_LIB", "/no/such")), library);
    // Programs may change their folder, so a relative path is made absolute.
    let mut relative = pymalloc(&["run", "--lib", "library.so"]);
    assert_eq!(preloaded(relative.current_dir(folder())), library);
}

#[test]
fn what_is_preloaded_already_stays_behind_the_library() {
    let (library, other) = (shown(&file("library.so")), shown(&file("nothing.so")));
    let mut command = pymalloc(&["run"]);
    assert_eq!(
        preloaded(command.env("LD_PRELOAD", &other)),
        format!("{library}:{other}")
    );
    assert_eq!(preloaded(pymalloc(&["run"]).env("LD_PRELOAD", "")), library);
}

#[test]
fn the_launchers_own_folder_is_searched_and_deps_in_it() {
    let bin = folder().join("bin");
    std::fs::create_dir_all(bin.join("deps")).unwrap();
    let launcher = bin.join("pymalloc");
    copy(&support::launcher(), &launcher);
    let run = || {
        let mut command = Command::new(&launcher);
        command
            .arg("run")
            .env_remove("LD_PRELOAD")
            .env("PYMALLOC_LIB", "");
        command
    };
    let (folder, library) = (bin.display(), file("library.so"));
    let message = format!("no libpymalloc.so in {folder} or {folder}/deps; {BUILD}");
    refuses(run().arg("ls"), 1, &message);
    let (deps, beside) = (bin.join("deps/libpymalloc.so"), bin.join("libpymalloc.so"));
    std::fs::copy(&library, &deps).unwrap();
    assert_eq!(preloaded(&mut run()), shown(&deps));
    std::fs::copy(&library, &beside).unwrap();
    assert_eq!(preloaded(&mut run()), shown(&beside));
}

/// The launcher refuses this library, however it is named.
#[track_caller]
fn refused(library: &Path, problem: &str) {
    let path = shown(library);
    let mut named = pymalloc(&["run", "--lib", &path, "ls"]);
    refuses(&mut named, 1, &format!("{path} (from --lib): {problem}"));
    let mut inherited = pymalloc(&["run", "ls"]);
    let message = format!("{path} (from PYMALLOC_LIB): {problem}");
    refuses(inherited.env("PYMALLOC_LIB", &path), 1, &message);
}

#[test]
fn what_is_no_library_is_refused() {
    let missing = format!("no such library; {BUILD}");
    refused(Path::new("/no/such/libpymalloc.so"), &missing);
    let not = format!("not a shared library; {BUILD}");
    refused(folder(), &not);
    refused(&executable("text.so", b"INPUT(libc.so)\n"), &not);
    refused(&file("object"), &not);
    let ours = if cfg!(target_arch = "aarch64") {
        "aarch64"
    } else {
        "x86-64"
    };
    for (name, bytes, machine) in [
        ("foreign.so", vec![(18, 21)], "powerpc64"),
        ("foreign32.so", vec![(4, 1), (18, 40)], "arm (32-bit)"),
    ] {
        let problem = format!("built for {machine}, programs here need {ours}; {BUILD}");
        refused(&patched(name, "library.so", &bytes), &problem);
    }
}

#[test]
fn a_library_that_exports_nothing_is_refused() {
    let problem = format!(
        "exports no malloc or no pymalloc_is_in_charge, as when built without the feature preload; {BUILD}"
    );
    refused(&file("nothing.so"), &problem);
    // The system's C library has a malloc, but is not ours.
    refused(&c_library(), &problem);
}

/// The C library this test runs with.
fn c_library() -> PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps
        .lines()
        .find(|line| line.contains("/libc.so") || line.contains("/libc-"));
    line.and_then(|line| line.split_whitespace().last())
        .expect("a C library")
        .into()
}

#[test]
fn a_path_that_ld_preload_would_split_is_refused() {
    for name in ["a b.so", "a:b.so"] {
        let path = file(name);
        std::fs::copy(file("library.so"), &path).unwrap();
        refused(
            &path,
            "the path holds a space or a colon, which part the entries of LD_PRELOAD; copy the library elsewhere",
        );
    }
}

#[test]
fn a_library_that_cannot_be_read_is_refused() {
    // SAFETY: getuid takes nothing and cannot fail.
    if unsafe { libc::getuid() } == 0 {
        // Root reads everything; a damaged file is the case that remains.
        let damaged = patched("damaged.so", "library.so", &[(46, 0xff)]);
        return refused(&damaged, &format!("not a shared library; {BUILD}"));
    }
    let secret = executable("secret.so", b"");
    permit(&secret, 0);
    refused(
        &secret,
        "cannot read the library: Permission denied (os error 13)",
    );
}
