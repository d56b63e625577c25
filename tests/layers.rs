//! The architecture is the list of layers in DESIGN section 2: a file names its own layer and lower ones.
//!
//! Also, by the same reading of the sources: who may name atomics and the system, where state lives,
//! and how long a file gets. That every `unsafe` block has its reason is clippy's to say
//! (`undocumented_unsafe_blocks`).

#[path = "layers/rules.rs"]
mod rules;
#[path = "layers/tokens.rs"]
mod tokens;

use rules::{LAYERS, Source, violations};
use std::path::Path;

fn sources_below(folder: &Path, prefix: &str, sources: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            sources_below(&path, &format!("{prefix}{name}/"), sources);
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let path = format!("{prefix}{name}");
            sources.push(Source { path, text });
        }
    }
}

#[test]
fn every_source_keeps_to_its_layer() {
    let mut sources = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources_below(&folder, "", &mut sources);
    for layer in [
        "sync", "os", "obmalloc", "global", "shim", "object", "gc", "python", "bin",
    ] {
        let in_layer = |source: &&Source| source.path.starts_with(&format!("{layer}/"));
        assert!(sources.iter().find(in_layer).is_some(), "no {layer}/ seen");
    }
    let found = violations(&sources);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// What the rules say about one file.
fn judge(path: &str, text: &str) -> Vec<String> {
    let (path, text) = (path.to_owned(), text.to_owned());
    violations(&[Source { path, text }])
}

#[test]
fn naming_a_higher_layer_is_noticed_however_it_is_written() {
    let cases = [
        (
            "sync/lock.rs",
            "use crate::os;",
            "sync/lock.rs:1: sync names os",
        ),
        (
            "os/mod.rs",
            "\nuse crate::obmalloc::pool::Pool;",
            "os/mod.rs:2: os names obmalloc",
        ),
        (
            "obmalloc/heap.rs",
            "use super::super::global::MAP;",
            "obmalloc/heap.rs:1: obmalloc names global",
        ),
        (
            "obmalloc/mod.rs",
            "use super::shim;",
            "obmalloc/mod.rs:1: obmalloc names shim",
        ),
        (
            "global/a.rs",
            "fn f() { crate::shim::malloc(1); }",
            "global/a.rs:1: global names shim",
        ),
        (
            "global/a.rs",
            "use crate::{os, gc::{Tracked, self}};",
            "global/a.rs:1: global names gc",
        ),
        (
            "global/a.rs",
            "mod inner { use super::super::super::shim::x; }",
            "global/a.rs:1: global names shim",
        ),
        (
            "shim/a.rs",
            "pub(in crate::object) fn f() {}",
            "shim/a.rs:1: shim names object",
        ),
        (
            "object/a.rs",
            "type T = crate::gc::T;",
            "object/a.rs:1: object names gc",
        ),
        (
            "gc/a/b.rs",
            "use crate::observe as seen;",
            "gc/a/b.rs:1: gc names observe",
        ),
        (
            "observe/a.rs",
            "use crate::{\n    os,\n    bin::x,\n};",
            "observe/a.rs:3: observe names bin",
        ),
    ];
    for (path, text, expected) in cases {
        let found = judge(path, text);
        assert!(
            found.iter().any(|line| line == expected),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn every_pair_of_layers_is_judged_by_its_order() {
    for (own, layer) in LAYERS[..9].iter().enumerate() {
        for (other, target) in LAYERS.iter().enumerate() {
            let found = judge(
                &format!("{layer}/a.rs"),
                &format!("use crate::{target}::x;"),
            );
            assert_eq!(
                found.len(),
                usize::from(other > own),
                "{layer} -> {target}: {found:?}"
            );
        }
    }
}

#[test]
fn a_name_behind_the_wrong_door_is_noticed() {
    let cases = [
        (
            "obmalloc/a.rs",
            "use core::sync::atomic::AtomicU8;",
            "obmalloc names core::sync",
        ),
        (
            "global/a.rs",
            "use core::{ptr, sync::atomic};",
            "global names core::sync",
        ),
        (
            "os/a.rs",
            "static X: std::sync::Once = 1;",
            "os names std::sync",
        ),
        ("os/a.rs", "use spin;", "os names spin"),
        (
            "global/a.rs",
            "fn f() { loom::model(|| ()) }",
            "global names loom",
        ),
        (
            "global/a.rs",
            "fn f() { unsafe { libc::getpid() }; }",
            "global names libc",
        ),
        (
            "obmalloc/a.rs",
            "use libc::{c_int, size_t};",
            "obmalloc names libc",
        ),
        (
            "bin/pymalloc/main.rs",
            "use pymalloc::PyMalloc;",
            "bin links the library",
        ),
    ];
    for (path, text, expected) in cases {
        let found = judge(path, text);
        assert!(
            found.iter().any(|line| line.ends_with(expected)),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn state_outside_global_is_noticed() {
    let cases = [
        "static X: AtomicU8 = AtomicU8::new(0);",
        "pub(crate) static X: Lock = Lock::new();",
        "static mut X: u8 = 0;",
        "static X: SharedCell<[u8; 3]> = SharedCell::new([0; 3]);",
        "static X: [Store; 3] = [Store::new(); 3];",
        "std::thread_local! { static X: u8 = const { 0 }; }",
    ];
    for text in cases {
        for path in [
            "sync/a.rs",
            "os/a.rs",
            "obmalloc/a.rs",
            "shim/a.rs",
            "observe/a.rs",
        ] {
            assert!(!judge(path, text).is_empty(), "{path}: {text}");
        }
        assert_eq!(judge("global/a.rs", text), [""; 0], "{text}");
    }
}

#[test]
fn unwrap_length_and_unknown_folders_are_noticed() {
    let found = judge("os/a.rs", "fn f() {\n    g().unwrap();\n}");
    assert_eq!(found, ["os/a.rs:2: unwrap outside tests"]);
    let found = judge("lib.rs", "fn f() { g().unwrap(); }");
    assert_eq!(found, ["lib.rs:1: unwrap outside tests"]);
    assert_eq!(judge("os/a.rs", &"\n".repeat(500)), [""; 0]);
    assert_eq!(
        judge("os/a.rs", &"\n".repeat(501)),
        ["os/a.rs: 501 lines, more than 500"]
    );
    assert_eq!(judge("util/a.rs", ""), ["util/a.rs: util/ is no layer"]);
}

#[test]
fn what_only_looks_like_a_violation_passes() {
    let cases = [
        ("lib.rs", "mod observe;\npub use global::{Heap, PyMalloc};"),
        (
            "os/a.rs",
            "//! Uses crate::global\n/* crate::shim /* libc */ spin:: */\nuse crate::sync::Lock;",
        ),
        (
            "os/a.rs",
            "const A: &str = \"crate::gc \\\" static X: Lock\"; const B: &str = r#\"crate::\"gc\"#;",
        ),
        (
            "obmalloc/a.rs",
            "const N: u32 = if cfg!(loom) { 1 } else { 2 };\n#[cfg(not(loom))] fn f() {}",
        ),
        (
            "obmalloc/a.rs",
            "fn f<'a>(x: &'static str, c: char) -> bool { c == '\\'' || c == '\"' || x == b\"static\" }",
        ),
        (
            "obmalloc/a.rs",
            "fn f(x: Option<u8>) -> u8 { x.unwrap_or(0) }",
        ),
        (
            "obmalloc/a.rs",
            "#[cfg(test)]\nmod tests { use crate::global::MAP; fn f() { g().unwrap(); } }",
        ),
        (
            "obmalloc/a.rs",
            "mod inner { use super::super::pool::Pool; mod deep { use super::super::super::engine; } }",
        ),
        (
            "os/a.rs",
            "unsafe extern \"C\" { static environ: *const *const core::ffi::c_char; }",
        ),
        (
            "shim/mod.rs",
            "static CONSTRUCTOR: extern \"C\" fn() = constructor;\nuse crate::global;\nuse libc::c_int;",
        ),
        ("obmalloc/a.rs", "static NAMES: [&str; 2] = [\"a\", \"b\"];"),
        (
            "bin/pymalloc/main.rs",
            "use crate::observe::x;\nstatic X: std::sync::Once = Once::new();",
        ),
    ];
    for (path, text) in cases {
        assert_eq!(judge(path, text), [""; 0], "{text}");
    }
}

#[test]
fn files_that_are_tests_are_not_judged() {
    let source = |path: &str, text: &str| Source {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let wild = "fn f() { crate::gc::g().unwrap(); }";
    let with = |how: &str| violations(&[source("os/a.rs", how), source("os/a_tests.rs", wild)]);
    assert_eq!(
        with("#[cfg(test)]\n#[path = \"a_tests.rs\"]\nmod tests;"),
        [""; 0]
    );
    assert_eq!(with("#[cfg(test)]\nmod a_tests;"), [""; 0]);
    assert_eq!(with("mod a_tests;").len(), 2);
}
