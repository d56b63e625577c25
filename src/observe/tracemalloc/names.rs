//! Names for return addresses: file and line, with the feature `symbols`; without it, file and address.

use super::frame::{Frame, UNKNOWN};
use super::tracer::InFile;
use std::collections::HashMap;

/// Names addresses, each once.
#[derive(Default)]
pub(super) struct Names {
    known: HashMap<InFile, Vec<Named>>,
    #[cfg(feature = "symbols")]
    debug_info: super::super::debug_info::DebugInfo,
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
    fn look_up(&mut self, (path, address): &InFile) -> Vec<Named> {
        let calls = self.debug_info.calls(path, *address).into_iter();
        let named = calls.map(|call| Named {
            frame: Frame::new(&call.file, call.line),
            is_machinery: call.is_machinery,
        });
        named.collect()
    }
}
