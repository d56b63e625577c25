//! Recordings that are cut off, damaged, of a killed process, or none at all.

use super::*;
use crate::recording::format::{ChunkHeader, checksum};

#[test]
fn a_cut_recording_reads_up_to_its_last_whole_chunk() {
    let mut writer = Writer::new();
    let steps = random_events(&mut writer, &mut Rng::new(9), 20_000);
    let whole = writer.end(steps.len() as u64);
    let path = file("cut");
    let mut rng = Rng::new(3);
    let mut before = 0;
    let mut places: Vec<_> = (0..60)
        .map(|_| HEADER_BYTES + rng.below(whole.len() - HEADER_BYTES))
        .collect();
    places.sort_unstable();
    for place in places {
        std::fs::write(&path, &whole[..place]).expect("written");
        let (found, contents) = read_all(&path).expect("a recording");
        assert_eq!(found, steps[..found.len()], "cut at {place}");
        assert!(matches!(contents.end, End::Cut(_) | End::Open), "{place}");
        assert!(found.len() >= before, "more bytes, no fewer events");
        before = found.len();
    }
    assert!(before > 0, "no cut left a chunk");
}

#[test]
fn a_damaged_chunk_ends_the_recording_before_it() {
    let mut writer = Writer::new();
    let steps = random_events(&mut writer, &mut Rng::new(5), 20_000);
    let whole = writer.end(steps.len() as u64);
    let path = file("damaged");
    let mut rng = Rng::new(11);
    for _ in 0..60 {
        let place = HEADER_BYTES + rng.below(whole.len() - HEADER_BYTES);
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << rng.below(8);
        std::fs::write(&path, &bytes).expect("written");
        let (found, contents) = read_all(&path).expect("a recording");
        assert!(found.len() <= steps.len());
        assert_eq!(found, steps[..found.len()], "byte {place}");
        let is_noticed = !matches!(contents.end, End::Whole(_));
        // Four bytes of a chunk's header are not used.
        assert!(is_noticed || found.len() == steps.len(), "byte {place}");
    }
}

#[test]
fn bytes_that_nobody_wrote_are_no_reason_to_panic() {
    let path = file("nonsense");
    let mut rng = Rng::new(21);
    for round in 0..400 {
        let len = rng.below(300);
        let payload: Vec<u8> = (0..len).map(|_| rng.below(256) as u8).collect();
        let header = ChunkHeader {
            len: len as u32,
            number: 0,
            log: 0,
            checksum: checksum(&payload),
        };
        let parts = [&HEADER.to_bytes()[..], &header.to_bytes(), &payload];
        std::fs::write(&path, parts.concat()).expect("written");
        let (steps, contents) = read_all(&path).expect("a header");
        assert!(steps.len() <= len, "round {round}");
        assert!(contents.events as usize == steps.len());
    }
}

#[test]
fn other_files_and_versions_are_told_apart() {
    let path = file("other");
    let error = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("written");
        match read_all(&path) {
            Err(ReadError::Header(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(error(b"#!/bin/sh\n"), HeaderError::Foreign);
    assert_eq!(error(b""), HeaderError::Foreign);
    assert_eq!(error(&HEADER.to_bytes()[..30]), HeaderError::Truncated);
    let mut newer = HEADER.to_bytes();
    newer[8] = 3;
    assert_eq!(error(&newer), HeaderError::Version(3));
    std::fs::remove_file(&path).expect("there");
    let text = read_all(&path).expect_err("gone").to_string();
    assert!(text.starts_with("cannot read the recording: "), "{text}");
}

#[test]
fn a_killed_process_loses_nothing() {
    for n in [1, 100, 15_000] {
        let mut writer = Writer::new();
        let steps = random_events(&mut writer, &mut Rng::new(n as u64), n);
        let (bytes, tail) = writer.kill();
        let path = file("killed");
        std::fs::write(&path, &bytes).expect("written");
        std::fs::write(tail_of(&path), &tail).expect("written");
        let (found, contents) = read_all(&path).expect("a recording");
        assert_eq!(found, steps);
        assert_eq!(contents.end, End::Open);
        seal(&path).expect("sealed");
        assert!(!tail_of(&path).exists());
        let (found, contents) = read_all(&path).expect("a recording");
        assert_eq!(found, steps, "the file alone");
        assert_eq!(contents.end, End::Open);
        seal(&path).expect("sealed again, to no effect");
        assert_eq!(read_all(&path).expect("a recording").0, steps);
    }
}

#[test]
fn a_tail_of_another_time_is_not_read() {
    let mut writer = Writer::new();
    let steps = random_events(&mut writer, &mut Rng::new(1), 100);
    let (_, tail) = writer.kill();
    let mut writer = Writer::new();
    let others = random_events(&mut writer, &mut Rng::new(2), 15_000);
    let whole = writer.end(others.len() as u64);
    let path = file("stale");
    std::fs::write(&path, &whole).expect("written");
    std::fs::write(tail_of(&path), &tail).expect("written");
    assert_eq!(read_all(&path).expect("a recording").0, others);
    assert_ne!(steps[0], others[0]);
}

#[test]
fn a_recording_of_the_first_version_is_named_as_one() {
    let mut old = HEADER.to_bytes();
    old[8] = 1;
    let path = file("version_1");
    std::fs::write(&path, old).expect("written");
    let text = read_all(&path).expect_err("too old").to_string();
    assert_eq!(
        text,
        "a recording of version 1; this pymalloc reads version 2"
    );
}
