//! Drawings in files, and pictures made of them. `dot` is Graphviz's (Debian: `graphviz`).

use pymalloc::object::Gc;
use pymalloc::observe::objgraph::{Drawing, Picture, show_refs};
use std::path::{Path, PathBuf};
use std::process::Command;

fn drawing() -> Drawing {
    show_refs(&[Gc::erase(Gc::new(7u32))])
}

/// A folder of a test's own.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("objgraph-test-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_file_that_ends_in_dot_gets_the_text() {
    let folder = folder("text");
    let path = folder.join("seven.dot");
    let drawing = drawing();
    let saved = drawing.save(&path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), drawing.dot);
    assert_eq!(saved.picture, Picture::None);
    let said = format!("Graph written to {} (1 nodes)", path.display());
    assert_eq!(saved.to_string(), said);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_that_cannot_be_written_is_an_error() {
    let error = drawing().save("/nowhere/at/all.dot").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn other_files_are_pictures_made_by_dot() {
    let folder = folder("picture");
    for (name, begin) in [("seven.png", &b"\x89PNG"[..]), ("seven.svg", b"<?xml")] {
        let path = folder.join(name);
        let saved = drawing().save(&path).unwrap();
        assert_eq!(
            saved.picture,
            Picture::Image(path.clone()),
            "is graphviz installed?"
        );
        assert!(std::fs::read(&path).unwrap().starts_with(begin));
        let said = format!(
            "Graph written to {} (1 nodes)\nImage generated as {}",
            saved.dot_file.display(),
            path.display()
        );
        assert_eq!(saved.to_string(), said);
        assert_eq!(
            std::fs::read_to_string(&saved.dot_file).unwrap(),
            drawing_like(&saved.dot_file)
        );
        std::fs::remove_file(saved.dot_file).unwrap();
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// The text in a temporary file is a whole graph, and nobody else's to read.
fn drawing_like(path: &Path) -> String {
    use std::os::unix::fs::PermissionsExt;
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.starts_with("digraph ObjectGraph {\n") && text.ends_with("}\n"));
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("objgraph-") && name.ends_with(".dot"));
    text
}

/// What is printed when programs are looked for in `programs` only, by a child that runs [`child`].
fn said_with(name: &str, programs: &[(&str, &str)]) -> (String, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder(name);
    for (program, script) in programs {
        let path = folder.join(program);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "pictures::child", "--nocapture"])
        .env("PATH", &folder)
        .env("TMPDIR", &folder)
        .env("OBJGRAPH_TEST_CHILD", name)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let said = text
        .split("<<<")
        .nth(1)
        .and_then(|text| text.split(">>>").next());
    let said = said.unwrap_or_else(|| panic!("{text}")).to_owned();
    (said, folder)
}

/// Does nothing unless it is the child of one of the tests below.
#[test]
fn child() {
    let Some(name) = std::env::var_os("OBJGRAPH_TEST_CHILD") else {
        return;
    };
    let saved = match name.to_str().unwrap().starts_with("view") {
        true => drawing().view(),
        false => drawing().save(std::env::temp_dir().join("out.png")),
    };
    println!("<<<{}>>>", saved.unwrap());
}

/// What was said after the line about the text, with the folder's name taken out.
fn after_the_text(said: &str, folder: &Path) -> String {
    let (first, rest) = said.split_once('\n').unwrap();
    let begin = format!("Graph written to {}/objgraph-", folder.display());
    assert!(
        first.starts_with(&begin) && first.ends_with(".dot (1 nodes)"),
        "{first}"
    );
    let rest = rest.replace(&format!("{}/", folder.display()), "");
    let mut plain = String::new();
    for (n, part) in rest.split("objgraph-").enumerate() {
        plain += if n > 0 { "objgraph-…" } else { "" };
        plain += match n {
            0 => part,
            _ => part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-'),
        };
    }
    std::fs::remove_dir_all(folder).unwrap();
    plain
}

#[test]
fn without_dot_the_text_is_all() {
    let (said, folder) = said_with("save-nothing", &[]);
    let wanted = "Image renderer (dot) not found, not doing anything else";
    assert_eq!(after_the_text(&said, &folder), wanted);
}

#[test]
fn a_dot_that_fails_is_told_with_its_call() {
    let (said, folder) = said_with("save-fails", &[("dot", "exit 3")]);
    let wanted = "dot failed (exit code 3) while executing \"dot -Tpng -oout.png objgraph-….dot\"";
    assert_eq!(after_the_text(&said, &folder), wanted);
    let (said, folder) = said_with("save-killed", &[("dot", "kill -9 $$")]);
    let wanted = "dot failed (exit code -9) while executing \"dot -Tpng -oout.png objgraph-….dot\"";
    assert_eq!(after_the_text(&said, &folder), wanted);
}

#[test]
fn the_viewer_is_started_when_there_is_one() {
    let (said, folder) = said_with("view-xdot", &[("xdot", "exit 0"), ("dot", "exit 0")]);
    assert_eq!(
        after_the_text(&said, &folder),
        "Spawning graph viewer (xdot)"
    );
}

#[test]
fn without_a_viewer_a_picture_is_made() {
    let (said, folder) = said_with("view-dot", &[("dot", "exit 0")]);
    let wanted = "Graph viewer (xdot) not found, generating a png instead\n\
                  Image generated as objgraph-….png";
    assert_eq!(after_the_text(&said, &folder), wanted);
    let (said, folder) = said_with("view-nothing", &[]);
    let wanted = "Graph viewer (xdot) and image renderer (dot) not found, not doing anything else";
    assert_eq!(after_the_text(&said, &folder), wanted);
}
