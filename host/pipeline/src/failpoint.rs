//! Places where a process may die, so that tests can have it die there.
//!
//! Explicit: whoever builds a pipeline hands over what happens at each place. There is no global
//! switch, and without a hook a place costs a comparison.

use std::{fmt, str::FromStr, sync::Arc};

/// A step of the range protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProtocolStep {
    /// Taking the partition.
    Acquire,
    /// Fixing the start and the time of a range.
    Open,
    /// Taking a micro-batch through the chain.
    Process,
    /// Encoding, and writing the manifest.
    Cut,
    /// Storing the manifest as the intent.
    Intent,
    /// Writing to at-least-once sinks.
    Emit,
    /// Occupying the keys of a superseded revision.
    Occupy,
    /// Publishing named objects.
    Publish,
    /// Moving the checkpoint.
    Commit,
    /// Marking the partition as finished.
    Finish,
}

impl ProtocolStep {
    /// All steps, in the order in which a range meets them.
    pub const ALL: [ProtocolStep; 10] = [
        ProtocolStep::Acquire,
        ProtocolStep::Open,
        ProtocolStep::Process,
        ProtocolStep::Cut,
        ProtocolStep::Intent,
        ProtocolStep::Emit,
        ProtocolStep::Occupy,
        ProtocolStep::Publish,
        ProtocolStep::Commit,
        ProtocolStep::Finish,
    ];

    /// Its name in `TIDEGATE_FAILPOINT`.
    pub fn name(self) -> &'static str {
        match self {
            ProtocolStep::Acquire => "acquire",
            ProtocolStep::Open => "open",
            ProtocolStep::Process => "process",
            ProtocolStep::Cut => "cut",
            ProtocolStep::Intent => "intent",
            ProtocolStep::Emit => "emit",
            ProtocolStep::Occupy => "occupy",
            ProtocolStep::Publish => "publish",
            ProtocolStep::Commit => "commit",
            ProtocolStep::Finish => "finish",
        }
    }
}

/// On which side of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// Nothing of it is done.
    Before,
    /// All of it is done.
    After,
}

/// One place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Failpoint {
    /// The step.
    pub step: ProtocolStep,
    /// The side.
    pub side: Side,
}

impl Failpoint {
    /// All places.
    pub fn all() -> impl Iterator<Item = Failpoint> + Clone {
        let sides = [Side::Before, Side::After];
        ProtocolStep::ALL
            .into_iter()
            .flat_map(move |step| sides.map(|side| Failpoint { step, side }))
    }
}

impl fmt::Display for Failpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Before => "before",
            Side::After => "after",
        };
        write!(f, "{side}-{}", self.step.name())
    }
}

/// The text is not `before-` or `after-` and the name of a step.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a failpoint: expected `before-` or `after-` and the name of a step")]
pub struct InvalidFailpoint(String);

impl FromStr for Failpoint {
    type Err = InvalidFailpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Failpoint::all()
            .find(|it| it.to_string() == text)
            .ok_or_else(|| InvalidFailpoint(text.to_owned()))
    }
}

/// What happens at a place: the hook says whether the process dies there.
type Hook = Arc<dyn Fn(Failpoint) -> bool + Send + Sync>;

/// What happens at the places. By default nothing.
#[derive(Clone, Default)]
pub struct Failpoints(Option<Hook>);

impl Failpoints {
    /// Asks `dies` at each place. Where it says yes, the partition's task goes no further: whoever
    /// asked for it drops the run, as a crash would.
    pub fn new(dies: impl Fn(Failpoint) -> bool + Send + Sync + 'static) -> Self {
        Failpoints(Some(Arc::new(dies)))
    }

    /// Aborts the process at the `nth` visit of a place, counted from 1.
    #[cfg(feature = "failpoints")]
    pub fn abort_at(failpoint: Failpoint, nth: u64) -> Self {
        let visits = std::sync::atomic::AtomicU64::new(0);
        Failpoints::new(move |at| {
            if at == failpoint
                && visits.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 == nth
            {
                std::process::abort();
            }
            false
        })
    }

    /// Aborts the process where a variable of the environment says: `after-intent`, or
    /// `after-intent:3` for the third visit. Does nothing where the variable is not set.
    #[cfg(feature = "failpoints")]
    pub fn from_env(variable: &str) -> Result<Self, InvalidFailpoint> {
        let Ok(text) = std::env::var(variable) else { return Ok(Failpoints::default()) };
        let (place, nth) = text.split_once(':').unwrap_or((&text, "1"));
        let nth = nth.parse().map_err(|_| InvalidFailpoint(text.clone()))?;
        Ok(Failpoints::abort_at(place.parse()?, nth))
    }

    /// Returns, unless the process dies here.
    pub(crate) async fn reach(&self, step: ProtocolStep, side: Side) {
        if let Some(dies) = &self.0
            && dies(Failpoint { step, side })
        {
            std::future::pending::<()>().await;
        }
    }
}

impl fmt::Debug for Failpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Failpoints(armed)" } else { "Failpoints(off)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for failpoint in Failpoint::all() {
            assert_eq!(failpoint.to_string().parse(), Ok(failpoint));
        }
        assert!("during-commit".parse::<Failpoint>().is_err());
    }
}
