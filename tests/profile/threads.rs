//! Threads that allocate, free each other's blocks, and leak.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::mpsc;

#[inline(never)]
fn leak_rust(n: usize) {
    black_box(Box::leak(vec![n as u8 + 1; 333].into_boxed_slice())); // LEAK
}

#[inline(never)]
fn work(id: u64) -> BTreeMap<String, Vec<u64>> {
    let mut map = BTreeMap::new();
    for i in 0..5000u64 {
        map.insert(format!("{id}-{}", i % 500), vec![i; (i % 50) as usize]);
    }
    map
}

fn main() {
    let (send, receive) = mpsc::channel();
    let threads: Vec<_> = (0..4)
        .map(|id| {
            let send = send.clone();
            std::thread::spawn(move || {
                send.send(work(id)).unwrap();
                (0..25).for_each(leak_rust);
            })
        })
        .collect();
    drop(send);
    let total: usize = receive.iter().map(|map| map.len()).sum();
    for thread in threads {
        thread.join().unwrap();
    }
    println!("{total}");
}
