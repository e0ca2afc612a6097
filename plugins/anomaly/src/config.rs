//! The config of `anomaly`.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_plugin::{ConfigError, Path};

use crate::{memory::Memory, method::Method};

/// Scores a number against what its key has shown before, or a fixed range, or both.
///
/// Without `detectors` there is one, `mean`: the score of a number is how many standard deviations
/// it lies from the exponentially weighted mean of the numbers before it, at most 1000. With
/// `detectors`, each remembers its key in its own way and has a score in its own unit; of several,
/// each score is divided by its threshold, so that 1 is the threshold of all, and `combine` makes
/// them one. What is remembered of a key never takes more than 4096 bytes: a config that could
/// need more is refused.
///
/// A key is warming up until it has seen enough numbers; until then nothing deviates. A row
/// without the number is left alone; a row without a key is rejected by the host. Where no key is
/// configured nothing is kept, and the range alone says what is anomalous.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The fields that are the key of the history, of any type. A text and a number are different
    /// keys, and so are `1` and `1.0`. Left out, there is no history, and `range` is needed.
    pub key: Option<Vec<Path>>,
    /// The number.
    pub field: Path,
    /// The time of the number, by RFC 3339; only `seasonal` needs it, and has no say in a row
    /// without one.
    pub time: Option<Path>,
    /// The field to write the score to; only with a `key`.
    pub write_score: Option<Path>,
    /// The field to write the verdict to: `normal`, `anomalous`, `warming-up` or `cooling-down`.
    pub write_verdict: Option<Path>,
    /// `half_life` of the one detector `mean`, where `detectors` is left out.
    pub half_life: Option<f64>,
    /// `threshold` of the one detector `mean`, where `detectors` is left out.
    pub threshold: Option<f64>,
    /// `deviation_min` of the one detector `mean`, where `detectors` is left out.
    pub deviation_min: Option<f64>,
    /// How many numbers a detector must have seen of a key before one can deviate. 30 by default.
    #[serde(default = "warm_up")]
    pub warm_up: u32,
    /// For so many numbers of the key after an anomalous one, another that deviates is
    /// `cooling-down` and no finding, unless its score is greater still. 0 by default: each number
    /// that deviates is anomalous. The score that is written stays as it is.
    #[serde(default)]
    pub cool_down: u32,
    /// A number outside is anomalous whatever the history, while warming up or cooling down, and
    /// without a `key`.
    pub range: Option<Range>,
    /// One to eight ways to look at a number, each under its name; only with a `key`.
    pub detectors: Option<Vec<Detector>>,
    /// How the scores of several detectors become one.
    #[serde(default)]
    pub combine: Combine,
}

/// Limits of a number; all that are given must hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Range {
    /// It is this or greater.
    pub at_least: Option<f64>,
    /// It is this or less.
    pub at_most: Option<f64>,
}

/// A way to look at a number. A number deviates whose score is greater than the threshold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// The distance from the exponentially weighted mean, in standard deviations. 21 bytes.
    Mean(Mean),
    /// The distance from the median, in deviations that are as robust: one is 1.4826 median
    /// absolute deviations, which is the standard deviation of what is normally distributed. Both
    /// come from a sketch of the numbers' distribution, in 13 bytes and 12 a centroid.
    Median(Median),
    /// How far the number lies outside all that the key has shown, as a share of the span of that.
    /// 21 bytes.
    AdaptiveRange(AdaptiveRange),
    /// How far the change of the number lies outside all changes that the key has shown, as a
    /// share of the span of those. 37 bytes.
    Rate(Rate),
    /// The distance from the mean of the same hour, weekday or hour of the week, in standard
    /// deviations. 5 bytes and 14 for each of these.
    Seasonal(Seasonal),
}

