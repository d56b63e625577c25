//! How does the cost of a request grow with its size, and where does it jump?
//!
//! Sizes from 1 byte to 64 MiB, four to an octave; the first byte of each block is written. Each point
//! is the cheapest of several visits: what is added by the machine is not the allocator's.

use crate::worker::meter::Meter;
use std::alloc::{self, Layout};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Blocks live at a time in the batch variant.
const BATCH: usize = 64;
/// Largest request, bytes.
const LARGEST: u64 = 64 << 20;

/// The sizes visited, ascending, each once.
fn sizes() -> impl Iterator<Item = u64> {
    let exact = (0..=26 * 4).map(|quarter| 2f64.powf(f64::from(quarter) / 4.0).round() as u64);
    let mut last = 0;
    exact
        .filter(move |&size| std::mem::replace(&mut last, size) != size)
        .take_while(|&size| size <= LARGEST)
}

#[inline]
fn touch(layout: Layout) -> *mut u8 {
    // SAFETY: the size is not zero; the first byte is written.
    unsafe {
        let block = alloc::alloc(black_box(layout));
        if block.is_null() {
            alloc::handle_alloc_error(layout);
        }
        block.write(1);
        black_box(block)
    }
}

pub fn pair(m: &mut Meter) -> Result<(), String> {
    sweep(m, 1, |layout| {
        let block = touch(layout);
        // SAFETY: allocated above with that layout.
        unsafe { alloc::dealloc(block, layout) };
    })
}

pub fn batch(m: &mut Meter) -> Result<(), String> {
    let mut blocks = [std::ptr::null_mut(); BATCH];
    sweep(m, BATCH as u32, move |layout| {
        for slot in &mut blocks {
            *slot = touch(layout);
        }
        for &block in &blocks {
            // SAFETY: allocated above with that layout.
            unsafe { alloc::dealloc(block, layout) };
        }
    })
}

/// Visits every size; `step` makes `blocks` blocks and frees them.
fn sweep(m: &mut Meter, blocks: u32, mut step: impl FnMut(Layout)) -> Result<(), String> {
    let visit = Duration::from_micros(m.pick(200, 5_000));
    for size in sizes() {
        let align = 1 << size.ilog2().min(4);
        let layout = Layout::from_size_align(size as usize, align).expect("at most 64 MiB");
        let mut cheapest = f64::INFINITY;
        m.time(0, || {
            for _ in 0..5 {
                cheapest = cheapest.min(visit_once(visit, layout, &mut step) / f64::from(blocks));
            }
        });
        m.point(size, cheapest);
    }
    Ok(())
}

/// Nanoseconds per step over at least `visit`: the number of steps doubles until it takes that long.
fn visit_once(visit: Duration, layout: Layout, step: &mut impl FnMut(Layout)) -> f64 {
    let mut steps = 1u32;
    loop {
        let started = Instant::now();
        for _ in 0..steps {
            step(layout);
        }
        let took = started.elapsed();
        if took >= visit {
            return took.as_nanos() as f64 / f64::from(steps);
        }
        steps *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sweep_covers_one_byte_to_64_mib_in_small_steps() {
        let all: Vec<u64> = sizes().collect();
        assert_eq!((all[0], *all.last().unwrap()), (1, LARGEST));
        assert!(all.windows(2).all(|w| w[0] < w[1] && w[1] <= 2 * w[0]));
    }
}
