//! What a sampled block stands for.

/// How many blocks of its kind a sampled block stands for: 1 over the probability that it was sampled. `charged`
/// is its size class's bytes, or its own above the largest; `interval` the bytes between two samples, 0 if
/// every block was recorded.
pub fn weight(charged: u64, interval: u64) -> f64 {
    if interval == 0 || charged == 0 {
        return 1.0;
    }
    1.0 / chance(charged as f64 / interval as f64)
}

/// 1 - e^-x for `x` above 0, to twelve digits. The preload library links no mathematics.
fn chance(x: f64) -> f64 {
    // So many bytes are always met.
    if x > 40.0 {
        return 1.0;
    }
    let (mut part, mut doublings) = (x, 0);
    while part > 0.01 {
        part /= 2.0;
        doublings += 1;
    }
    let series = |sum: f64, n: f64| part / n * (1.0 - sum);
    let chance = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0].into_iter().fold(0.0, series);
    // Missed in neither half.
    (0..doublings).fold(chance, |chance: f64, _| chance * (2.0 - chance))
}

/// The blocks, and their bytes, that the `nth` sampled block, of `size` bytes, stands for. The number of blocks is
/// rounded up or down so that it is right on average; which way hangs from `nth` alone, so who reads a recording
/// twice finds the same. (Were it the block's address, a place that is used again and again would always be
/// rounded the same way.)
pub fn stands_for(weight: f64, size: u64, nth: u64) -> (u64, u64) {
    let mixed = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let part = mixed as f64 / (1u64 << 32) as f64;
    let bytes = size as f64 * weight + 0.5;
    ((weight + part) as u64, bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_is_one_less_the_power_of_e() {
        for n in 1..4000 {
            let x = (f64::from(n) / 200.0).powi(3) / 50.0 + 1e-9;
            let expected = -(-x).exp_m1();
            assert!((chance(x) / expected - 1.0).abs() < 1e-12, "{x}");
        }
    }

    #[test]
    fn a_block_stands_for_the_ones_that_were_not_sampled() {
        let about = |charged, interval, expected: f64| {
            let found = weight(charged, interval);
            assert!((found / expected - 1.0).abs() < 1e-3, "{charged}: {found}");
        };
        about(64, 0, 1.0);
        about(512, 524_288, 1024.5);
        about(524_288, 524_288, 1.582);
        about(1 << 30, 524_288, 1.0);
        assert_eq!(stands_for(1.0, 100, 1230), (1, 100));
        let sum: u64 = (0..10_000).map(|n| stands_for(1.582, 8, n).0).sum();
        assert!((15_700..15_940).contains(&sum), "{sum}");
    }
}
