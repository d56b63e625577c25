//! The format of recordings: what is written is read back, whole, cut off, damaged or still growing.

#[allow(dead_code, reason = "the writer's limits are not all asked for here")]
#[path = "../src/observe/recording/mod.rs"]
mod recording;
#[path = "support/rng.rs"]
mod rng;

#[path = "recording/damaged.rs"]
mod damaged;
#[path = "recording/logs.rs"]
mod logs;

use recording::decode::{Event, Step};
use recording::encode::{Alloc, Chunk, EVENT_BYTES, STACK_BYTES, TEXT_BYTES};
use recording::format::{CHUNK_BYTES, Ending, HEADER_BYTES, Header, HeaderError, MarkKind};
use recording::last::{Last, last};
use recording::read::{Contents, End, Follower, ReadError, read, seal, tail_of};
use rng::Rng;
use std::path::{Path, PathBuf};

const HEADER: Header = Header {
    has_stacks: true,
    pid: 1234,
    parent: 1,
    start_unix_ms: 1_700_000_000_000,
    max_frames: 32,
    page_bytes: 4096,
    sample_bytes: 0,
};

/// A writer as the recorder is one, into memory.
struct Writer {
    chunk: Chunk<'static>,
    file: Vec<u8>,
}

impl Writer {
    fn new() -> Self {
        let memory = Box::leak(Box::new([0; CHUNK_BYTES]));
        Self {
            chunk: Chunk::new(memory, 0, HEADER.has_stacks),
            file: HEADER.to_bytes().to_vec(),
        }
    }

    /// The chunk, with room for one event.
    fn chunk(&mut self) -> &mut Chunk<'static> {
        if !self.chunk.has_room(EVENT_BYTES + STACK_BYTES + TEXT_BYTES) {
            self.file.extend_from_slice(self.chunk.close());
            self.chunk.next();
        }
        &mut self.chunk
    }

    /// The whole file.
    fn end(mut self, events: u64) -> Vec<u8> {
        self.chunk().end(Ending::Exit, events);
        self.file.extend_from_slice(self.chunk.close());
        self.file
    }

    /// The file without its last chunk, and that one as a tail.
    fn kill(mut self) -> (Vec<u8>, Vec<u8>) {
        self.chunk.publish();
        let len = self.chunk.len();
        let number = self.chunk.close()[8..12].to_vec();
        let mut tail = self.chunk.close().to_vec();
        assert_eq!(tail[8..12], number);
        tail[16..24].fill(0);
        tail.resize(CHUNK_BYTES, 0xaa);
        assert_eq!(tail[4..8], (len as u32).to_le_bytes());
        (self.file, tail)
    }
}

/// A file of this test.
fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("recording");
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(name);
    let _ = std::fs::remove_file(&path);
    let _ = std::fs::remove_file(tail_of(&path));
    path
}

fn read_all(path: &Path) -> Result<(Vec<Step>, Contents), ReadError> {
    let mut steps = Vec::new();
    let contents = read(path, |step| steps.push(*step))?;
    Ok((steps, contents))
}

/// Writes one event that names one of `n_nodes` stacks.
fn random_event(writer: &mut Writer, rng: &mut Rng, thread: u32, n_nodes: usize) -> Event {
    let address = rng.below(1 << 43) << 4;
    let most = 1 << rng.below(40);
    let size = rng.below(most);
    let stack = rng.below(n_nodes) as u32;
    match rng.below(5) {
        0 | 1 => {
            let align = 1 << (4 + rng.below(9));
            let zeroed = rng.below(2) == 1;
            let block = Alloc {
                address,
                size,
                align,
                zeroed,
            };
            writer.chunk().alloc(thread, &block, stack);
            Event::Alloc {
                address: address as u64,
                size: size as u64,
                align: align as u64,
                zeroed,
                stack,
            }
        }
        2 | 3 => {
            writer.chunk().free(thread, address);
            Event::Free {
                address: address as u64,
            }
        }
        _ => {
            let new = rng.below(1 << 43) << 4;
            writer.chunk().resize(thread, address, new, size, stack);
            Event::Resize {
                old: address as u64,
                new: new as u64,
                size: size as u64,
                stack,
            }
        }
    }
}

