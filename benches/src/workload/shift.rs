//! What becomes of memory whose blocks change their size?
//!
//! A live set of 32 MiB is replaced block by block at random while the sizes drawn move up and down
//! again: small, middle, larger, small. What an allocator cannot reuse for the next size stays resident.

use super::block;
use crate::worker::meter::Meter;
use crate::worker::rng::Rng;
use crate::worker::scratch::Scratch;

/// Bytes the live set tends to.
const LIVE: u64 = 32 << 20;
/// Sizes drawn in each phase, bytes.
const PHASES: [(usize, usize); 5] = [(8, 96), (64, 512), (256, 4096), (16, 256), (8, 64)];
/// Slots for the smallest blocks.
const SLOTS: usize = LIVE as usize / 24;

/// Slots in use from the front; a block that leaves is replaced by the last one.
struct Set {
    slots: Scratch<(*mut u8, usize)>,
    n_used: usize,
    bytes: u64,
}

impl Set {
    fn add(&mut self, size: usize) {
        self.slots[self.n_used] = (block::alloc(size), size);
        self.n_used += 1;
        self.bytes += size as u64;
    }

    fn remove(&mut self, at: usize) {
        let (block, size) = self.slots[at];
        // SAFETY: a slot in use holds a live block, which leaves the set.
        unsafe { block::free(block) };
        self.n_used -= 1;
        self.slots[at] = self.slots[self.n_used];
        self.bytes -= size as u64;
    }
}

pub fn run(m: &mut Meter) -> Result<(), String> {
    let mut set = Set {
        slots: Scratch::new(SLOTS),
        n_used: 0,
        bytes: 0,
    };
    m.own(&mut set.slots);
    let mut rng = Rng::new(29);
    let rounds = m.pick(1, 6);
    for (low, high) in (0..rounds).flat_map(|_| PHASES) {
        // Two thirds of a phase's blocks are new.
        let n = 3 * LIVE / (low + high) as u64;
        m.time(n, || {
            for _ in 0..n {
                let size = low + rng.below(high - low);
                while set.n_used > 0 && (set.bytes + size as u64 > LIVE || set.n_used == SLOTS) {
                    set.remove(rng.below(set.n_used));
                }
                set.add(size);
            }
        });
    }
    m.live_with(set.bytes);
    while set.n_used > 0 {
        set.remove(set.n_used - 1);
    }
    Ok(())
}
