//! A damaged recording is refused with a message that says what is wrong and where.

use std::path::Path;

use crate::shared_folder;
use crate::support::pymt::{Error, ExcessRule, Key, Record, Recording};

/// Parts of a recording, to be put together rightly or wrongly.
struct Draft {
    metadata: String,
    /// Opcode and operands of each record.
    records: Vec<(u8, Vec<u32>)>,
    /// Calls stated by each checkpoint.
    checkpoints: Vec<u64>,
    calls: u64,
    arenas: u32,
}

/// One arena, one block from it, one RAW block, both freed.
fn draft() -> Draft {
    let metadata = r#"{"name": "draft", "python": "none", "arena_size": 1048576,
        "pool_size": 16384, "arena_base_excess": "4096"}"#;
    let records = vec![
        (0x05, vec![0, 4096]),
        (0x11, vec![16, 771]),
        (0x02, vec![600, 0x8000_0000]),
        (0x03, vec![0x8000_0000, 700, 0x8000_0000]),
        (0x07, vec![0]),
        (0x04, vec![771]),
        (0x14, vec![0x8000_0000]),
    ];
    Draft {
        metadata: metadata.to_owned(),
        records,
        checkpoints: vec![3],
        calls: 5,
        arenas: 1,
    }
}

impl Draft {
    fn bytes(&self) -> Vec<u8> {
        let mut metadata = self.metadata.clone();
        metadata.extend(std::iter::repeat_n(
            ' ',
            self.metadata.len().next_multiple_of(8) - metadata.len(),
        ));
        let operands: Vec<u32> = self
            .records
            .iter()
            .flat_map(|(_, words)| words)
            .copied()
            .collect();
        let mut bytes = b"PYMTRC01\0\0\0\0".to_vec();
        bytes.extend((metadata.len() as u32).to_le_bytes());
        bytes.extend((self.records.len() as u64).to_le_bytes());
        bytes.extend((operands.len() as u64).to_le_bytes());
        bytes.extend(self.calls.to_le_bytes());
        bytes.extend((self.checkpoints.len() as u32).to_le_bytes());
        bytes.extend(self.arenas.to_le_bytes());
        bytes.extend(metadata.bytes());
        bytes.extend(self.records.iter().map(|(opcode, _)| opcode));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(operands.iter().flat_map(|word| word.to_le_bytes()));
        for calls in &self.checkpoints {
            let mut checkpoint = b"label".to_vec();
            checkpoint.resize(32, 0);
            checkpoint.extend(calls.to_le_bytes());
            checkpoint.extend((0..15_u64).flat_map(u64::to_le_bytes));
            checkpoint.extend((0..96_u32).flat_map(u32::to_le_bytes));
            bytes.extend(checkpoint);
        }
        bytes
    }

    /// The message that refuses it.
    fn refusal(&self) -> String {
        refusal(&self.bytes())
    }
}

/// The message that refuses `bytes`.
fn refusal(bytes: &[u8]) -> String {
    Recording::parse(bytes)
        .expect_err("the damage is found")
        .to_string()
}

/// The draft with one record replaced.
fn with_record(at: usize, opcode: u8, operands: &[u32]) -> Draft {
    let mut draft = draft();
    draft.records[at] = (opcode, operands.to_vec());
    draft
}

#[test]
fn a_sound_recording_reads_back() {
    let recording = Recording::parse(&draft().bytes()).unwrap();
    let raw = Key(0x8000_0000);
    let expected = [
        Record::ArenaObtained {
            ordinal: 0,
            excess: 4096,
        },
        Record::Malloc {
            size: 16,
            key: Key(771),
        },
        Record::Calloc {
            total: 600,
            key: raw,
        },
        Record::Realloc {
            old: Some(raw),
            size: 700,
            key: raw,
        },
        Record::Checkpoint { index: 0 },
        Record::Free { key: Key(771) },
        Record::Free { key: raw },
    ];
    assert_eq!(recording.records().collect::<Vec<_>>(), expected);
    assert_eq!(
        (recording.name.as_str(), recording.python.as_str()),
        ("draft", "none")
    );
    assert_eq!(recording.excess_rule, ExcessRule::Fixed(4096));
    let checkpoint = &recording.checkpoints[0];
    assert_eq!((checkpoint.label.as_str(), checkpoint.calls), ("label", 3));
    assert_eq!(
        (checkpoint.values[14], checkpoint.classes[31]),
        (14, [93, 94, 95])
    );
    assert_eq!(checkpoint.map_nodes(), (11, 12));
}

#[test]
fn every_shared_recording_states_its_interpreter() {
    for name in crate::SHARED {
        let recording = crate::open_shared(name);
        assert_eq!(
            (recording.name.as_str(), &recording.python[..14]),
            (name, "CPython 3.11.7")
        );
    }
}

#[test]
fn files_that_are_no_recordings_are_refused() {
    let missing = Recording::open(Path::new("/no/such.pymt.gz"))
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("cannot read /no/such.pymt.gz: "),
        "{missing}"
    );
    let text = Recording::open(&shared_folder().join("waves.stats.txt")).unwrap_err();
    assert!(matches!(text, Error::Gzip(_)), "{text}");
    let mut bytes = draft().bytes();
    bytes[7] = b'2';
    assert_eq!(
        refusal(&bytes),
        "bad magic: expected \"PYMTRC01\", found \"PYMTRC02\""
    );
    bytes[7] = b'1';
    bytes[8] = 1;
    assert_eq!(refusal(&bytes), "bad header: unknown flags 0x1");
}