/// Writes `n` random events; what a reader must see.
fn random_events(writer: &mut Writer, rng: &mut Rng, n: usize) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut time_ms = 0;
    // Node 1 is the outermost frame of all.
    writer.chunk().stack(0, 0, &[0x40_0000]);
    let mut nodes = vec![(0, 0), (0, 0x40_0000)];
    for at in 0..n {
        if at % 50 == 0 {
            time_ms += rng.below(9) as u64;
            writer.chunk().time(time_ms);
            let parent = 1 + rng.below(nodes.len() - 1);
            let frame = 0x7f00_0000_0000 + rng.below(1 << 40);
            let outside: usize = nodes[parent].1;
            writer
                .chunk()
                .stack(parent as u32, outside, &[frame + 5, frame]);
            nodes.push((parent, frame));
            nodes.push((nodes.len() - 1, frame + 5));
        }
        let thread = rng.below(3) as u32;
        let event = random_event(writer, rng, thread, nodes.len());
        steps.push(Step {
            thread,
            time_ms,
            event,
        });
    }
    steps
}

#[test]
fn what_is_written_is_read_back() {
    for seed in 1..6 {
        let mut writer = Writer::new();
        writer.chunk().program(b"/bin/true");
        writer.chunk().argument(b"true");
        writer.chunk().argument(b"--\xff");
        let mut rng = Rng::new(seed);
        let steps = random_events(&mut writer, &mut rng, 40_000);
        let path = file("whole");
        std::fs::write(&path, writer.end(steps.len() as u64)).expect("written");
        let (found, contents) = read_all(&path).expect("a recording");
        assert_eq!(found, steps, "seed {seed}");
        assert_eq!(contents.header, HEADER);
        assert_eq!(contents.end, End::Whole(Ending::Exit));
        assert_eq!(contents.events, steps.len() as u64);
        assert_eq!(contents.tables.program, b"/bin/true");
        assert_eq!(contents.tables.arguments, [&b"true"[..], b"--\xff"]);
    }
}

#[test]
fn stacks_modules_and_marks_are_read_back() {
    let mut writer = Writer::new();
    let chunk = writer.chunk();
    chunk.module(0x1000, 0x2000, 0x800, b"/bin/a");
    chunk.stack(0, 0, &[0x1300, 0x1200, 0x1100]);
    chunk.stack(2, 0x1200, &[0x1500]);
    chunk.module(0x1000, 0x3000, 0, b"/lib/b");
    chunk.stack(3, 0x1300, &[0x1700]);
    chunk.mark(7, MarkKind::Begin, "größe".as_bytes());
    chunk.mark(7, MarkKind::End, "größe".as_bytes());
    let path = file("tables");
    std::fs::write(&path, writer.end(2)).expect("written");
    let (steps, contents) = read_all(&path).expect("a recording");
    let tables = contents.tables;
    let frames = |number| {
        let calls = tables.stack(number).map(|(_, frame)| frame);
        calls.collect::<Vec<_>>()
    };
    assert_eq!(frames(3), [0x1300, 0x1200, 0x1100]);
    assert_eq!(frames(4), [0x1500, 0x1200, 0x1100]);
    assert_eq!(frames(5), [0x1700, 0x1300, 0x1200, 0x1100]);
    assert_eq!(frames(0), [0; 0]);
    let module = |address, node| {
        let module = tables.module_of(address, node);
        module.map(|(_, module)| module.path.as_slice())
    };
    assert_eq!(module(0x1100, 4), Some(&b"/bin/a"[..]));
    assert_eq!(module(0x1100, 5), Some(&b"/lib/b"[..]), "replaced");
    assert_eq!(module(0x2fff, 5), Some(&b"/lib/b"[..]));
    assert_eq!(module(0x3000, 5), None);
    assert_eq!(tables.marks, ["größe"]);
    let kinds = [MarkKind::Begin, MarkKind::End];
    assert_eq!(steps.len(), 2);
    for (step, kind) in steps.iter().zip(kinds) {
        assert_eq!(step.thread, 7);
        assert_eq!(step.event, Event::Mark { kind, name: 0 });
    }
}

