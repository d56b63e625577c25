//! Names for addresses: function, file and line, from debug information or the symbol table.

use crate::elf::Elf;
use crate::recording::tables::{Module, Tables};
use addr2line::Loader;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A call, as people read it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frame {
    /// The function; the address and its file when it has no name.
    pub function: String,
    /// The source file; empty when it is not known.
    pub file: String,
    /// The line in it; 0 when it is not known.
    pub line: u32,
    /// The file the code is in.
    pub module: Rc<str>,
}

impl Frame {
    /// `file:line`, or the module where no line is known.
    pub fn place(&self) -> String {
        match (self.file.as_str(), self.line) {
            ("", _) => self.module.to_string(),
            (file, 0) => file.to_owned(),
            (file, line) => format!("{file}:{line}"),
        }
    }

    /// Whether the code belongs to the machinery of a language rather than to the program: the frames that
    /// stand between `malloc` and the line somebody wrote.
    pub fn is_machinery(&self) -> bool {
        const FILES: [&str; 5] = [
            "/rustc/",
            "/rustlib/src/rust/library/",
            "/rust/deps/",
            "/c++/",
            "/bits/",
        ];
        const FUNCTIONS: [&str; 12] = [
            "operator new",
            "xmalloc",
            "xcalloc",
            "xrealloc",
            "xstrdup",
            "g_malloc",
            "__rust_alloc",
            "__rust_realloc",
            "__rdl_",
            "__rustc",
            "alloc::",
            "<alloc::",
        ];
        self.is_allocator()
            || FILES.iter().any(|part| self.file.contains(part))
            || FUNCTIONS
                .iter()
                .any(|start| self.function.starts_with(start))
    }
}

impl Frame {
    /// Whether the code is this crate's, in a program that has it.
    ///
    /// Tables of lines alone name inlined functions without their paths: then the file says it, where the launcher was
    /// built from the same folder, or cargo fetched the crate.
    fn is_allocator(&self) -> bool {
        const OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");
        let starts = ["pymalloc::", "<pymalloc::"];
        let is_fetched = |file: &str| {
            let crates = ["/registry/src/", "/git/checkouts/"];
            crates.iter().any(|part| file.contains(part)) && file.contains("/pymalloc-")
        };
        starts.iter().any(|start| self.function.starts_with(start))
            || self.file.starts_with(OWN)
            || is_fetched(&self.file)
    }
}

/// One file's debug information.
struct Object {
    loader: Option<Loader>,
    /// Where in the file each loaded segment stands: offset, length, address.
    segments: Vec<(u64, u64, u64)>,
}

/// Names addresses of one recording, each once.
#[derive(Default)]
pub struct Symbols {
    objects: HashMap<PathBuf, Object>,
    /// By address and the number of the module's definition.
    known: HashMap<(u64, usize), Rc<[Frame]>>,
}

impl Symbols {
    /// The calls of a stack, outermost first, inlined ones included. Those within this crate, which a program that records
    /// itself has innermost, are left out, unless there are no others.
    pub fn stack(&mut self, tables: &Tables, number: u32) -> Vec<Frame> {
        let addresses: Vec<_> = tables.stack(number).collect();
        let mut frames = Vec::new();
        for (node, address) in addresses.into_iter().rev() {
            // The address is where the call returns to: the call is before it.
            let call = address.saturating_sub(1);
            frames.extend_from_slice(&self.at(call, tables, node));
        }
        if let Some(last) = frames.iter().rposition(|frame| !frame.is_allocator()) {
            frames.truncate(last + 1);
        }
        frames
    }

    fn at(&mut self, address: u64, tables: &Tables, node: u32) -> Rc<[Frame]> {
        let (id, module) = tables.module_of(address, node).unzip();
        let key = (address, id.unwrap_or(usize::MAX));
        if let Some(known) = self.known.get(&key) {
            return Rc::clone(known);
        }
        let found: Rc<[Frame]> = self.look_up(address, module).into();
        self.known.insert(key, Rc::clone(&found));
        found
    }