/// Deviation from an exponentially weighted mean.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mean {
    /// A number that lies more standard deviations from the mean than this deviates. 4 by
    /// default, which a normally distributed number passes once in 16,000.
    pub threshold: f64,
    /// After how many numbers, 1 or more, the weight of a number is halved. 30 by default: the
    /// last hundred numbers then carry nine tenths of the weight.
    pub half_life: f64,
    /// The least standard deviation that is assumed, so that a number that hardly ever changes
    /// does not deviate when it does by a hair. 0 by default.
    pub deviation_min: f64,
}

/// Deviation from the median, by a sketch.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Median {
    /// A number that lies more robust deviations from the median than this deviates. 6 by default:
    /// the middle of a distribution says less of its tails than the standard deviation does, and
    /// what is measured has longer ones than the normal distribution.
    pub threshold: f64,
    /// After how many numbers, 1 or more, the weight of a number is halved. 300 by default: a
    /// median needs more numbers than a mean to be as steady.
    pub half_life: f64,
    /// The least robust deviation that is assumed. 0 by default.
    pub deviation_min: f64,
    /// How many centroids the sketch has, 8 to 256. A rank that is read from it is off by at most
    /// one part in so many. 64 by default.
    pub centroids: u16,
}

/// Deviation from the span of all numbers so far.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveRange {
    /// A number that lies farther outside than this share of the span deviates. 0.01 by default:
    /// the first number that stands out at all, when the range is drawn.
    pub threshold: f64,
    /// After how many numbers, 1 or more, half of what the limits lie beyond the numbers is
    /// forgotten. Left out, the limits never draw in.
    pub half_life: Option<f64>,
    /// The least span that is assumed. 0 by default.
    pub span_min: f64,
}

/// Deviation from the span of all changes so far.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rate {
    /// A change that lies farther outside than this share of the span of changes deviates. 0.05 by
    /// default: more than for a number, for a smooth change leaves its span in small steps and not
    /// at once.
    pub threshold: f64,
    /// What the change is: that of the mean whose weights are halved after so many numbers against
    /// the mean of four times as many, 1 or more; or, with 0, the difference from the number
    /// before. 14 by default.
    pub half_life: f64,
    /// The least span of changes that is assumed. 0 by default.
    pub span_min: f64,
}

/// Deviation from the mean of the same time of the day or week.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Seasonal {
    /// A number that lies more standard deviations from its mean than this deviates. 4 by default.
    pub threshold: f64,
    /// Which numbers are alike. Each hour or weekday warms up by itself.
    pub by: Season,
    /// After how many numbers of the same hour or weekday, 1 or more, the weight of one is halved.
    /// 100 by default.
    pub half_life: f64,
    /// The least standard deviation that is assumed. 0 by default.
    pub deviation_min: f64,
    /// How many minutes local time is ahead of UTC, -1440 to 1440. 0 by default. There are no time
    /// zones with summer time.
    pub utc_offset_minutes: i32,
}

/// What divides the week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Season {
    /// The hour of the day: 24.
    #[default]
    Hour,
    /// The day of the week: 7.
    Weekday,
    /// The hour of the week: 168.
    HourOfWeek,
}

/// How the scores of several detectors become one. One that is warming up counts 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// The greatest: a number is anomalous where any detector says so.
    #[default]
    Any,
    /// The one in the middle: where more than half of the detectors say so.
    Majority,
    /// The least: where all say so.
    All,
    /// Their mean.
    Mean,
}

impl Default for Mean {
    fn default() -> Self {
        Mean { threshold: 4.0, half_life: 30.0, deviation_min: 0.0 }
    }
}

impl Default for Median {
    fn default() -> Self {
        Median { threshold: 6.0, half_life: 300.0, deviation_min: 0.0, centroids: 64 }
    }
}

impl Default for AdaptiveRange {
    fn default() -> Self {
        AdaptiveRange { threshold: 0.01, half_life: None, span_min: 0.0 }
    }
}

impl Default for Rate {
    fn default() -> Self {
        Rate { threshold: 0.05, half_life: 14.0, span_min: 0.0 }
    }
}

