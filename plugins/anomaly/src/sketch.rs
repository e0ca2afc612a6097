//! The distribution of a key's numbers in a few bytes, for the median and what lies around it.

use tidegate_plugin::State;

use crate::history::{SCORE_MAX, blend};

/// What makes a median absolute deviation the standard deviation of a normal distribution: one
/// over the 0.75 quantile of the standard one.
const NORMAL: f64 = 1.482_602_218_505_602;

/// Centroids in ascending order, each the mean and the weight of numbers that lie next to each
/// other.
///
/// A number becomes a centroid of its own; where that makes one too many, the two neighbours that
/// weigh least together are merged. Of `n + 1` centroids the lightest two neighbours weigh no more
/// than `2 / n` of all (the `n` pairs weigh at most twice the whole), so a merged centroid spans
/// no more ranks than that, and a rank that is read at its middle is off by at most `1 / n`. What
/// was seen many times over is one centroid of any weight, but exact. It takes no randomness and
/// no more than addition and multiplication, so that it is the same everywhere.
///
/// 12 bytes and 12 a centroid as a state.
#[derive(Clone, Debug, Default, PartialEq, State)]
pub(crate) struct Sketch {
    /// How many numbers were seen; it stays at its maximum.
    pub(crate) seen: u32,
    means: Vec<f64>,
    weights: Vec<f32>,
}

impl Sketch {
    /// How many bytes one of so many centroids takes.
    pub(crate) fn bytes_max(centroids: u16) -> usize {
        12 + 12 * usize::from(centroids)
    }

    /// How many robust deviations, of at least `deviation_min`, a number lies from the median.
    pub(crate) fn score(&self, number: f64, deviation_min: f64) -> f64 {
        let whole = self.centroids().map(|(_, weight)| weight).sum();
        let Some(median) = middle(self.centroids(), whole) else { return 0.0 };
        let distance = (number - median).abs();
        if distance == 0.0 {
            return 0.0;
        }
        let deviation = NORMAL * middle(self.distances(median), whole).unwrap_or_default();
        // Over a deviation of zero this is infinite, and the limit applies.
        (distance / deviation.max(deviation_min)).min(SCORE_MAX)
    }

    /// Learns a number, and lets those before it weigh less by the weight of a new one.
    pub(crate) fn learn(&mut self, number: f64, weight: f64, centroids: u16) {
        let keep = 1.0 - weight as f32;
        self.weights.iter_mut().for_each(|weight| *weight *= keep);
        let at = self.means.partition_point(|mean| *mean < number);
        match self.means.get(at) {
            Some(mean) if *mean == number => self.weights[at] += 1.0,
            _ => {
                self.means.insert(at, number);
                self.weights.insert(at, 1.0);
            }
        }
        while self.means.len() > usize::from(centroids) {
            self.merge_lightest();
        }
        self.seen = self.seen.saturating_add(1);
    }

    fn merge_lightest(&mut self) {
        let together = |i: &usize| self.weights[*i] + self.weights[*i + 1];
        let Some(i) = (0..self.means.len() - 1).min_by(|a, b| together(a).total_cmp(&together(b)))
        else {
            return;
        };
        let (left, right) = (self.weights[i], self.weights[i + 1]);
        // Two that have both faded to nothing meet in the middle.
        let share = if right > 0.0 { f64::from(right / (left + right)) } else { 0.5 };
        let between = (self.means[i], self.means[i + 1]);
        // Rounding must not carry it past a neighbour: the order is what everything rests on.
        self.means[i] = blend(between.0, between.1, share).clamp(between.0, between.1);
        self.weights[i] = left + right;
        self.means.remove(i + 1);
        self.weights.remove(i + 1);
    }

    /// Each centroid's mean and weight, ascending.
    fn centroids(&self) -> impl Iterator<Item = (f64, f64)> {
        self.means.iter().zip(&self.weights).map(|(mean, weight)| (*mean, f64::from(*weight)))
    }

    /// Each centroid's distance from a number and its weight, ascending.
    fn distances(&self, from: f64) -> impl Iterator<Item = (f64, f64)> {
        let (mut left, mut right) = (self.means.partition_point(|mean| *mean < from), 0);
        right += left;
        std::iter::from_fn(move || {
            let below = left.checked_sub(1).map(|i| (from - self.means[i], i));
            let above = self.means.get(right).map(|mean| (*mean - from, right));
            let (distance, i) = match (below, above) {
                (Some(below), Some(above)) if below.0 < above.0 => below,
                (_, Some(above)) => above,
                (below, None) => below?,
            };
            if i < left {
                left = i;
            } else {
                right = i + 1;
            }
            Some((distance, f64::from(self.weights[i])))
        })
    }
}

