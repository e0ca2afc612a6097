//! The history of a key: what is kept of the numbers it has seen.

use tidegate_plugin::State;

/// An exponentially weighted mean and variance, updated one number at a time ("Incremental
/// calculation of weighted mean and variance", T. Finch, 2009, section 9). 20 bytes as a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, State)]
pub(crate) struct History {
    /// How many numbers were seen; it stays at its maximum.
    pub(crate) seen: u32,
    pub(crate) mean: f64,
    pub(crate) variance: f64,
}

/// No score is greater: JSON has no infinity, and beyond this it makes no difference.
pub(crate) const SCORE_MAX: f64 = 1_000.0;

impl History {
    /// How many standard deviations, of at least `deviation_min`, a number lies from the mean.
    pub(crate) fn score(&self, number: f64, deviation_min: f64) -> f64 {
        let distance = (number - self.mean).abs();
        if self.seen == 0 || distance == 0.0 {
            return 0.0;
        }
        // Over a deviation of zero this is infinite, and the limit applies.
        (distance / self.variance.sqrt().max(deviation_min)).min(SCORE_MAX)
    }

    /// The number no farther from the mean than so many standard deviations.
    pub(crate) fn clamped(&self, number: f64, deviations: f64, deviation_min: f64) -> f64 {
        let reach = deviations * self.variance.sqrt().max(deviation_min);
        // A history that never varied would otherwise never learn that its number changed.
        if reach > 0.0 { number.clamp(self.mean - reach, self.mean + reach) } else { number }
    }

    /// Learns a number with a weight. The first ones weigh as in a plain average, or the very
    /// first would dominate for as long as the half-life.
    pub(crate) fn learn(&mut self, number: f64, weight: f64) {
        let weight = weight.max(1.0 / (f64::from(self.seen) + 1.0));
        let distance = number - self.mean;
        let mean = self.mean + weight * distance;
        let variance = (1.0 - weight) * (self.variance + weight * distance * distance);
        // Numbers so large that their squares are not finite teach nothing.
        if mean.is_finite() && variance.is_finite() {
            (self.mean, self.variance) = (mean, variance);
        }
        self.seen = self.seen.saturating_add(1);
    }
}

/// Between two numbers, by the share of the second. Finite where both are.
pub(crate) fn blend(first: f64, second: f64, share: f64) -> f64 {
    first * (1.0 - share) + second * share
}

/// The weight of a number after which the weights of those before are halved every so many
/// numbers, 1 or more: 1 - 2^(-1 / half_life).
///
/// By the power series and not by the mathematics library, whose last digit differs from one
/// platform to the next, so that a native run and the component score alike.
pub(crate) fn weight(half_life: f64) -> f64 {
    let exponent = -std::f64::consts::LN_2 / half_life;
    let mut term = 1.0;
    let mut sum = 0.0;
    for n in 1..=20 {
        term *= exponent / f64::from(n);
        sum -= term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(numbers: impl IntoIterator<Item = f64>, weight: f64) -> History {
        let mut history = History::default();
        numbers.into_iter().for_each(|number| history.learn(number, weight));
        history
    }

    #[test]
    fn the_first_numbers_make_a_plain_mean_and_variance() {
        let history = after([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], weight(1000.0));
        assert!((history.mean - 5.0).abs() < 1e-12, "{history:?}");
        assert!((history.variance - 4.0).abs() < 1e-12, "{history:?}");
        assert!((history.score(9.0, 0.0) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_half_life_halves_the_weight_of_the_past() {
        let mut history = after(std::iter::repeat_n(0.0, 10_000), weight(10.0));
        (0..10).for_each(|_| history.learn(1.0, weight(10.0)));
        assert!((history.mean - 0.5).abs() < 1e-9, "{history:?}");
    }

    #[test]
    fn the_series_is_the_power() {
        for half_life in [1.0, 1.5, 30.0, 1e6] {
            let power = 1.0 - 2.0_f64.powf(-1.0 / half_life);
            assert!((weight(half_life) / power - 1.0).abs() < 1e-9, "{half_life}");
        }
    }

    #[test]
    fn scores_and_history_stay_finite() {
        let mut history = after([1.0, 1.0, 1.0], 0.1);
        assert_eq!(history.score(1.0, 0.0), 0.0);
        assert_eq!(history.score(1.1, 0.0), SCORE_MAX);
        history.learn(f64::MAX, 0.1);
        history.learn(-f64::MAX, 0.1);
        assert!(history.mean.is_finite() && history.variance.is_finite());
        assert!(history.score(f64::MAX, 0.0).is_finite());
    }
}