    fn look_up(&mut self, address: u64, module: Option<&Module>) -> Vec<Frame> {
        let Some(module) = module.filter(|module| !module.path.is_empty()) else {
            return vec![unnamed(format!("{address:#x}"), "".into())];
        };
        let path = Path::new(OsStr::from_bytes(&module.path));
        let name: Rc<str> = path.display().to_string().into();
        let in_file = address - module.start + module.file_offset;
        let object = self.objects.entry(path.to_owned());
        let object = object.or_insert_with(|| Object::open(path));
        let found = object
            .address(in_file)
            .and_then(|address| object.frames(address, &name));
        found.unwrap_or_else(|| {
            let short = path.file_name().unwrap_or_default().display();
            vec![unnamed(format!("{in_file:#x} in {short}"), name)]
        })
    }
}

fn unnamed(function: String, module: Rc<str>) -> Frame {
    Frame {
        function,
        file: String::new(),
        line: 0,
        module,
    }
}

impl Object {
    /// The file's information; one without any, when it cannot be read.
    fn open(path: &Path) -> Self {
        let elf = Elf::open(path).ok().flatten();
        let segments = elf.and_then(|elf| elf.loaded_segments().ok());
        Self {
            loader: Loader::new(path).ok(),
            segments: segments.unwrap_or_default(),
        }
    }

    /// The address, in the file's own numbering, of what stands at `offset`.
    fn address(&self, offset: u64) -> Option<u64> {
        let holds = |(start, len, _): &&(u64, u64, u64)| (*start..start + len).contains(&offset);
        let (start, _, address) = self.segments.iter().find(holds)?;
        Some(offset - start + address)
    }

    /// The calls at an address, outermost first; `None` when nothing is known of it.
    fn frames(&self, address: u64, module: &Rc<str>) -> Option<Vec<Frame>> {
        let loader = self.loader.as_ref()?;
        let mut frames = Vec::new();
        if let Ok(mut calls) = loader.find_frames(address) {
            while let Ok(Some(call)) = calls.next() {
                let name = call.function.as_ref().and_then(|name| name.demangle().ok());
                let Some(name) = name else { continue };
                let place = call.location.as_ref();
                frames.push(Frame {
                    function: shortened(&name),
                    file: place
                        .and_then(|place| place.file)
                        .unwrap_or_default()
                        .to_owned(),
                    line: place.and_then(|place| place.line).unwrap_or(0),
                    module: Rc::clone(module),
                });
            }
        }
        if frames.is_empty() {
            let symbol = loader.find_symbol(address)?;
            let name = addr2line::demangle_auto(symbol.into(), None);
            frames.push(unnamed(shortened(&name), Rc::clone(module)));
        }
        frames.reverse();
        Some(frames)
    }
}

/// A Rust name without the hash at its end.
fn shortened(name: &str) -> String {
    let hash = name.rfind("::h").filter(|at| {
        let digits = &name[at + 3..];
        digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    });
    name[..hash.unwrap_or(name.len())].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hash_is_taken_from_a_name() {
        assert_eq!(shortened("a::b::h0123456789abcdef"), "a::b");
        assert_eq!(shortened("a::hello"), "a::hello");
        assert_eq!(shortened("main"), "main");
    }

    #[test]
    fn the_line_somebody_wrote_is_told_from_the_machinery() {
        let frame = |function: &str, file: &str| Frame {
            function: function.to_owned(),
            file: file.to_owned(),
            line: 1,
            module: "m".into(),
        };
        let vec = "/rustc/abc/library/alloc/src/vec/mod.rs";
        assert!(frame("alloc::vec::Vec<T>::push", vec).is_machinery());
        assert!(frame("operator new(unsigned long)", "").is_machinery());
        assert!(!frame("main", "/home/me/main.c").is_machinery());
        assert!(!frame("allocate_table", "table.c").is_machinery());
    }
}
