//! What does a batch of 100,000 mixed blocks cost, by the order in which they are freed?

use super::block;
use crate::worker::meter::Meter;
use crate::worker::rng::Rng;
use crate::worker::scratch::Scratch;

const BLOCKS: usize = 100_000;

fn run(m: &mut Meter, order: impl FnOnce(&mut [u32])) -> Result<(), String> {
    let mut free_order = Scratch::<u32>::new(BLOCKS);
    for (i, at) in free_order.iter_mut().enumerate() {
        *at = i as u32;
    }
    order(&mut free_order);
    let mut blocks = Scratch::<*mut u8>::new(BLOCKS);
    m.own(&mut blocks);
    m.own(&mut free_order);
    let rounds = m.pick(8, 60);
    for round in 0..rounds {
        let mut rng = Rng::new(round);
        m.time(BLOCKS as u64, || {
            for slot in blocks.iter_mut() {
                *slot = block::alloc(rng.request());
            }
        });
        if round + 1 == rounds {
            m.live();
        }
        m.time(0, || {
            for &at in free_order.iter() {
                // SAFETY: the order names every block of this round once.
                unsafe { block::free(blocks[at as usize]) };
            }
        });
    }
    Ok(())
}

pub fn fifo(m: &mut Meter) -> Result<(), String> {
    run(m, |_| ())
}

pub fn lifo(m: &mut Meter) -> Result<(), String> {
    run(m, <[u32]>::reverse)
}

pub fn random(m: &mut Meter) -> Result<(), String> {
    run(m, |order| Rng::new(7).shuffle(order))
}
