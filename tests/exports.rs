//! What the preload library exports, imports and asks of the loader; and who then owns `malloc`.

#[path = "c/harness.rs"]
mod harness;
#[path = "support/preload.rs"]
mod support;

use harness::{Arm, LIMIT, build, command, library, run};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `tool` prints, or a panic naming it.
fn output(tool: &str, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .arg(file)
        .env("LC_ALL", "C")
        .output();
    let output = output.unwrap_or_else(|error| panic!("{tool}: {error}"));
    assert!(output.status.success(), "{tool} {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The names `nm` lists, without versions, and each with its type letter.
fn symbols(file: &Path, which: &str) -> Vec<(char, String)> {
    let listed = output("nm", &["-D", which], file);
    let symbol = |line: &str| {
        let mut words = line.split_whitespace().rev();
        let name = words.next()?.split('@').next()?.to_owned();
        Some((words.next()?.chars().next()?, name))
    };
    listed.lines().filter_map(symbol).collect()
}

fn defined(file: &Path) -> BTreeSet<String> {
    let all = symbols(file, "--defined-only").into_iter();
    all.map(|(_, name)| name).collect()
}

fn golden() -> BTreeSet<String> {
    let lines = include_str!("exports.txt").lines();
    lines
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .filter(|line| *line != "dlopen" || cfg!(target_arch = "x86_64"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_library_exports_the_golden_list_and_nothing_else() {
    let (exported, golden) = (defined(&library()), golden());
    let missing: Vec<_> = golden.difference(&exported).collect();
    let surplus: Vec<_> = exported.difference(&golden).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "missing: {missing:?}\nnot in tests/exports.txt: {surplus:?}"
    );
}

/// A weak or data symbol under a function's name would bind, or not, at the linker's pleasure.
#[test]
fn every_export_but_the_marker_is_a_strong_function() {
    for (kind, name) in symbols(&library(), "--defined-only") {
        assert!(
            kind == 'T' || name == "pymalloc_is_in_charge",
            "{name} is of type {kind}"
        );
    }
}

/// A typo in a mangled name is a symbol nobody calls: each must read as what C++ means by it.
#[test]
fn the_cxx_exports_read_as_the_twenty_operators() {
    let mangled: Vec<String> = defined(&library())
        .into_iter()
        .filter(|name| name.starts_with("_Z"))
        .collect();
    let demangled = Command::new("c++filt")
        .args(&mangled)
        .output()
        .expect("c++filt is installed");
    let demangled = String::from_utf8_lossy(&demangled.stdout).into_owned();
    let operators: BTreeSet<&str> = demangled.lines().collect();
    let mut expected = BTreeSet::new();
    let (size, align, nothrow) = ("unsigned long", "std::align_val_t", "std::nothrow_t const&");
    for array in ["", "[]"] {
        for arguments in [vec![], vec![align], vec![nothrow], vec![align, nothrow]] {
            let new = [vec![size], arguments.clone()].concat().join(", ");
            expected.insert(format!("operator new{array}({new})"));
            let delete = [vec!["void*"], arguments].concat().join(", ");
            expected.insert(format!("operator delete{array}({delete})"));
        }
        expected.insert(format!("operator delete{array}(void*, {size})"));
        expected.insert(format!("operator delete{array}(void*, {size}, {align})"));
    }
    assert_eq!(operators, expected.iter().map(String::as_str).collect());
    assert_eq!(operators.len(), 20);
}

/// Prints every import for review (`--nocapture`); refuses those that would break a promise.
#[test]
fn no_import_may_allocate_behind_our_back() {
    let imports: BTreeSet<String> = symbols(&library(), "--undefined-only")
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    println!(
        "{} imports: {}",
        imports.len(),
        imports.iter().cloned().collect::<Vec<_>>().join(" ")
    );
    // Only malloc_info, which is given a stream, writes to one (fputs or fwrite).
    // Dynamic TLS may allocate inside malloc (LESSONS, bug 5); the rest allocate, lock stdio or read
    // the locale, and no code of ours or of std's needs them.
    let refused = [
        "__tls_get_addr",
        "printf",
        "fprintf",
        "dprintf",
        "vsnprintf",
        "snprintf",
        "sprintf",
        "fopen",
        "fdopen",
        "strdup",
        "getline",
        "setlocale",
        "localeconv",
        "backtrace",
        "syslog",
        "__cxa_guard_acquire",
        "_ZSt15get_new_handlerv",
        "sbrk",
        "brk",
        "rand",
        "qsort",
    ];
    for name in refused {
        assert!(!imports.contains(name), "the library imports {name}");
    }
    for name in golden() {
        assert!(
            !imports.contains(&name),
            "the library imports {name} instead of defining it"
        );
    }
}

#[test]
fn the_library_asks_little_of_the_loader() {
    let headers = output("readelf", &["-lW"], &library());
    let tls = headers
        .lines()
        .find(|line| line.trim_start().starts_with("TLS"));
    let bytes = tls.map_or(0, |line| {
        let size = line
            .split_whitespace()
            .nth(5)
            .expect("readelf prints MemSiz");
        u64::from_str_radix(size.trim_start_matches("0x"), 16).expect("MemSiz is hexadecimal")
    });
    // Initial-exec TLS comes out of a surplus of 1,664 bytes that all dlopened libraries share. std,
    // which a cdylib links whole, has 80 bytes (Rust 1.95); ours are at most 64.
    assert!(
        bytes <= 80 + 64,
        "the library takes {bytes} bytes of static TLS"
    );
    let dynamic = output("readelf", &["-dW"], &library());
    assert!(
        dynamic.contains("NODELETE"),
        "no DF_1_NODELETE: dlclose would unmap live code\n{dynamic}"
    );
    assert!(!dynamic.contains("TEXTREL"), "relocations in the code");
    for line in dynamic.lines().filter(|line| line.contains("(NEEDED)")) {
        let known = ["libc.so.6", "ld-linux", "libdl.so.2", "libpthread.so.0"];
        assert!(
            known.iter().any(|name| line.contains(name)),
            "an unexpected dependency: {line}"
        );
    }
    let stack = headers.lines().find(|line| line.contains("GNU_STACK"));
    assert!(
        stack.is_some_and(|line| !line.contains("RWE")),
        "an executable stack: {stack:?}"
    );
}

/// The objects that serve malloc and the rest in a program started on `library`, or without one.
fn owners(library: Option<&Path>) -> Vec<[String; 3]> {
    let mut command = command(Arm::Glibc, &build("who_owns", &["who_owns.cpp"], &[]));
    command.envs(library.map(|path| ("LD_PRELOAD", path)));
    let told = run(command, LIMIT).succeeded("who_owns").stdout;
    let row = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        [words.next(), words.next(), words.next()].map(|word| word.expect("three words a line"))
    };
    told.lines().map(row).collect()
}

#[test]
fn preloaded_the_library_owns_malloc_and_the_operators() {
    let library = library();
    for [name, bound, found] in owners(Some(&library)) {
        assert_eq!(Path::new(&bound), library, "{name} is bound elsewhere");
        assert_eq!(Path::new(&found), library, "dlsym finds {name} elsewhere");
    }
}

#[test]
fn without_preload_libc_owns_malloc() {
    for [name, bound, found] in owners(None) {
        let owner = if name.starts_with("_Z") {
            "libstdc++.so"
        } else {
            "libc.so"
        };
        assert!(
            bound.contains(owner) && found.contains(owner),
            "{name}: {bound}, {found}"
        );
    }
}

/// The default cdylib, built without the feature.
fn plain_library() -> PathBuf {
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--lib",
            "--package",
            "pymalloc",
            "--target-dir",
            "target/plain",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(
        status.expect("cargo can be started").success(),
        "the default library does not build"
    );
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/plain/release/libpymalloc.so")
}

#[test]
fn without_the_feature_nothing_of_malloc_is_exported() {
    let plain = plain_library();
    let taken: Vec<_> = defined(&plain).intersection(&golden()).cloned().collect();
    assert!(taken.is_empty(), "the default library exports {taken:?}");
    for [name, bound, found] in owners(Some(&plain)) {
        assert!(
            !bound.contains("pymalloc") && !found.contains("pymalloc"),
            "{name} is {bound}, {found}"
        );
    }
}
