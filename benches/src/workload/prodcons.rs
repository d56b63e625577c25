//! What does a block cost that is freed by another thread than the one that asked for it?
//!
//! Parcels of 64 blocks go through bounded channels whose buffers are made beforehand. Producers fill
//! them, consumers free them: no memory comes back to a producer but through the allocator.

use super::block;
use crate::worker::meter::Meter;
use crate::worker::rng::Rng;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Blocks per parcel.
const PARCEL: usize = 64;
/// Parcels on their way per channel.
const ON_THE_WAY: usize = 32;
/// Threads on the side that has several.
const MANY: usize = 3;

struct Parcel([*mut u8; PARCEL]);
// SAFETY: the blocks belong to whoever holds the parcel.
unsafe impl Send for Parcel {}

fn produce(seed: u64, parcels: usize, to: &[SyncSender<Parcel>]) {
    let mut rng = Rng::new(seed);
    for i in 0..parcels {
        let parcel = Parcel(std::array::from_fn(|_| block::alloc(rng.request())));
        to[i % to.len()]
            .send(parcel)
            .expect("consumers wait for the last parcel");
    }
}

fn consume(from: &Receiver<Parcel>) {
    for parcel in from {
        for block in parcel.0 {
            // SAFETY: this thread holds the parcel.
            unsafe { block::free(block) };
        }
    }
}

fn run(m: &mut Meter, producers: usize, consumers: usize) -> Result<(), String> {
    let parcels = m.pick(30_000, 120_000) / producers;
    m.time((parcels * producers * PARCEL) as u64, || {
        std::thread::scope(|scope| {
            let (senders, receivers): (Vec<_>, Vec<_>) = (0..consumers)
                .map(|_| sync_channel::<Parcel>(ON_THE_WAY))
                .unzip();
            for seed in 0..producers {
                let to = senders.clone();
                scope.spawn(move || produce(seed as u64, parcels, &to));
            }
            drop(senders);
            for from in receivers {
                scope.spawn(move || consume(&from));
            }
        });
    });
    Ok(())
}

pub fn one_to_one(m: &mut Meter) -> Result<(), String> {
    run(m, 1, 1)
}

pub fn one_to_many(m: &mut Meter) -> Result<(), String> {
    run(m, 1, MANY)
}

pub fn many_to_one(m: &mut Meter) -> Result<(), String> {
    run(m, MANY, 1)
}
