use super::*;

fn alloc(address: u64, size: u64, stack: u32) -> Event {
    Event::Alloc {
        address,
        size,
        align: 16,
        zeroed: false,
        stack,
    }
}

fn after(events: &[Event]) -> Usage {
    let mut usage = Usage::new(1, 0);
    for (time_ms, event) in events.iter().enumerate() {
        usage.step(&Step {
            thread: 0,
            time_ms: time_ms as u64,
            event: *event,
        });
    }
    usage.add_live(Measure::Leaks);
    usage
}

#[test]
fn the_peak_is_the_most_that_lived_at_once() {
    let usage = after(&[
        alloc(16, 100, 1),
        alloc(32, 50, 2),
        Event::Free { address: 16 },
        alloc(16, 20, 1),
    ]);
    assert_eq!((usage.peak.live.bytes, usage.peak.time_ms), (150, 1));
    assert_eq!(
        usage.live,
        Sum {
            blocks: 2,
            bytes: 70
        }
    );
    assert_eq!(usage.stacks[1].of(Measure::Total).bytes, 120);
    assert_eq!(usage.stacks[1].of(Measure::Leaks).bytes, 20);
    assert_eq!(usage.timeline.len(), 4);
}

#[test]
fn temporary_is_what_dies_before_the_next_is_made() {
    let usage = after(&[
        alloc(16, 7, 1),
        Event::Free { address: 16 },
        alloc(16, 8, 2),
        alloc(32, 9, 3),
        Event::Free { address: 16 },
        Event::Free { address: 64 },
    ]);
    assert_eq!(usage.stacks[1].of(Measure::Temporary).blocks, 1);
    assert_eq!(usage.stacks[2].of(Measure::Temporary).blocks, 0);
    assert_eq!(usage.unknown_frees, 1);
}

#[test]
fn a_resize_moves_the_block_to_its_new_stack() {
    let usage = after(&[
        alloc(16, 7, 1),
        Event::Resize {
            old: 16,
            new: 48,
            size: 70,
            stack: 2,
        },
    ]);
    assert_eq!(usage.stacks[1].of(Measure::Leaks).blocks, 0);
    assert_eq!(usage.stacks[2].of(Measure::Leaks).bytes, 70);
    assert_eq!(usage.peak.live.bytes, 70);
}

#[test]
fn a_place_used_again_and_again_is_not_rounded_one_way() {
    // Each stands for 1.0104 blocks.
    for address in (16..16 * 100).step_by(16) {
        let mut usage = Usage::new(1, 64 << 10);
        for _ in 0..1_000 {
            for event in [alloc(address, 300_000, 1), Event::Free { address }] {
                usage.step(&Step {
                    thread: 0,
                    time_ms: 0,
                    event,
                });
            }
        }
        let made = usage.stacks[1].of(Measure::Total);
        assert!((1_005..=1_016).contains(&made.blocks), "{made:?}");
        assert_eq!(usage.live, Sum::default());
    }
}
