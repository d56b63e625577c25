//! What does a `BTreeMap` with string keys cost: wide nodes, short strings, long lives?

use super::text;
use crate::worker::meter::Meter;
use crate::worker::rng::Rng;
use std::collections::BTreeMap;
use std::hint::black_box;

pub fn run(m: &mut Meter) -> Result<(), String> {
    let mut rng = Rng::new(13);
    let mut map: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let n = m.pick(250_000, 1_000_000);
    let keys = m.pick(100_000, 400_000);
    m.time(n, || {
        for _ in 0..n {
            let key = text::key(rng.below(keys) as u64);
            match rng.below(4) {
                0 => drop(map.remove(&key)),
                1 => drop(black_box(map.get(&key).map(Vec::len))),
                _ => drop(map.insert(key, vec![1; rng.below(100)])),
            }
        }
    });
    m.live();
    m.time(0, || drop(map));
    Ok(())
}
