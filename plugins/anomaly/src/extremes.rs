//! The least and the greatest of what a key has shown, and how it changes: for `adaptive_range`
//! and `rate`.

use tidegate_plugin::State;

use crate::history::{SCORE_MAX, blend};

/// The limits of the numbers so far. 20 bytes as a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, State)]
pub(crate) struct Extremes {
    /// How many numbers were seen; it stays at its maximum.
    pub(crate) seen: u32,
    least: f64,
    greatest: f64,
}

impl Extremes {
    /// How far outside the limits a number lies, in spans of at least `span_min`.
    pub(crate) fn score(&self, number: f64, span_min: f64) -> f64 {
        let outside = (number - self.greatest).max(self.least - number);
        if self.seen == 0 || outside <= 0.0 {
            return 0.0;
        }
        // Over a span of zero this is infinite, and the limit applies.
        (outside / (self.greatest - self.least).max(span_min)).min(SCORE_MAX)
    }

    /// Widens the limits by a number, then draws both towards it by a weight.
    ///
    /// Once warm, a number widens them by no more than their span: a spike a hundred spans high
    /// would otherwise hide all others for ever.
    pub(crate) fn learn(&mut self, number: f64, weight: f64, warm: bool) {
        if self.seen == 0 {
            (self.least, self.greatest) = (number, number);
        }
        let span = self.greatest - self.least;
        let number = match warm && span > 0.0 {
            true => number.clamp(self.least - span, self.greatest + span),
            false => number,
        };
        self.least = blend(self.least.min(number), number, weight);
        self.greatest = blend(self.greatest.max(number), number, weight);
        self.seen = self.seen.saturating_add(1);
    }
}

/// How a number changes: the mean of the last few against that of the last many, and the limits of
/// that difference. 36 bytes as a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, State)]
pub(crate) struct Changes {
    pub(crate) extremes: Extremes,
    few: f64,
    many: f64,
}

impl Changes {
    /// Takes a number in and gives its change: what the few are now against what the many were
    /// before it. With weights of 1 both, that is the difference from the number before.
    pub(crate) fn change(&mut self, number: f64, few: f64, many: f64) -> f64 {
        if self.extremes.seen == 0 {
            (self.few, self.many) = (number, number);
        }
        self.few = blend(self.few, number, few);
        let change = self.few - self.many;
        self.many = blend(self.many, number, many);
        change.clamp(f64::MIN, f64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(numbers: impl IntoIterator<Item = f64>) -> Extremes {
        let mut extremes = Extremes::default();
        numbers.into_iter().for_each(|number| extremes.learn(number, 0.0, true));
        extremes
    }

    #[test]
    fn a_score_is_the_distance_outside_in_spans() {
        let extremes = after([10.0, 20.0, 15.0]);
        assert_eq!(extremes.score(12.0, 0.0), 0.0);
        assert_eq!(extremes.score(25.0, 0.0), 0.5);
        assert_eq!(extremes.score(-10.0, 0.0), 2.0);
        assert_eq!(extremes.score(25.0, 50.0), 0.1, "in spans of at least 50");
    }

    #[test]
    fn a_spike_widens_the_limits_by_one_span_at_most() {
        let extremes = after([10.0, 20.0, 1e9]);
        assert_eq!(extremes.score(40.0, 0.0), 0.5, "they are 10 and 30 now");
    }

    #[test]
    fn limits_with_a_half_life_draw_in() {
        let mut extremes = after([0.0, 100.0]);
        let mut forgetting = extremes;
        for _ in 0..1000 {
            extremes.learn(50.0, 0.0, true);
            forgetting.learn(50.0, 0.01, true);
        }
        assert_eq!(extremes.score(60.0, 0.0), 0.0);
        assert!(forgetting.score(60.0, 0.0) > 1.0, "{forgetting:?}");
    }

    #[test]
    fn a_change_with_full_weights_is_the_difference_from_the_number_before() {
        let mut changes = Changes::default();
        let mut change = |number| {
            let change = changes.change(number, 1.0, 1.0);
            changes.extremes.learn(change, 0.0, true);
            change
        };
        assert_eq!([change(5.0), change(7.0), change(4.0)], [0.0, 2.0, -3.0]);
    }

    #[test]
    fn limits_stay_finite() {
        let mut changes = Changes::default();
        for number in [f64::MAX, f64::MIN, f64::MAX, 0.0] {
            let change = changes.change(number, 0.5, 0.25);
            assert!(changes.extremes.score(change, 0.0) <= SCORE_MAX);
            changes.extremes.learn(change, 0.1, true);
        }
        let Changes { extremes, few, many } = changes;
        assert!([extremes.least, extremes.greatest, few, many].iter().all(|it| it.is_finite()));
    }
}