#[test]
fn a_usual_event_takes_a_few_bytes() {
    let mut writer = Writer::new();
    writer.chunk().stack(0, 0, &[0x40_0000]);
    let n = 10_000;
    for at in 0..n {
        let block = Alloc {
            address: 0x7f12_3450_0000 + 48 * at,
            size: 40,
            align: 16,
            zeroed: false,
        };
        writer.chunk().alloc(0, &block, 1);
    }
    for at in 0..n {
        writer.chunk().free(0, 0x7f12_3450_0000 + 48 * at);
    }
    let bytes = writer.end(2 * n as u64).len();
    assert!(bytes < 2 * n * 4, "{bytes} bytes for {} events", 2 * n);
}

#[test]
fn a_whole_recording_says_its_end_without_being_read() {
    let path = file("last");
    let found = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("written");
        last(&path).expect("a file")
    };
    let mut writer = Writer::new();
    let steps = random_events(&mut writer, &mut Rng::new(17), 20_000);
    let (events, bytes) = (steps.len() as u64, writer.file.len());
    let open = writer.file.clone();
    assert_eq!(found(&open), None, "no end");
    // The last chunk names stacks that an earlier one defined: only a reader of all of it understands it.
    assert_eq!(found(&writer.end(events)), None);
    // As the recorder ends: in a log of its own.
    let memory = Box::leak(Box::new([0; CHUNK_BYTES]));
    let mut common = Chunk::new(memory, 9, HEADER.has_stacks);
    common.program(b"/bin/true");
    common.ticket(77);
    common.time(5);
    common.end(Ending::Stopped, events);
    let whole = [&open, common.close()].concat();
    let (why, len) = (Ending::Stopped, whole.len() as u64);
    let expected = Last {
        why,
        events,
        bytes: len,
    };
    assert_eq!(found(&whole), Some(expected));
    assert_eq!(found(&whole[..whole.len() - 1]), None, "cut");
    assert_eq!(found(&[&whole[..], &[0]].concat()), None, "more behind it");
    let mut damaged = whole.clone();
    damaged[bytes + 30] ^= 1;
    assert_eq!(found(&damaged), None, "the last chunk is damaged");
    std::fs::write(&path, &whole).expect("written");
    std::fs::write(tail_of(&path), b"").expect("written");
    assert_eq!(last(&path).expect("a file"), None, "a tail");
    std::fs::remove_file(tail_of(&path)).expect("there");
    assert_eq!(found(b"#!/bin/sh\n"), None);
}

#[test]
fn a_growing_recording_is_read_as_it_grows() {
    let mut writer = Writer::new();
    let steps = random_events(&mut writer, &mut Rng::new(4), 20_000);
    let whole = writer.end(steps.len() as u64);
    let path = file("growing");
    std::fs::write(&path, &whole[..HEADER_BYTES]).expect("written");
    let mut follower = Follower::open(&path).expect("a recording");
    let mut found = Vec::new();
    for end in (HEADER_BYTES..whole.len())
        .step_by(7001)
        .chain([whole.len()])
    {
        std::fs::write(&path, &whole[..end]).expect("written");
        let before = found.len();
        let mut sink = |step: &Step| found.push(*step);
        follower.poll(&mut sink).expect("read");
        assert!(found.len() >= before);
    }
    assert_eq!(found, steps);
    let contents = follower.finish().expect("read");
    assert_eq!(contents.end, End::Whole(Ending::Exit));
}
