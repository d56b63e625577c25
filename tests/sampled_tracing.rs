//! `tracemalloc` of a sample: right on average, and rid of what was freed.

use pymalloc::observe::tracemalloc::{self, KeyType};

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

/// Makes and frees blocks, so that the slow calls that see frees come.
fn stir() {
    for _ in 0..10 {
        let blocks: Vec<[Box<[u8; 64]>; 1]> = (0..300).map(|_| [Box::new([1; 64])]).collect();
        let others: Vec<Box<[u8; 700]>> = (0..300).map(|_| Box::new([1; 700])).collect();
        drop((blocks, others));
    }
}

#[test]
fn a_sample_is_right_on_average_and_forgets_what_is_freed() {
    tracemalloc::start_sampled(8, 16 << 10).expect("it starts");
    let small: Vec<Box<[u8; 64]>> = (0..100_000).map(|n| Box::new([n as u8; 64])).collect();
    let medium: Vec<Box<[u8; 700]>> = (0..20_000).map(|n| Box::new([n as u8; 700])).collect();
    for _ in 0..1_000_000 {
        drop(std::hint::black_box(Box::new([0u8; 64])));
    }
    let (current, peak) = tracemalloc::get_traced_memory();
    // 6.4 MB and 14 MB and two vectors, in 1,300 samples: five standard deviations.
    let expected = 20.4e6 + 8.0 * 120_000.0;
    assert!(
        (current as f64 / expected - 1.0).abs() < 0.14,
        "{current} for {expected}"
    );
    assert!(peak >= current);
    let snapshot = tracemalloc::take_snapshot().expect("it traces");
    let sum: u64 = snapshot.traces.iter().map(|trace| trace.size).sum();
    assert_eq!(sum, current);
    let count: u64 = snapshot.traces.iter().map(|trace| trace.count).sum();
    assert!(
        (count as f64 / 120_000.0 - 1.0).abs() < 0.17,
        "{count} blocks"
    );
    assert!(
        snapshot.traces.len() < 3000,
        "few are looked at: {}",
        snapshot.traces.len()
    );
    let statistics = snapshot
        .statistics(KeyType::Traceback, false)
        .expect("statistics");
    let counted: u64 = statistics.iter().map(|statistic| statistic.count).sum();
    assert_eq!(counted, count);
    drop((small, medium));
    stir();
    let (left, _) = tracemalloc::get_traced_memory();
    // A few samples may lie in buffers, and what the test's own machinery made.
    assert!(left < 500_000, "{left} of {current}");
    tracemalloc::stop();
    stir();
    assert_eq!(tracemalloc::get_traced_memory(), (0, 0));
    tracemalloc::start(1).expect("exact tracing begins where lists were parked");
    let exact = vec![0u8; 12_345];
    assert!(tracemalloc::get_traced_memory().0 >= 12_345);
    drop(exact);
    tracemalloc::stop();
}

#[test]
fn too_rare_or_contradicting_samples_are_refused() {
    assert!(tracemalloc::start_sampled(0, 1024).is_err());
}
