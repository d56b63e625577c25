use super::*;

#[test]
fn the_logarithm_is_one() {
    for x in [1e-16, 1e-9, 0.1, 0.5, 0.7, 0.999_999, 1.0, 1.5, 2.0, 1e9] {
        assert!(
            (ln(x) - f64::ln(x)).abs() < 1e-9 * f64::ln(x).abs().max(1.0),
            "{x}"
        );
    }
}

#[test]
fn gaps_are_exponential() {
    let (interval, bytes, most) = (4096, 64, 255);
    let (n, mut hits, mut first, mut sum) = (200_000, 0, 0, 0);
    for seed in 0..n {
        SEEDS.store(seed, Ordering::Relaxed);
        if let Some(at) = draw(random(None), interval, bytes, most) {
            assert!(at < most);
            hits += 1;
            sum += at;
            first += u32::from(at == 0);
        }
    }
    let p = 1.0 - (-64.0f64 / 4096.0).exp();
    let within = 1.0 - (1.0 - p).powi(255);
    let share = f64::from(hits) / n as f64;
    assert!((share / within - 1.0).abs() < 0.01, "{share} {within}");
    let at_once = f64::from(first) / n as f64;
    assert!((at_once / p - 1.0).abs() < 0.05, "{at_once} {p}");
    // The mean of a geometric distribution cut off at 255.
    let mean = sum as f64 / f64::from(hits);
    assert!((57.7..59.6).contains(&mean), "{mean}");
}
