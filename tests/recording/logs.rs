//! Recordings of several threads, each with a log of its own.

use super::*;

/// A block made or freed at an address, and the ticket.
type Happened = (u64, Result<usize, usize>);

/// Three logs and their chunks.
fn three_logs() -> Vec<(u32, Vec<u8>)> {
    let logs = [
        // Log 4 makes A by ticket 1 and C by ticket 7.
        (4, vec![(1, Ok(0xa00)), (7, Ok(0xc00))]),
        // Log 0 frees it by ticket 3, and makes it again; frees C.
        (0, vec![(3, Err(0xa00)), (3, Ok(0xa00)), (9, Err(0xc00))]),
        // Log 9 frees the second A.
        (9, vec![(2, Ok(0xb00)), (5, Err(0xa00)), (5, Err(0xb00))]),
    ];
    let write = |(log, events): (u32, Vec<Happened>)| {
        let memory = Box::leak(Box::new([0; CHUNK_BYTES]));
        let mut chunk = Chunk::new(memory, log, false);
        for (ticket, event) in events {
            chunk.ticket(ticket);
            match event {
                Ok(address) => {
                    let block = Alloc {
                        address,
                        size: ticket as usize,
                        align: 16,
                        zeroed: false,
                    };
                    chunk.alloc(log, &block, 0);
                }
                Err(address) => chunk.free(log, address),
            }
        }
        (log, chunk.close().to_vec())
    };
    logs.into_iter().map(write).collect()
}

/// Their events by address, the threads that caused them, and which of them are allocs.
const IN_ORDER: [(u64, u32, bool); 8] = [
    (0xa00, 4, true),
    (0xb00, 9, true),
    (0xa00, 0, false),
    (0xa00, 0, true),
    (0xa00, 9, false),
    (0xb00, 9, false),
    (0xc00, 4, true),
    (0xc00, 0, false),
];

fn in_short(steps: &[Step]) -> Vec<(u64, u32, bool)> {
    let short = |step: &Step| match step.event {
        Event::Alloc { address, .. } => (address, step.thread, true),
        Event::Free { address } => (address, step.thread, false),
        other => panic!("{other:?}"),
    };
    steps.iter().map(short).collect()
}

fn without_stacks() -> Vec<u8> {
    let header = Header {
        has_stacks: false,
        ..HEADER
    };
    header.to_bytes().to_vec()
}

#[test]
fn logs_are_read_in_the_order_of_their_tickets_wherever_they_stand() {
    let logs = three_logs();
    let path = file("three");
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let chunks = order.iter().flat_map(|at: &usize| logs[*at].1.clone());
        let bytes: Vec<u8> = without_stacks().into_iter().chain(chunks).collect();
        std::fs::write(&path, bytes).expect("written");
        let (steps, contents) = read_all(&path).expect("a recording");
        assert_eq!(in_short(&steps), IN_ORDER, "{order:?}");
        assert_eq!(contents.end, End::Open);
    }
}

#[test]
fn chunks_being_filled_by_several_threads_are_one_tail() {
    let logs = three_logs();
    let path = file("three_tails");
    let file = [without_stacks(), logs[1].1.clone()].concat();
    std::fs::write(&path, file).expect("written");
    let mut tail = Vec::new();
    for at in [0, 2] {
        let mut chunk = logs[at].1.clone();
        chunk.resize(CHUNK_BYTES, 0xaa);
        tail.extend(chunk);
    }
    std::fs::write(tail_of(&path), tail).expect("written");
    let (steps, _) = read_all(&path).expect("a recording");
    assert_eq!(in_short(&steps), IN_ORDER);
    seal(&path).expect("sealed");
    assert!(!tail_of(&path).exists());
    let (steps, contents) = read_all(&path).expect("a recording");
    assert_eq!(in_short(&steps), IN_ORDER, "the file alone");
    assert_eq!(contents.end, End::Open);
}

#[test]
fn what_comes_after_the_end_by_its_ticket_is_not_read() {
    let logs = three_logs();
    let memory = Box::leak(Box::new([0; CHUNK_BYTES]));
    let mut common = Chunk::new(memory, 255, false);
    common.ticket(4);
    common.end(Ending::Stopped, 4);
    let path = file("three_ended");
    let chunks = logs.iter().flat_map(|log| log.1.clone());
    let bytes: Vec<u8> = without_stacks().into_iter().chain(chunks).collect();
    std::fs::write(&path, [&bytes[..], common.close()].concat()).expect("written");
    let (steps, contents) = read_all(&path).expect("a recording");
    assert_eq!(in_short(&steps), IN_ORDER[..4]);
    assert_eq!(contents.end, End::Whole(Ending::Stopped));
}

#[test]
fn a_stack_that_two_logs_define_is_one() {
    let mut bytes = HEADER.to_bytes().to_vec();
    for log in [0, 1] {
        let memory = Box::leak(Box::new([0; CHUNK_BYTES]));
        let mut chunk = Chunk::new(memory, log, true);
        chunk.ticket(u64::from(log) + 1);
        if log == 1 {
            // Its numbers are its own.
            chunk.stack(0, 0, &[0x9000]);
        }
        chunk.module(0x1000, 0x2000, 0, b"/bin/a");
        chunk.stack(0, 0, &[0x1300, 0x1200]);
        let block = Alloc {
            address: 0x1000 * (log as usize + 1),
            size: 1,
            align: 16,
            zeroed: false,
        };
        chunk.alloc(log, &block, 2 + log);
        bytes.extend_from_slice(chunk.close());
    }
    let path = file("same_stack");
    std::fs::write(&path, bytes).expect("written");
    let (steps, contents) = read_all(&path).expect("a recording");
    let stacks: Vec<u32> = steps
        .iter()
        .map(|step| match step.event {
            Event::Alloc { stack, .. } => stack,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(stacks[0], stacks[1]);
    assert_eq!(contents.tables.modules.len(), 1);
    let frames: Vec<u64> = contents
        .tables
        .stack(stacks[0])
        .map(|frame| frame.1)
        .collect();
    assert_eq!(frames, [0x1300, 0x1200]);
}
