//! The rules of DESIGN section 2, over sources given as text.

use crate::tokens::{Path, Token, paths, read};

/// The layers, lowest first: a file may name its own and those before it.
pub const LAYERS: [&str; 10] = [
    "sync", "os", "obmalloc", "global", "shim", "object", "gc", "python", "observe", "bin",
];

/// Most lines of a file.
const MOST_LINES: usize = 500;

/// What only some layers may name, by the first words of the path; and which layers. The launcher is a
/// program of its own, which never links the library: it has std's atomics and its own statics.
const DOORS: [(&[&str], &[&str]); 6] = [
    (&["core", "sync"], &["sync", "bin"]),
    (&["std", "sync"], &["sync", "bin"]),
    (&["alloc", "sync"], &["sync", "bin"]),
    (&["spin"], &["sync"]),
    (&["loom"], &["sync"]),
    (&["libc"], &["os", "shim", "bin"]),
];

/// Words the type of a static may consist of outside `global/`: nothing that can change.
const PLAIN: [&str; 26] = [
    "extern", "fn", "unsafe", "const", "str", "bool", "char", "u8", "u16", "u32", "u64", "u128",
    "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f32", "f64", "CStr", "core", "ffi",
    "c_char", "c_int",
];

/// One file: its path below `src/`, with `/`, and its text.
pub struct Source {
    pub path: String,
    pub text: String,
}

impl Source {
    /// The layer it belongs to: its folder.
    fn layer(&self) -> Option<&str> {
        self.path.split_once('/').map(|(folder, _)| folder)
    }

    /// Its module path: folder and file name, `mod.rs` being the folder itself.
    fn module(&self) -> Vec<String> {
        let stem = self.path.trim_end_matches(".rs");
        let stem = stem.trim_end_matches("/mod");
        stem.split('/').map(str::to_owned).collect()
    }
}

fn rank(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|name| *name == layer)
}

/// Everything in `sources` that breaks a rule, one line each.
pub fn violations(sources: &[Source]) -> Vec<String> {
    let test_files = test_files(sources);
    sources
        .iter()
        .filter(|source| !test_files.contains(&source.path))
        .flat_map(check)
        .collect()
}

/// Files that are modules under `#[cfg(test)]` only: `mod tests;` behind that attribute, with or without
/// `#[path]`.
fn test_files(sources: &[Source]) -> Vec<String> {
    let mut files = Vec::new();
    for source in sources {
        let folder = source
            .path
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        let mut rest = source.text.as_str();
        while let Some((_, after)) = rest.split_once("#[cfg(test)]") {
            rest = after;
            let Some((item, _)) = after.split_once(['{', ';']) else {
                continue;
            };
            if let Some(path) = item
                .split_once("#[path = \"")
                .and_then(|(_, path)| path.split_once('"'))
            {
                files.push(format!("{folder}/{}", path.0));
            } else if let Some(name) = item.trim().strip_prefix("mod ") {
                files.push(format!("{folder}/{name}.rs"));
            }
        }
    }
    files
}

fn check(source: &Source) -> Vec<String> {
    let name = &source.path;
    let mut found = Vec::new();
    let lines = source.text.lines().count();
    if lines > MOST_LINES {
        found.push(format!("{name}: {lines} lines, more than {MOST_LINES}"));
    }
    let tokens = read(&source.text);
    for window in tokens.windows(3) {
        if window[0].sign('.') && window[1].is("unwrap") && window[2].sign('(') {
            found.push(format!("{name}:{}: unwrap outside tests", window[1].line));
        }
    }
    // lib.rs is the table of contents: it names every layer.
    let Some(layer) = source.layer() else {
        return found;
    };
    let Some(own) = rank(layer) else {
        found.push(format!("{name}: {layer}/ is no layer"));
        return found;
    };
    for path in paths(&tokens) {
        found.extend(check_path(source, layer, own, &path));
    }
    if !matches!(layer, "global" | "bin") {
        found.extend(check_statics(name, &tokens));
    }
    found
}

fn check_path(source: &Source, layer: &str, own: usize, path: &Path) -> Option<String> {
    let (name, line) = (&source.path, path.line);
    let words: Vec<&str> = path.words.iter().map(String::as_str).collect();
    for (door, may) in DOORS {
        if words.starts_with(door) && !may.contains(&layer) {
            let door = door.join("::");
            return Some(format!("{name}:{line}: {layer} names {door}"));
        }
    }
    if layer == "bin" {
        // The binary is a crate of its own; `crate` is itself.
        return (words[0] == "pymalloc").then(|| format!("{name}:{line}: bin links the library"));
    }
    let target = absolute(source, path)?;
    match rank(&target) {
        Some(other) if other > own => Some(format!("{name}:{line}: {layer} names {target}")),
        _ => None,
    }
}

/// The first word below the crate's root of a path that starts with `crate`, `super` or `self`.
fn absolute(source: &Source, path: &Path) -> Option<String> {
    let mut module = source.module();
    module.extend(path.inside.iter().cloned());
    let mut rest = path.words.iter().map(String::as_str).peekable();
    match *rest.peek()? {
        "crate" => {
            rest.next();
            module.clear();
        }
        "super" | "self" => {
            while let Some(word) = rest.next_if(|word| matches!(*word, "super" | "self")) {
                if word == "super" {
                    module.pop();
                }
            }
        }
        _ => return None,
    }
    module.extend(rest.map(str::to_owned));
    module.into_iter().next()
}

/// Statics whose type is more than plain data, and thread-locals.
fn check_statics(name: &str, tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.is("thread_local") {
            found.push(format!(
                "{name}:{}: a thread-local outside global",
                token.line
            ));
        }
        // `&'static` is a lifetime, which is no token.
        if !token.is("static") {
            continue;
        }
        let item = &tokens[at + 1..];
        let is_mut = item.first().is_some_and(|token| token.is("mut"));
        let kind = item
            .iter()
            .skip_while(|token| !token.sign(':'))
            .take_while(|token| !token.sign('=') && !token.sign(';'));
        // The semicolon of an array's length ends the walk early; the element type was seen by then.
        let plain = kind.filter_map(Token::word).all(|word| {
            PLAIN.contains(&word) || word.starts_with(|first: char| first.is_ascii_digit())
        });
        if is_mut || !plain {
            found.push(format!(
                "{name}:{}: a mutable static outside global",
                token.line
            ));
        }
    }
    found
}