#[test]
fn a_recording_cut_anywhere_is_refused() {
    let bytes = draft().bytes();
    for length in 0..bytes.len() {
        let refusal = refusal(&bytes[..length]);
        let expected = format!("the data at byte {length}");
        assert!(
            refusal.starts_with("truncated: ") && refusal.ends_with(&expected),
            "{refusal}"
        );
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(refusal(&longer).starts_with("trailing bytes: "));
    // Sizes no file can have neither overflow nor allocate.
    for field in [16, 24] {
        let mut huge = bytes.clone();
        huge[field..field + 8].fill(0xFF);
        assert!(refusal(&huge).starts_with("truncated: "));
    }
}

#[test]
fn impossible_metadata_is_refused() {
    for (from, to, problem) in [
        ("}", "", "metadata: EOF"),
        ("1048576", "262144", "arena_size is 262144, not 1048576"),
        ("16384", "4096", "pool_size is 4096, not 16384"),
        ("\"4096\"", "\"wild\"", "unknown arena_base_excess \"wild\""),
        (
            "\"4096\"",
            "\"1048577\"",
            "unknown arena_base_excess \"1048577\"",
        ),
        ("\"4096\"", "null", "unknown arena_base_excess null"),
    ] {
        let mut draft = draft();
        draft.metadata = draft.metadata.replace(from, to);
        let refusal = draft.refusal();
        assert!(
            refusal.starts_with("bad header: ") && refusal.contains(problem),
            "{refusal}"
        );
    }
}

#[test]
fn totals_that_do_not_add_up_are_refused() {
    let mut wrong = draft();
    wrong.calls = 6;
    assert_eq!(
        wrong.refusal(),
        "bad header: 6 allocator calls stated, 5 found"
    );
    let mut wrong = draft();
    wrong.arenas = 2;
    assert_eq!(wrong.refusal(), "bad header: 2 arenas stated, 1 found");
    let mut wrong = draft();
    wrong.checkpoints.push(5);
    assert_eq!(wrong.refusal(), "bad header: 2 checkpoints stated, 1 found");
    let wrong = with_record(1, 0x13, &[16, 771]);
    assert_eq!(
        wrong.refusal(),
        "bad header: 12 operand words for records that need 13"
    );
}

#[test]
fn impossible_records_are_refused() {
    const RAW: u32 = 0x8000_0000;
    for (at, opcode, operands, problem) in [
        (1, 0x08, &[16, 771][..], "unknown opcode 0x08"),
        (1, 0x21, &[16, 771], "unknown opcode 0x21"),
        (0, 0x15, &[0, 4096], "unknown opcode 0x15"),
        (0, 0x05, &[1, 4096], "arena 1 obtained after 0 arenas"),
        (
            0,
            0x05,
            &[0, 0],
            "arena 0 has excess 0, the metadata say 4096",
        ),
        (0, 0x06, &[0], "arena 0 is released but not mapped"),
        (
            1,
            0x07,
            &[0],
            "a checkpoint stands between an arena record and its call",
        ),
        (
            1,
            0x01,
            &[16, 0x0001_0303],
            "a block at arena 1 + 0x3030, but arena 1 is not mapped",
        ),
        (1, 0x01, &[16, u32::MAX], "a call that returned null"),
        (
            2,
            0x01,
            &[16, 771],
            "a block at arena 0 + 0x3030, which is live already",
        ),
        (
            3,
            0x03,
            &[RAW, 700, RAW + 1],
            "RAW block 0 became RAW block 1; a RAW block keeps its key",
        ),
        (4, 0x07, &[1], "checkpoint 1 where 0 is due"),
        (5, 0x07, &[1], "checkpoint 1 is not in the file"),
        (3, 0x07, &[0], "checkpoint 0 states 3 calls after 2"),
        (
            6,
            0x06,
            &[0],
            "the end stands between an arena record and its call",
        ),
        (
            4,
            0x05,
            &[1, 4096],
            "a call that cannot obtain 1 and release 0 arenas",
        ),
    ] {
        let refusal = with_record(at, opcode, operands).refusal();
        assert!(
            refusal.starts_with("record ") && refusal.ends_with(problem),
            "{refusal} / {problem}"
        );
    }
}

#[test]
fn foreign_keys_are_refused() {
    let twice = with_record(6, 0x04, &[771]).refusal();
    let expected = "record 6: foreign key 0x00000303 (arena 0 + 0x3030) names no live block";
    assert_eq!(twice, expected);
    let never = with_record(3, 0x03, &[0x8000_0007, 700, 0x8000_0007]).refusal();
    assert_eq!(
        never,
        "record 3: foreign key 0x80000007 (RAW block 7) names no live block"
    );
    let far = with_record(5, 0x04, &[0x7FFF_0000]).refusal();
    assert_eq!(
        far,
        "record 5: foreign key 0x7fff0000 (arena 32767 + 0x0) names no live block"
    );
}
