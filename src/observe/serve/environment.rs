//! What the environment asks the preload library to serve.

use super::super::heap_profile::{MOST_FRAMES, Sampling};
use super::super::recorder::{MOST_SAMPLE_BYTES, number};
use super::{Address, Config, ServeError, begin, follow, tell};
use crate::os::{self, File};

/// Frames of a stack, unless told otherwise.
const FRAMES: u64 = 32;

/// What stands before the address.
const MODE: &[u8] = b"serve:";

/// Serves if `PYMALLOC` says `serve:ADDRESS`: with `PYMALLOC_SERVE_SAMPLE` also a heap profile, with
/// `PYMALLOC_SERVE_FOLLOW` the programs that it starts and its children, too. What cannot be is one line on standard
/// error.
pub fn serve_as_asked() {
    if os::is_privileged() {
        return;
    }
    let Some(mode) = os::environment(c"PYMALLOC") else {
        return;
    };
    let Some(text) = mode.to_bytes().strip_prefix(MODE) else {
        return;
    };
    let asked = os::environment(c"PYMALLOC_SERVE_FOLLOW");
    let follows = asked.is_some_and(|value| !matches!(value.to_bytes(), b"" | b"0"));
    if !follows && parent_is_asked(mode.to_bytes()) {
        return;
    }
    let Some(address) = Address::parse(text) else {
        return tell(Err(ServeError::Address));
    };
    let bytes = number(c"PYMALLOC_SERVE_SAMPLE", MOST_SAMPLE_BYTES);
    let frames = number(c"PYMALLOC_TRACE", MOST_FRAMES as u64).unwrap_or(FRAMES) as usize;
    let config = Config {
        address,
        sampling: bytes.map(|bytes| Sampling { frames, bytes }),
    };
    if follows {
        follow(&config);
    }
    match begin(&config) {
        Err(ServeError::Taken) if follows => tell(begin(&config.of_process(os::pid()))),
        outcome => tell(outcome),
    }
}

/// Whether the process that started this one was asked for the same: then this one has it by inheritance only.
fn parent_is_asked(mode: &[u8]) -> bool {
    use core::fmt::Write;
    let mut path = os::Text::<64>::new();
    let _ = write!(path, "/proc/{}/environ", os::parent_pid());
    let Some(file) = path.as_c_str().and_then(File::open) else {
        return false;
    };
    let mut wanted = os::Text::<160>::new();
    wanted.write_bytes(b"PYMALLOC=");
    wanted.write_bytes(mode);
    holds_entry(|bytes| file.read(bytes), wanted.as_bytes())
}

/// Whether one of the entries that `read` gives, each ended by a nul, is `wanted`.
fn holds_entry(mut read: impl FnMut(&mut [u8]) -> usize, wanted: &[u8]) -> bool {
    let mut part = [0; 4096];
    // Bytes of the entry so far, and whether they are the wanted one's.
    let (mut len, mut same) = (0, true);
    loop {
        let n = read(&mut part);
        if n == 0 {
            return false;
        }
        for &byte in &part[..n] {
            if byte == 0 {
                if same && len == wanted.len() {
                    return true;
                }
                (len, same) = (0, true);
            } else {
                same &= wanted.get(len) == Some(&byte);
                len += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_wherever_it_stands() {
        let holds = |text: &[u8], step: usize| {
            let mut parts = text.chunks(step);
            holds_entry(
                |bytes| {
                    parts.next().map_or(0, |part| {
                        bytes[..part.len()].copy_from_slice(part);
                        part.len()
                    })
                },
                b"PYMALLOC=serve:unix:/x",
            )
        };
        for step in [1, 3, 1000] {
            assert!(holds(b"A=1\0PYMALLOC=serve:unix:/x\0B=2\0", step));
            assert!(holds(b"PYMALLOC=serve:unix:/x\0", step));
            assert!(!holds(
                b"PYMALLOC=serve:unix:/xy\0PYMALLOC=serve:unix:/\0",
                step
            ));
            assert!(!holds(b"XPYMALLOC=serve:unix:/x\0", step));
        }
    }
}
