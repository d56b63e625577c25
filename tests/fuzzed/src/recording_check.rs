//! The reader of recordings takes any file: it ends, panics never, reads the same twice and in parts as at once,
//! and sealing changes no event.
//!
//! The first byte says how the rest becomes a recording, so that checksums do not stop the fuzzer at the door:
//!
//! | bits | meaning |
//! |---|---|
//! | 0 | the rest is the file, as it is; otherwise the payloads of whole chunks, each ended by [`SEPARATOR`] |
//! | 1 | events name stacks |
//! | 2 | the last chunk is the tail, which is still being filled |
//! | 3 | the last byte of the file is cut off |
//! | 4 | chunks are dealt to three logs in turn; otherwise there is one |

use crate::recording::decode::{Event, Step};
use crate::recording::format::{
    CHUNK_BYTES, CHUNK_HEADER_BYTES, ChunkHeader, HEADER_BYTES, Header, checksum,
};
use crate::recording::read::{Contents, End, Follower, ReadError, read, seal, tail_of};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Ends a payload: a stack of no frames below a node that no payload needs.
const SEPARATOR: [u8; 4] = [0x0d, 0xfc, 0xff, 0xff];

/// Reads the recording that `input` stands for.
///
/// # Panics
/// When a reader breaks a promise.
pub fn check(input: &[u8]) {
    let (how, rest) = match input.split_first() {
        Some((how, rest)) => (*how, rest),
        None => (1, input),
    };
    let (mut file, tail) = if how & 1 != 0 {
        (rest.to_vec(), None)
    } else {
        framed(
            rest,
            how & 2 != 0,
            how & 4 != 0,
            if how & 16 != 0 { 3 } else { 1 },
        )
    };
    if how & 8 != 0 {
        file.pop();
    }
    let path = place();
    write(&file, tail.as_deref());
    let Some((steps, contents)) = steps_of(path) else {
        return;
    };
    holds_together(&file, &steps, &contents);
    let again = steps_of(path).expect("what was readable is readable");
    assert_eq!(again.0, steps);
    grows(&file, tail.as_deref(), &steps, how & 17 == 0);
    seals(&file, tail.as_deref(), &steps, contents.end);
}

/// The recording that holds these payloads.
fn framed(
    rest: &[u8],
    has_stacks: bool,
    has_tail: bool,
    logs: usize,
) -> (Vec<u8>, Option<Vec<u8>>) {
    let header = Header {
        has_stacks,
        pid: 1,
        parent: 0,
        start_unix_ms: 0,
        max_frames: 32,
        page_bytes: 4096,
        sample_bytes: 0,
    };
    let mut file = header.to_bytes().to_vec();
    let mut chunks = Vec::new();
    let mut start = 0;
    for at in 0..rest.len() {
        if rest[at..].starts_with(&SEPARATOR) && at >= start {
            chunks.push(&rest[start..at]);
            start = at + SEPARATOR.len();
        }
    }
    chunks.push(&rest[start.min(rest.len())..]);
    let mut tail = None;
    let n = chunks.len();
    for (number, payload) in chunks.into_iter().enumerate() {
        let payload = &payload[..payload.len().min(CHUNK_BYTES - CHUNK_HEADER_BYTES)];
        let is_tail = has_tail && number + 1 == n;
        let header = ChunkHeader {
            len: payload.len() as u32,
            number: (number / logs) as u32,
            log: (number % logs) as u32,
            checksum: if is_tail { 0 } else { checksum(payload) },
        };
        let chunk = [&header.to_bytes()[..], payload].concat();
        match is_tail {
            true => tail = Some(chunk),
            false => file.extend(chunk),
        }
    }
    (file, tail)
}

/// A path in memory, of this process.
fn place() -> &'static PathBuf {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| format!("/dev/shm/pymalloc-fuzz.{}", std::process::id()).into())
}

fn write(file: &[u8], tail: Option<&[u8]>) {
    fs::write(place(), file).expect("a file in memory");
    match tail {
        Some(tail) => fs::write(tail_of(place()), tail).expect("a file in memory"),
        None => drop(fs::remove_file(tail_of(place()))),
    }
}

/// `None` for what is no recording.
fn steps_of(path: &Path) -> Option<(Vec<Step>, Contents)> {
    let mut steps = Vec::new();
    match read(path, |step| steps.push(*step)) {
        Ok(contents) => Some((steps, contents)),
        Err(ReadError::Header(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

/// What a reader says of a recording agrees with itself.
fn holds_together(file: &[u8], steps: &[Step], contents: &Contents) {
    assert_eq!(contents.events, steps.len() as u64);
    let rest = match contents.end {
        End::Cut(rest) | End::Damaged(rest) => rest,
        _ => 0,
    };
    assert!(contents.bytes >= HEADER_BYTES as u64);
    assert!(contents.bytes + rest <= file.len() as u64);
    let tables = &contents.tables;
    for number in 0..=tables.n_nodes() {
        let frames: Vec<(u32, u64)> = tables.stack(number).collect();
        assert_eq!(frames.is_empty(), number == 0);
        // Each is defined before the one inside it.
        assert!(frames.windows(2).all(|pair| pair[0].0 > pair[1].0));
        if let Some((node, frame)) = frames.first()
            && let Some((index, module)) = tables.module_of(*frame, *node)
        {
            assert_eq!(tables.modules.get(index), Some(module));
            assert!((module.start..module.end).contains(frame));
        }
    }
}

/// Who follows the file while it grows sees what one sees who reads it at its end: in the same order if there is `one`
/// log, and otherwise in one of its own, in which stacks may get other numbers. What comes behind a damaged chunk or the
/// end may then have been seen before that.
fn grows(file: &[u8], tail: Option<&[u8]>, steps: &[Step], one: bool) {
    let half = HEADER_BYTES + (file.len() - HEADER_BYTES) / 2;
    write(&file[..half], None);
    let Ok(mut follower) = Follower::open(place()) else {
        panic!("the header is whole");
    };
    let mut seen = Vec::new();
    let mut sink = |step: &Step| seen.push(*step);
    follower.poll(&mut sink).expect("readable");
    fs::File::options()
        .append(true)
        .open(place())
        .and_then(|mut end| end.write_all(&file[half..]))
        .expect("a file in memory");
    write(file, tail);
    follower.poll(&mut sink).expect("readable");
    if one {
        assert_eq!(seen, steps);
        return;
    }
    let ends = follower.merged().ending().is_some();
    let end = follower.finish().expect("readable").end;
    if !ends && !matches!(end, End::Damaged(_)) {
        assert_eq!(in_any_order(&seen), in_any_order(steps));
    }
}

/// What happened, without its stacks.
fn in_any_order(steps: &[Step]) -> Vec<String> {
    let without_stack = |step: &Step| {
        let mut event = step.event;
        if let Event::Alloc { stack, .. } | Event::Resize { stack, .. } = &mut event {
            *stack = 0;
        }
        format!("{} {event:?}", step.thread)
    };
    let mut all: Vec<String> = steps.iter().map(without_stack).collect();
    all.sort();
    all
}

/// Sealing keeps every event, and what was a tail is a chunk then.
fn seals(file: &[u8], tail: Option<&[u8]>, steps: &[Step], end: End) {
    if matches!(end, End::Damaged(_)) {
        return;
    }
    write(file, tail);
    seal(place()).expect("readable");
    assert!(!tail_of(place()).exists());
    let (sealed, contents) = steps_of(place()).expect("readable");
    assert_eq!(sealed, steps);
    assert!(
        !matches!(contents.end, End::Damaged(_)),
        "{:?}",
        contents.end
    );
}