impl Default for Seasonal {
    fn default() -> Self {
        Seasonal {
            threshold: 4.0,
            by: Season::Hour,
            half_life: 100.0,
            deviation_min: 0.0,
            utc_offset_minutes: 0,
        }
    }
}

fn warm_up() -> u32 {
    30
}

/// Of one number there are at most 16 findings, and more ways to look at it than these few tell
/// nobody more.
pub(crate) const DETECTORS_MAX: usize = 8;

/// What is remembered of a key takes no more bytes than this under any config.
pub(crate) const STATE_BYTES_MAX: usize = 4096;

impl Config {
    /// Checks what the types don't say.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |pointer: &str, why: &str| Err(ConfigError::at(pointer, why));
        match &self.key {
            Some(key) if key.is_empty() => return refuse("/key", "there is no field"),
            None if self.range.is_none() => {
                return refuse("", "it needs `key`, `range` or both");
            }
            None if self.write_score.is_some() => {
                return refuse(
                    "/write_score",
                    "without a `key` there is no history to score against",
                );
            }
            None if self.detectors.is_some() => {
                return refuse("/detectors", "without a `key` there is no history to detect from");
            }
            _ => {}
        }
        if self.write_score.is_none() && self.write_verdict.is_none() {
            return refuse("", "it needs `write_score`, `write_verdict` or both");
        }
        if let Some(Range { at_least: None, at_most: None }) = self.range {
            return refuse("/range", "it needs `at_least` or `at_most`");
        }
        match &self.detectors {
            None => self.mean().check(""),
            Some(detectors) => self.check_detectors(detectors),
        }
    }

    fn check_detectors(&self, detectors: &[Detector]) -> Result<(), ConfigError> {
        let of_mean = [
            ("/half_life", self.half_life),
            ("/threshold", self.threshold),
            ("/deviation_min", self.deviation_min),
        ];
        if let Some((pointer, _)) = of_mean.iter().find(|(_, given)| given.is_some()) {
            let why = "it is for the one detector without `detectors`; give it to a detector there";
            return Err(ConfigError::at(*pointer, why));
        }
        if detectors.is_empty() || detectors.len() > DETECTORS_MAX {
            let why = format!("there must be 1 to {DETECTORS_MAX} detectors");
            return Err(ConfigError::at("/detectors", why));
        }
        for (i, detector) in detectors.iter().enumerate() {
            let place = format!("/detectors/{i}/{}", detector.name());
            detector.check(&place)?;
            if matches!(detector, Detector::Seasonal(_)) && self.time.is_none() {
                return Err(ConfigError::at(
                    place,
                    "it needs `time`, the field of the number's time",
                ));
            }
        }
        let methods: Vec<Method> = detectors.iter().map(Method::of).collect();
        let bytes = Memory::bytes_max(&methods);
        if bytes > STATE_BYTES_MAX {
            let why = format!(
                "the detectors may need {bytes} bytes a key, more than {STATE_BYTES_MAX}: have \
                 fewer of them, `centroids` or hours"
            );
            return Err(ConfigError::at("/detectors", why));
        }
        Ok(())
    }

    /// The one detector where none is listed.
    fn mean(&self) -> Mean {
        let default = Mean::default();
        Mean {
            threshold: self.threshold.unwrap_or(default.threshold),
            half_life: self.half_life.unwrap_or(default.half_life),
            deviation_min: self.deviation_min.unwrap_or(default.deviation_min),
        }
    }

    /// The detectors, and the id of the rule of each.
    pub(crate) fn detectors(&self) -> Vec<(Detector, String)> {
        let Some(detectors) = &self.detectors else {
            return vec![(Detector::Mean(self.mean()), "deviation".into())];
        };
        let mut named: Vec<(Detector, String)> = Vec::with_capacity(detectors.len());
        for detector in detectors {
            let same = |(other, _): &&(Detector, String)| other.name() == detector.name();
            let id = detector.name().replace('_', "-");
            let id = match named.iter().filter(same).count() {
                0 => id,
                others => format!("{id}-{}", others + 1),
            };
            named.push((detector.clone(), id));
        }
        named
    }
}

