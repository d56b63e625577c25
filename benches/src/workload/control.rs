//! What do the accesses of `replace` cost when no allocator takes part?
//!
//! The same slots in the same order, the same sizes drawn: the block's first bytes are read, as `free`
//! does, and written, as the program does. The blocks stay where a bump allocator put them. What grows
//! here from a live set of 1 MiB to one of 4 GiB is the price of the caches and of the page tables; what
//! `replace` grows beyond it is the allocator's.

use super::replace::{MEAN, replacements};
use crate::worker::meter::Meter;
use crate::worker::rng::Rng;
use crate::worker::scratch::Scratch;

pub fn run<const MIB: usize>(m: &mut Meter) -> Result<(), String> {
    let mut slots = Scratch::<*mut u8>::new((MIB << 20) / MEAN);
    // Blocks end at multiples of 16 bytes; the mean of what is drawn may be a little off.
    let mut room = Scratch::<u8>::new((MIB << 20) / 8 * 9 + (1 << 20));
    let mut rng = Rng::new(MIB as u64);
    let mut used = 0;
    for slot in slots.iter_mut() {
        let size = rng.request();
        let block = &mut room[used..used + size];
        *slot = block.as_mut_ptr();
        write(*slot, size as u64);
        used += size.next_multiple_of(16);
    }
    let n = replacements::<MIB>(m);
    m.time(n, || {
        for _ in 0..n {
            let block = slots[rng.below(slots.len())];
            let size = rng.request();
            // SAFETY: every slot holds a block of at least eight bytes in `room`.
            let old = unsafe { block.cast::<u64>().read_unaligned() };
            write(block, std::hint::black_box(old) ^ size as u64);
        }
    });
    m.live();
    Ok(())
}

fn write(block: *mut u8, value: u64) {
    // SAFETY: every block has at least eight bytes in `room`.
    unsafe { block.cast::<u64>().write_unaligned(value) };
}
