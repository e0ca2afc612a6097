//! How a detector looks at a number, and what it remembers of a key for that.

use tidegate_plugin::{State, Timestamp};

use crate::{
    config::{Detector, Season},
    extremes::{Changes, Extremes},
    history::{History, weight},
    season::Seasons,
    sketch::Sketch,
};

/// A detector with its half-lives made weights.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Method {
    Mean { weight: f64, threshold: f64, deviation_min: f64 },
    Median { weight: f64, deviation_min: f64, centroids: u16 },
    AdaptiveRange { weight: f64, span_min: f64 },
    Rate { few: f64, many: f64, span_min: f64 },
    Seasonal { season: Season, offset: i64, weight: f64, threshold: f64, deviation_min: f64 },
}

/// What a detector remembers of a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Trace {
    Mean(History),
    Median(Sketch),
    AdaptiveRange(Extremes),
    Rate(Changes),
    Seasonal(Seasons),
}

/// What a detector says of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Opinion {
    /// How unusual the number is, in the detector's unit.
    pub(crate) score: f64,
    /// Whether the detector has seen enough to say so.
    pub(crate) is_warm: bool,
}

impl Method {
    pub(crate) fn of(detector: &Detector) -> Self {
        match detector {
            Detector::Mean(it) => Method::Mean {
                weight: weight(it.half_life),
                threshold: it.threshold,
                deviation_min: it.deviation_min,
            },
            Detector::Median(it) => Method::Median {
                weight: weight(it.half_life),
                deviation_min: it.deviation_min,
                centroids: it.centroids,
            },
            Detector::AdaptiveRange(it) => Method::AdaptiveRange {
                weight: it.half_life.map_or(0.0, weight),
                span_min: it.span_min,
            },
            Detector::Rate(it) if it.half_life == 0.0 => {
                Method::Rate { few: 1.0, many: 1.0, span_min: it.span_min }
            }
            Detector::Rate(it) => Method::Rate {
                few: weight(it.half_life),
                many: weight(4.0 * it.half_life),
                span_min: it.span_min,
            },
            Detector::Seasonal(it) => Method::Seasonal {
                season: it.by,
                offset: i64::from(it.utc_offset_minutes) * 60 * Timestamp::SECOND,
                weight: weight(it.half_life),
                threshold: it.threshold,
                deviation_min: it.deviation_min,
            },
        }
    }

    /// What it remembers of a key that it has not seen.
    pub(crate) fn trace(&self) -> Trace {
        match self {
            Method::Mean { .. } => Trace::Mean(History::default()),
            Method::Median { .. } => Trace::Median(Sketch::default()),
            Method::AdaptiveRange { .. } => Trace::AdaptiveRange(Extremes::default()),
            Method::Rate { .. } => Trace::Rate(Changes::default()),
            Method::Seasonal { season, .. } => Trace::Seasonal(Seasons::new(*season)),
        }
    }

    /// How many bytes of state its trace takes at most.
    pub(crate) fn bytes_max(&self) -> usize {
        let trace = match self {
            Method::Mean { .. } | Method::AdaptiveRange { .. } => 20,
            Method::Median { centroids, .. } => Sketch::bytes_max(*centroids),
            Method::Rate { .. } => 36,
            Method::Seasonal { season, .. } => Seasons::bytes_max(*season),
        };
        1 + trace
    }

    /// Whether a trace is one of this method's, under whatever weights.
    pub(crate) fn made(&self, trace: &Trace) -> bool {
        match (self, trace) {
            (Method::Seasonal { season, .. }, Trace::Seasonal(seasons)) => seasons.is_by(*season),
            (Method::Mean { .. }, Trace::Mean(_))
            | (Method::Median { .. }, Trace::Median(_))
            | (Method::AdaptiveRange { .. }, Trace::AdaptiveRange(_))
            | (Method::Rate { .. }, Trace::Rate(_)) => true,
            _ => false,
        }
    }

    /// Scores a number, then learns it.
    pub(crate) fn meet(
        &self,
        trace: &mut Trace,
        number: f64,
        time: Option<Timestamp>,
        warm_up: u32,
    ) -> Opinion {
        match (self, trace) {
            (Method::Mean { weight, threshold, deviation_min }, Trace::Mean(history)) => {
                deviation(history, number, *weight, *threshold, *deviation_min, warm_up)
            }
            (Method::Median { weight, deviation_min, centroids }, Trace::Median(sketch)) => {
                let score = sketch.score(number, *deviation_min);
                let is_warm = sketch.seen >= warm_up;
                sketch.learn(number, *weight, *centroids);
                Opinion { score, is_warm }
            }
            (Method::AdaptiveRange { weight, span_min }, Trace::AdaptiveRange(extremes)) => {
                novelty(extremes, number, *weight, *span_min, warm_up)
            }
            (Method::Rate { few, many, span_min }, Trace::Rate(changes)) => {
                let change = changes.change(number, *few, *many);
                novelty(&mut changes.extremes, change, 0.0, *span_min, warm_up)
            }
            (
                Method::Seasonal { season, offset, weight, threshold, deviation_min },
                Trace::Seasonal(seasons),
            ) => {
                let Some(Timestamp(utc)) = time else {
                    return Opinion { score: 0.0, is_warm: false };
                };
                let cell = season.cell(Timestamp(utc.saturating_add(*offset)));
                let mut history = seasons.history(cell);
                let opinion =
                    deviation(&mut history, number, *weight, *threshold, *deviation_min, warm_up);
                seasons.set_history(cell, history);
                opinion
            }
            _ => unreachable!("each method has a trace that it made"),
        }
    }
}

fn deviation(
    history: &mut History,
    number: f64,
    weight: f64,
    threshold: f64,
    deviation_min: f64,
    warm_up: u32,
) -> Opinion {
    let score = history.score(number, deviation_min);
    let is_warm = history.seen >= warm_up;
    // An anomalous number moves the history no farther than one on the threshold would: so one
    // outlier does not hide the next, and a new level is still learned, step by step.
    let lesson = match is_warm {
        true => history.clamped(number, threshold, deviation_min),
        false => number,
    };
    history.learn(lesson, weight);
    Opinion { score, is_warm }
}

fn novelty(
    extremes: &mut Extremes,
    number: f64,
    weight: f64,
    span_min: f64,
    warm_up: u32,
) -> Opinion {
    let score = extremes.score(number, span_min);
    let is_warm = extremes.seen >= warm_up;
    extremes.learn(number, weight, is_warm);
    Opinion { score, is_warm }
}

fn tagged(tag: u8, state: &impl State, bytes: &mut Vec<u8>) {
    tag.encode(bytes);
    state.encode(bytes);
}

/// A byte that says which it is, then its state.
impl State for Trace {
    fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Trace::Mean(history) => tagged(0, history, bytes),
            Trace::Median(sketch) => tagged(1, sketch, bytes),
            Trace::AdaptiveRange(extremes) => tagged(2, extremes, bytes),
            Trace::Rate(changes) => tagged(3, changes, bytes),
            Trace::Seasonal(seasons) => tagged(4, seasons, bytes),
        }
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        match u8::decode(bytes)? {
            0 => State::decode(bytes).map(Trace::Mean),
            1 => State::decode(bytes).map(Trace::Median),
            2 => State::decode(bytes).map(Trace::AdaptiveRange),
            3 => State::decode(bytes).map(Trace::Rate),
            4 => State::decode(bytes).map(Trace::Seasonal),
            _ => None,
        }
    }
}