impl Detector {
    /// Its name in a config.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Detector::Mean(_) => "mean",
            Detector::Median(_) => "median",
            Detector::AdaptiveRange(_) => "adaptive_range",
            Detector::Rate(_) => "rate",
            Detector::Seasonal(_) => "seasonal",
        }
    }

    /// The score beyond which a number deviates.
    pub(crate) fn threshold(&self) -> f64 {
        match self {
            Detector::Mean(it) => it.threshold,
            Detector::Median(it) => it.threshold,
            Detector::AdaptiveRange(it) => it.threshold,
            Detector::Rate(it) => it.threshold,
            Detector::Seasonal(it) => it.threshold,
        }
    }

    /// What holds of a number that does not deviate, for people.
    pub(crate) fn text(&self) -> String {
        let threshold = self.threshold();
        match self {
            Detector::Mean(_) => {
                format!("within {threshold} standard deviations of the key's recent mean")
            }
            Detector::Median(_) => {
                format!("within {threshold} robust deviations of the key's recent median")
            }
            Detector::AdaptiveRange(_) => {
                format!("no farther than {threshold} of its span outside what the key has shown")
            }
            Detector::Rate(_) => {
                format!("changes no farther than {threshold} of the span outside the key's changes")
            }
            Detector::Seasonal(it) => {
                let season = match it.by {
                    Season::Hour => "hour",
                    Season::Weekday => "weekday",
                    Season::HourOfWeek => "hour of the week",
                };
                format!("within {threshold} standard deviations of the key's mean of the {season}")
            }
        }
    }

    fn check(&self, place: &str) -> Result<(), ConfigError> {
        match self {
            Detector::Mean(it) => it.check(place),
            Detector::Median(it) => {
                if !(8..=256).contains(&it.centroids) {
                    let pointer = format!("{place}/centroids");
                    return Err(ConfigError::at(pointer, "it must be 8 to 256"));
                }
                half_life(place, it.half_life)?;
                not_negative(place, "deviation_min", it.deviation_min)
            }
            Detector::AdaptiveRange(it) => {
                it.half_life.map_or(Ok(()), |numbers| half_life(place, numbers))?;
                not_negative(place, "span_min", it.span_min)
            }
            Detector::Rate(it) => {
                if it.half_life != 0.0 {
                    half_life(place, it.half_life)?;
                }
                not_negative(place, "span_min", it.span_min)
            }
            Detector::Seasonal(it) => {
                if !(-1440..=1440).contains(&it.utc_offset_minutes) {
                    let pointer = format!("{place}/utc_offset_minutes");
                    return Err(ConfigError::at(pointer, "it must be -1440 to 1440"));
                }
                half_life(place, it.half_life)?;
                not_negative(place, "deviation_min", it.deviation_min)
            }
        }?;
        above_zero(place, "threshold", self.threshold())
    }
}

impl Mean {
    fn check(&self, place: &str) -> Result<(), ConfigError> {
        half_life(place, self.half_life)?;
        above_zero(place, "threshold", self.threshold)?;
        not_negative(place, "deviation_min", self.deviation_min)
    }
}

fn half_life(place: &str, numbers: f64) -> Result<(), ConfigError> {
    match numbers >= 1.0 {
        true => Ok(()),
        false => Err(ConfigError::at(format!("{place}/half_life"), "it must not be less than 1")),
    }
}

fn above_zero(place: &str, key: &str, value: f64) -> Result<(), ConfigError> {
    match value > 0.0 {
        true => Ok(()),
        false => Err(ConfigError::at(format!("{place}/{key}"), "it must be greater than 0")),
    }
}

fn not_negative(place: &str, key: &str, value: f64) -> Result<(), ConfigError> {
    match value >= 0.0 {
        true => Ok(()),
        false => Err(ConfigError::at(format!("{place}/{key}"), "it must not be less than 0")),
    }
}
