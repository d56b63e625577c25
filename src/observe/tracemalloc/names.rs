//! Names for return addresses: file and line, with the feature `symbols`; without it, file and address.

use super::frame::{Frame, UNKNOWN};
use super::tracer::InFile;
use std::collections::HashMap;

/// Names addresses, each once.
#[derive(Default)]
pub(super) struct Names {
    known: HashMap<InFile, Vec<Named>>,
    #[cfg(feature = "symbols")]
    loaders: HashMap<Vec<u8>, Option<addr2line::Loader>>,
}

/// A call and whether it stands between the allocator and the line that somebody wrote.
#[derive(Clone, Debug)]
struct Named {
    frame: Frame,
    is_machinery: bool,
}

impl Names {
    /// The frames of a stack's calls, the most recent first, at most `limit`, and how many were left out in front
    /// because they are machinery. Never empty.
    pub fn frames(&mut self, calls: &[InFile], limit: usize) -> (Vec<Frame>, usize) {
        let all: Vec<Named> = calls.iter().flat_map(|call| self.of(call)).collect();
        let machinery = all.iter().take_while(|named| named.is_machinery).count();
        // A stack of machinery only is better than none.
        let skipped = if machinery == all.len() { 0 } else { machinery };
        let own = all.into_iter().skip(skipped).take(limit);
        let mut frames: Vec<_> = own.map(|named| named.frame).collect();
        if frames.is_empty() {
            frames.push(Frame::new(UNKNOWN, 0));
        }
        (frames, skipped)
    }

    fn of(&mut self, call: &InFile) -> Vec<Named> {
        if let Some(known) = self.known.get(call) {
            return known.clone();
        }
        let mut found = self.look_up(call);
        if found.is_empty() {
            let name = String::from_utf8_lossy(&call.0);
            found.push(Named {
                frame: Frame::new(&format!("{name}+{:#x}", call.1), 0),
                is_machinery: false,
            });
        }
        self.known.insert(call.clone(), found.clone());
        found
    }

    #[cfg(not(feature = "symbols"))]
    fn look_up(&mut self, _: &InFile) -> Vec<Named> {
        Vec::new()
    }

    /// The calls inlined at an address, innermost first.
    #[cfg(feature = "symbols")]
    fn look_up(&mut self, call: &InFile) -> Vec<Named> {
        use std::os::unix::ffi::OsStrExt;
        let (path, address) = call;
        let loader = self.loaders.entry(path.clone()).or_insert_with(|| {
            let path = std::ffi::OsStr::from_bytes(path);
            addr2line::Loader::new(path).ok()
        });
        let mut found = Vec::new();
        let Some(mut calls) = loader
            .as_ref()
            .and_then(|loader| loader.find_frames(*address).ok())
        else {
            return found;
        };
        while let Ok(Some(call)) = calls.next() {
            let function = call.function.as_ref().and_then(|name| name.demangle().ok());
            let place = call.location.as_ref();
            let Some(file) = place.and_then(|place| place.file) else {
                continue;
            };
            let lineno = place.and_then(|place| place.line).unwrap_or(0);
            found.push(Named {
                frame: Frame::new(file, lineno),
                is_machinery: is_machinery(function.as_deref().unwrap_or(""), file),
            });
        }
        found
    }
}

/// Whether a call belongs to this crate or to Rust's own libraries.
#[cfg(feature = "symbols")]
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
