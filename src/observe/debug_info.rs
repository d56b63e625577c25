//! Functions, files and lines of code addresses, from debug information. With the feature `symbols` only.
//!
//! What is read stays in memory as long as the [`DebugInfo`], some times the size of what was asked for.

use std::collections::HashMap;

/// The debug information of the files that were asked about.
#[derive(Default)]
pub(super) struct DebugInfo {
    loaders: HashMap<Vec<u8>, Option<addr2line::Loader>>,
}

/// A function at a line.
#[cfg_attr(
    feature = "preload",
    allow(
        dead_code,
        reason = "profiles that the preload library serves have no lines"
    )
)]
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// As people write it; empty when it is not known.
    pub function: String,
    /// As the linker knows it; empty when it is not known.
    pub system_name: String,
    /// The source file.
    pub file: String,
    /// The line in it; 0 when it is not known.
    pub line: u32,
    /// Whether it stands between the allocator and the line that somebody wrote.
    pub is_machinery: bool,
}

impl DebugInfo {
    /// The calls at an address of the file `path`, in the file's own numbering, innermost first: more than one where
    /// calls were inlined, none where no source file is known.
    pub fn calls(&mut self, path: &[u8], address: u64) -> Vec<Call> {
        use std::os::unix::ffi::OsStrExt;
        let loader = self.loaders.entry(path.to_vec()).or_insert_with(|| {
            let path = std::ffi::OsStr::from_bytes(path);
            addr2line::Loader::new(path).ok()
        });
        let mut found = Vec::new();
        let Some(mut calls) = loader
            .as_ref()
            .and_then(|loader| loader.find_frames(address).ok())
        else {
            return found;
        };
        let mut is_outermost = false;
        while let Ok(Some(call)) = calls.next() {
            let place = call.location.as_ref();
            is_outermost = place.is_some_and(|place| place.file.is_some());
            let Some(file) = place.and_then(|place| place.file) else {
                continue;
            };
            let name = call.function.as_ref();
            let function = name.and_then(|name| name.demangle().ok());
            let function = function.as_deref().unwrap_or("");
            let system_name = name.and_then(|name| name.raw_name().ok());
            found.push(Call {
                function: function.to_owned(),
                system_name: system_name.as_deref().unwrap_or("").to_owned(),
                file: file.to_owned(),
                line: place.and_then(|place| place.line).unwrap_or(0),
                is_machinery: is_machinery(function, file),
            });
        }
        // Tables of lines alone name a function without its path, which the symbol has.
        if is_outermost
            && let Some(call) = found.last_mut()
            && call.function == call.system_name
            && let Some(symbol) = loader
                .as_ref()
                .and_then(|loader| loader.find_symbol(address))
        {
            call.function = addr2line::demangle_auto(symbol.into(), None).into_owned();
            symbol.clone_into(&mut call.system_name);
        }
        found
    }
}

/// Whether a call belongs to this crate or to Rust's own libraries.
fn is_machinery(function: &str, file: &str) -> bool {
    /// Where this crate was built; of its functions, `line-tables-only` keeps the last part of the name.
    const OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");
    let starts = ["pymalloc::", "<pymalloc::", "__rust", "__rustc"];
    // Rust's libraries, and those built into them.
    let files = ["/rustc/", "/rustlib/src/rust/library/", "/rust/deps/"];
    file.starts_with(OWN)
        || starts.iter().any(|start| function.starts_with(start))
        || files.iter().any(|part| file.contains(part))
}
