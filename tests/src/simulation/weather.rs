//! What goes wrong between the parts, by chance: the same for the same seed.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_connectors::leases::{Fate, Passage};
use tokio::time::Instant;

/// No call of the table waits longer for its answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Decides how each call fares, and counts what it did.
#[derive(Debug)]
pub(super) struct Weather(Mutex<State>);

#[derive(Debug)]
struct State {
    random: ChaCha8Rng,
    /// Nothing goes wrong any more.
    calm: bool,
    /// How many of a thousand calls are lost, there or back.
    lost_per_mille: u32,
    /// How many of a thousand reads find that their iterator has expired.
    expired_per_mille: u32,
    /// A call takes up to this long, each way.
    delay_max: Duration,
    ends: BTreeMap<Spell, Instant>,
    struck: BTreeMap<&'static str, u64>,
}

/// Something that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spell {
    /// The table has no room for more calls.
    ThrottledTable,
    /// There is no room for another object.
    DiskFull,
    /// The bucket does not answer.
    BucketAway,
    /// The machine is so slow that plugins run out of time on some records.
    SlowMachine,
}

impl Spell {
    pub(super) const ALL: [Spell; 4] =
        [Spell::ThrottledTable, Spell::DiskFull, Spell::BucketAway, Spell::SlowMachine];

    fn fault(self) -> &'static str {
        match self {
            Spell::ThrottledTable => "throttled_table",
            Spell::DiskFull => "disk_full",
            Spell::BucketAway => "bucket_away",
            Spell::SlowMachine => "plugin_timeout",
        }
    }
}

impl Weather {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        Weather(Mutex::new(State {
            calm: false,
            lost_per_mille: random.random_range(0..60),
            expired_per_mille: random.random_range(0..60),
            delay_max: Duration::from_millis(random.random_range(0..80)),
            random,
            ends: BTreeMap::new(),
            struck: BTreeMap::new(),
        }))
    }

    /// From here on nothing goes wrong by itself.
    pub(super) fn calm_down(&self) {
        self.state().calm = true;
    }

    /// Something begins, and lasts for a while.
    pub(super) fn begin(&self, spell: Spell, lasts: Duration) {
        self.state().ends.insert(spell, Instant::now() + lasts);
    }

    /// Whether something lasts. Counts it as a fault where it does, for then it is met.
    pub(super) fn lasts(&self, spell: Spell) -> bool {
        let mut state = self.state();
        let lasts = !state.calm && state.ends.get(&spell).is_some_and(|end| Instant::now() < *end);
        if lasts {
            *state.struck.entry(spell.fault()).or_default() += 1;
        }
        lasts
    }

    /// How a call of the table fares.
    pub(super) fn call(&self) -> Passage {
        let throttled = self.lasts(Spell::ThrottledTable);
        let mut state = self.state();
        let (there, back) = (state.delay(), state.delay());
        let lag = state.delay() * 4;
        let fate = match state.loses() {
            _ if throttled => Fate::Throttled,
            None => Fate::Done,
            Some(true) => Fate::AnswerLost,
            Some(false) => Fate::Lost,
        };
        let back = match fate {
            Fate::AnswerLost | Fate::Lost => ANSWER_MAX.saturating_sub(there),
            _ => back,
        };
        Passage { there, back, lag, fate }
    }

    /// How long a call takes that something else decides about.
    pub(super) fn delay(&self) -> Duration {
        self.state().delay()
    }

    /// Whether a call of something that can be lost is: its answer only (true), or the call.
    pub(super) fn loses(&self) -> Option<bool> {
        self.state().loses()
    }

    /// Whether an iterator has expired.
    pub(super) fn expires(&self) -> bool {
        let mut state = self.state();
        let expires = !state.calm && state.random.random_range(0..1_000) < state.expired_per_mille;
        if expires {
            *state.struck.entry("expired_iterator").or_default() += 1;
        }
        expires
    }

    /// Something else has gone wrong.
    pub(super) fn struck(&self, fault: &'static str) {
        *self.state().struck.entry(fault).or_default() += 1;
    }

    pub(super) fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.state().struck.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in it is ever half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn delay(&mut self) -> Duration {
        self.delay_max.mul_f64(self.random.random_range(0.0..1.0))
    }

    fn loses(&mut self) -> Option<bool> {
        let lost = !self.calm && self.random.random_range(0..1_000) < self.lost_per_mille;
        lost.then(|| {
            let answered = self.random.random_bool(0.5);
            let fault = if answered { "lost_response" } else { "lost_request" };
            *self.struck.entry(fault).or_default() += 1;
            answered
        })
    }
}
