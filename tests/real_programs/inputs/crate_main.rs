//! Works its allocator from several threads and prints what came out.
use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc;
use std::thread;

mod generated;

fn work(seed: u64, out: mpsc::SyncSender<Vec<String>>) -> u64 {
    let mut state = seed;
    let mut table: HashMap<u64, Vec<u8>> = HashMap::new();
    for n in 0..20_000u64 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let size = (state >> 33) as usize % if n % 100 == 0 { 100_000 } else { 700 };
        table.entry(state >> 54).or_default().resize(size, n as u8);
        if n % 50 == 0 {
            let batch = (0..20).map(|i| "s".repeat((size + i) % 300)).collect();
            out.send(batch).expect("the receiver lives");
        }
        if n % 7 == 0 {
            table.remove(&(state >> 54));
        }
    }
    table.values().map(|bytes| bytes.iter().map(|&b| u64::from(b)).sum::<u64>()).sum()
}

fn main() {
    let (out, received) = mpsc::sync_channel(16);
    let threads: Vec<_> = (1..=6).map(|seed| { let out = out.clone(); thread::spawn(move || work(seed, out)) }).collect();
    drop(out);
    // Freed here, made there.
    let bytes: usize = received.iter().flatten().map(|text| text.len()).sum();
    let sums: Vec<u64> = threads.into_iter().map(|t| t.join().expect("no panic")).collect();
    println!("{bytes} {sums:?}");
    let tree: BTreeMap<String, Vec<u32>> = (0..5000u32).map(|n| (format!("{}", n * 7919 % 10007), (0..n % 90).collect())).collect();
    println!("{} {:?}", tree.len(), tree.iter().nth(1234).map(|(k, v)| (k, v.len())));
    println!("{}", generated::last(200).len());
    println!("{:?}", std::panic::catch_unwind(|| { if tree_is_odd() { panic!("caught") } }).is_err());
}

fn tree_is_odd() -> bool {
    std::panic::set_hook(Box::new(|_| {}));
    true
}
