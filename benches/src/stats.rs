//! The statistics of the report. Few samples from a noisy machine: medians and quartiles, no means.

/// Relative spread from which a sample is marked as noisy.
pub const NOISY: f64 = 0.10;

/// What a handful of samples says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The middle sample.
    pub median: f64,
    /// Half the interquartile range over the median; 0 for a single sample.
    pub spread: f64,
    /// How many samples there are.
    pub n_samples: usize,
}

impl Summary {
    /// Of at least one sample, else `None`.
    pub fn of(samples: &[f64]) -> Option<Summary> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let median = quantile(&sorted, 0.5)?;
        let half_range = (quantile(&sorted, 0.75)? - quantile(&sorted, 0.25)?) / 2.0;
        let spread = if median == 0.0 {
            0.0
        } else {
            half_range / median
        };
        Some(Summary {
            median,
            spread,
            n_samples: sorted.len(),
        })
    }

    /// Whether the samples spread so far that the median says little.
    pub fn is_noisy(&self) -> bool {
        self.spread > NOISY
    }

    /// `~` for noisy, `?` for a single sample, else nothing.
    pub fn mark(&self) -> &'static str {
        match (self.n_samples, self.is_noisy()) {
            (1, _) => "?",
            (_, true) => "~",
            (_, false) => "",
        }
    }
}

/// The quantile `q` in 0..=1 of ascending samples, between two samples by their distance.
fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let at = q * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(below + (above - below) * at.fract())
}

/// The geometric mean of positive numbers; `None` when there is none.
pub fn geometric_mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let logs: Vec<f64> = values
        .into_iter()
        .filter(|v| *v > 0.0)
        .map(f64::ln)
        .collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

/// The ratio of two medians; its spread is that of the ratios within the rounds, so that what slows a
/// whole round down does not count. `ours` and `theirs` are in the order of the rounds.
pub fn ratio(ours: &[f64], theirs: &[f64]) -> Option<Summary> {
    let value = Summary::of(ours)?.median / Summary::of(theirs)?.median;
    let paired: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
    Some(Summary {
        median: value,
        ..Summary::of(&paired)?
    })
    .filter(|s| s.median.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_spread_of_known_samples() {
        let s = Summary::of(&[5.0, 1.0, 3.0, 2.0, 4.0]).unwrap();
        assert_eq!((s.median, s.n_samples), (3.0, 5));
        assert!((s.spread - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(Summary::of(&[1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn one_outlier_does_not_move_the_median() {
        let s = Summary::of(&[10.0, 10.1, 9.9, 10.0, 90.0]).unwrap();
        assert!(s.median < 10.2 && !s.is_noisy());
    }

    #[test]
    fn marks_say_noisy_and_single() {
        assert_eq!(Summary::of(&[1.0]).unwrap().mark(), "?");
        assert_eq!(Summary::of(&[1.0, 2.0, 3.0]).unwrap().mark(), "~");
        assert_eq!(Summary::of(&[1.0, 1.0, 1.0]).unwrap().mark(), "");
    }

    #[test]
    fn the_geometric_mean_of_a_number_and_its_inverse_is_one() {
        assert!((geometric_mean([4.0, 0.25]).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(geometric_mean([]), None);
        assert!((geometric_mean([2.0, 8.0, 0.0]).unwrap() - 4.0).abs() < 1e-12);
    }

    #[test]
    fn a_slow_round_does_not_spread_a_ratio() {
        let r = ratio(&[1.0, 1.0, 3.0], &[2.0, 2.0, 6.0]).unwrap();
        assert_eq!((r.median, r.spread), (0.5, 0.0));
        assert_eq!(ratio(&[1.0], &[0.0]), None);
    }
}