/// The value in the middle of weighted ones in ascending order that weigh so much as a whole. Each
/// stands at the middle of its weight; between two it lies on a line. Nothing where there are none.
fn middle(values: impl Iterator<Item = (f64, f64)>, whole: f64) -> Option<f64> {
    let half = whole / 2.0;
    let mut before: Option<(f64, f64)> = None;
    let mut sum = 0.0;
    for (value, weight) in values {
        let at = sum + weight / 2.0;
        if at >= half {
            return Some(match before {
                Some((lower, from)) if at > from => {
                    blend(lower, value, (half - from) / (at - from)).clamp(lower, value)
                }
                _ => value,
            });
        }
        before = Some((value, at));
        sum += weight;
    }
    before.map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers below one, each as often as any other, in a fixed disorder.
    fn disorder(count: usize) -> impl Iterator<Item = f64> {
        (0..count).map(|i| (i as f64 * 0.618_033_988_749_895).fract())
    }

    fn after(numbers: impl IntoIterator<Item = f64>, centroids: u16) -> Sketch {
        let mut sketch = Sketch::default();
        numbers.into_iter().for_each(|number| sketch.learn(number, 0.0, centroids));
        sketch
    }

    fn median(sketch: &Sketch) -> f64 {
        middle(sketch.centroids(), whole(sketch)).unwrap()
    }

    fn deviation(sketch: &Sketch) -> f64 {
        middle(sketch.distances(median(sketch)), whole(sketch)).unwrap()
    }

    fn whole(sketch: &Sketch) -> f64 {
        sketch.centroids().map(|(_, weight)| weight).sum()
    }

    #[test]
    fn a_few_numbers_are_kept_as_they_are() {
        let sketch = after([1.0, 9.0, 2.0, 4.0, 6.0], 8);
        assert_eq!(median(&sketch), 4.0);
        assert_eq!(deviation(&sketch), 2.0, "of 3, 2, 0, 2, 5");
        assert!((sketch.score(10.0, 0.0) - 3.0 / NORMAL).abs() < 1e-12);
    }

    #[test]
    fn ranks_are_off_by_no_more_than_one_part_in_the_centroids() {
        for centroids in [8, 64, 256] {
            // Of an even and of a very uneven distribution.
            for power in [1, 8] {
                let sketch = after(disorder(20_000).map(|x| x.powi(power)), centroids);
                assert_eq!(sketch.means.len(), usize::from(centroids));
                let (median, deviation) = (median(&sketch), deviation(&sketch));
                let below = disorder(20_000).filter(|x| x.powi(power) < median).count();
                let off = (below as f64 / 20_000.0 - 0.5).abs();
                assert!(off <= 1.0 / f64::from(centroids), "{centroids}, {power}: off by {off}");
                let near =
                    disorder(20_000).filter(|x| (x.powi(power) - median).abs() < deviation).count();
                let off = (near as f64 / 20_000.0 - 0.5).abs();
                assert!(off <= 2.0 / f64::from(centroids), "{centroids}, {power}: off by {off}");
            }
        }
    }

    #[test]
    fn outliers_do_not_move_the_median() {
        let mut sketch = after(disorder(1_000), 64);
        (0..100).for_each(|i| sketch.learn(1e9 + f64::from(i), 0.0, 64));
        let median = median(&sketch);
        assert!((0.5..0.6).contains(&median), "{median}");
        assert!(sketch.score(1e9, 0.0) == SCORE_MAX);
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut sketch = after(disorder(10_000), 64);
        disorder(1_000).for_each(|x| sketch.learn(100.0 + x, 0.01, 64));
        assert!(sketch.score(100.5, 0.0) < 1.0);
        assert!(sketch.score(0.5, 0.0) > 100.0);
    }

    #[test]
    fn the_ends_of_the_numbers_keep_their_order() {
        let mut sketch = Sketch::default();
        for i in 0..1_000 {
            let number = [f64::MAX, f64::MIN, 0.0, 1e-300, -0.0][i % 5] / (1.0 + i as f64);
            assert!(sketch.score(number, 0.0) <= SCORE_MAX);
            sketch.learn(number, 0.3, 8);
            assert!(sketch.means.is_sorted() && sketch.means.iter().all(|mean| mean.is_finite()));
        }
    }

    #[test]
    fn a_state_takes_no_more_bytes_than_it_says() {
        let mut bytes = Vec::new();
        after(disorder(1_000), 64).encode(&mut bytes);
        assert_eq!(bytes.len(), Sketch::bytes_max(64));
    }
}
