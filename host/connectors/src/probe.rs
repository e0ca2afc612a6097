//! What of a connector works from here, asked without a pipeline: whether it can be reached, read and
//! written as it is configured.
//!
//! Each connector asks for what the pipeline would ask for, one action after the other, and each
//! answer is a finding. What can't be asked without a trace that somebody could take for data, or
//! without taking something from a pipeline that runs, is not asked: the finding says so.
//!
//! Architecture invariant: no probe takes a lease or a lock, registers or receives anything, moves a
//! position, or leaves behind what a reader of the output could take for data.

use std::{error::Error, fmt::Display, time::Duration};

use serde::Serialize;
use tokio::time::timeout;

/// Under this name a probe writes what it takes away again: an empty object. Readers of a tree leave
/// names alone that begin so, and Tidegate's own do.
pub const PROBE_NAME: &str = "_tidegate-probe";

/// How far probes go. Each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeLevel {
    /// Whether it answers, and what it names is there.
    Connect,
    /// Whether what the pipeline will read can be read.
    Read,
    /// Whether what it will write can be written.
    Write,
}

impl ProbeLevel {
    fn name(self) -> &'static str {
        match self {
            ProbeLevel::Connect => "connect",
            ProbeLevel::Read => "read",
            ProbeLevel::Write => "write",
        }
    }
}

/// How far probes go, and how long they wait.
#[derive(Clone, Copy, Debug)]
pub struct Probing {
    /// What is asked at all.
    pub level: ProbeLevel,
    /// An action that takes longer has failed.
    pub timeout: Duration,
}

#[cfg(feature = "aws")]
impl Probing {
    /// How long a client of a probe's own waits: longer than the probe, which says what that means.
    pub(crate) fn call_max(self) -> Duration {
        self.timeout.saturating_mul(2)
    }
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeOutcome {
    /// It was done, and has worked.
    Verified,
    /// It was not done, or its answer tells nothing.
    NotVerified,
    /// It was done, and the pipeline would fail.
    Failed,
}

/// What a probe has found out about one action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probed {
    /// The action, by the name that a policy has for it: `s3:PutObject`. A text behind it says what is
    /// particular: `s3:PutObject with If-None-Match`.
    pub action: String,
    /// On what.
    pub resource: String,
    /// The level that asks for it.
    pub level: ProbeLevel,
    /// What became of it.
    pub outcome: ProbeOutcome,
    /// What was seen, or why nothing is known.
    pub why: Option<String>,
    /// What a person has to do.
    pub hint: Option<String>,
}

/// What an action has given, and what there is to say of it.
pub(crate) type Answer<T> = Result<(T, String), Unproven>;

/// An action has not been seen to work.
#[derive(Debug)]
pub(crate) enum Unproven {
    /// Nothing is known.
    Unknown(String),
    /// The pipeline would fail.
    Failed {
        why: String,
        hint: Option<String>,
        /// Every other action of the connector would fail for the same reason.
        is_for_all: bool,
        /// The credentials may not do it.
        is_denied: bool,
    },
}

impl Unproven {
    pub(crate) fn unknown(why: impl Into<String>) -> Self {
        Unproven::Unknown(why.into())
    }

    pub(crate) fn failed(why: impl Into<String>, hint: impl Into<String>) -> Self {
        let (why, hint) = (why.into(), Some(hint.into()));
        Unproven::Failed { why, hint, is_for_all: false, is_denied: false }
    }

    /// The same of every other action.
    pub(crate) fn for_all(self) -> Self {
        match self {
            Unproven::Failed { why, hint, is_denied, .. } => {
                Unproven::Failed { why, hint, is_for_all: true, is_denied }
            }
            unknown => unknown,
        }
    }

    /// For want of a permission.
    pub(crate) fn denied(self) -> Self {
        match self {
            Unproven::Failed { why, hint, is_for_all, .. } => {
                Unproven::Failed { why, hint, is_for_all, is_denied: true }
            }
            unknown => unknown,
        }
    }

    /// What is to be said besides.
    pub(crate) fn and(self, more: impl Display) -> Self {
        match self {
            Unproven::Failed { why, hint, is_for_all, is_denied } => {
                Unproven::Failed { why: format!("{why}; {more}"), hint, is_for_all, is_denied }
            }
            Unproven::Unknown(why) => Unproven::Unknown(format!("{why}; {more}")),
        }
    }

    /// Where the pipeline goes on without a permission, with what it then does without.
    pub(crate) fn or_without(self, loss: impl Display) -> Self {
        match self {
            Unproven::Failed { why, is_denied: true, .. } => {
                Unproven::Unknown(format!("it was refused, {why}: {loss}"))
            }
            other => other,
        }
    }
}

/// What an earlier action has given that this one is done with.
pub(crate) fn given<T>(earlier: Option<T>, action: &str) -> Result<T, Unproven> {
    earlier.ok_or_else(|| Unproven::unknown(format!("it takes what `{action}` did not give")))
}

/// A connector's probes, as they are done.
pub(crate) struct Probes {
    probing: Probing,
    found: Vec<Probed>,
    /// What has failed for all that comes after it.
    blocked: Option<String>,
}

impl Probes {
    pub(crate) fn new(probing: Probing) -> Self {
        Probes { probing, found: Vec::new(), blocked: None }
    }

    /// Does an action, if the level asks for it and nothing stands in its way, and gives what came of
    /// it.
    pub(crate) async fn ask<T>(
        &mut self,
        level: ProbeLevel,
        action: impl Into<String>,
        resource: impl Into<String>,
        work: impl Future<Output = Answer<T>>,
    ) -> Option<T> {
        let action = action.into();
        let answer = match &self.blocked {
            Some(blocked) if level <= self.probing.level => {
                Err(Unproven::Unknown(format!("`{blocked}` has failed")))
            }
            _ => self.answer(level, work).await,
        };
        self.note(level, action, resource.into(), answer)
    }

    /// The same of what takes away what was written: also where something has failed.
    pub(crate) async fn tidy(
        &mut self,
        level: ProbeLevel,
        action: impl Into<String>,
        resource: impl Into<String>,
        work: impl Future<Output = Answer<()>>,
    ) {
        let answer = self.answer(level, work).await;
        self.note(level, action.into(), resource.into(), answer);
    }

    async fn answer<T>(
        &self,
        level: ProbeLevel,
        work: impl Future<Output = Answer<T>>,
    ) -> Answer<T> {
        let Probing { level: asked, timeout: patience } = self.probing;
        if level > asked {
            return Err(Unproven::Unknown(format!("`--level {}` asks for it", level.name())));
        }
        timeout(patience, work).await.unwrap_or_else(|_| {
            let why = format!("no answer within {} s", patience.as_secs_f64());
            let hint = "let this machine reach it, or give it more time with `--timeout`";
            Err(Unproven::failed(why, hint).for_all())
        })
    }

    fn note<T>(
        &mut self,
        level: ProbeLevel,
        action: String,
        resource: String,
        answer: Answer<T>,
    ) -> Option<T> {
        let (outcome, why, hint, given) = match answer {
            Ok((given, seen)) => {
                let seen = (!seen.is_empty()).then_some(seen);
                (ProbeOutcome::Verified, seen, None, Some(given))
            }
            Err(Unproven::Unknown(why)) => (ProbeOutcome::NotVerified, Some(why), None, None),
            Err(Unproven::Failed { why, hint, is_for_all, .. }) => {
                if is_for_all {
                    self.blocked = Some(action.clone());
                }
                (ProbeOutcome::Failed, Some(why), hint, None)
            }
        };
        self.found.push(Probed { action, resource, level, outcome, why, hint });
        given
    }

    /// What comes now is asked of another server: what has failed before is nothing to it.
    pub(crate) fn elsewhere(&mut self) {
        self.blocked = None;
    }

    /// An action that is not done, for a reason of its own.
    pub(crate) fn leave(
        &mut self,
        level: ProbeLevel,
        action: impl Into<String>,
        resource: impl Into<String>,
        why: impl Into<String>,
    ) {
        self.found.push(Probed {
            action: action.into(),
            resource: resource.into(),
            level,
            outcome: ProbeOutcome::NotVerified,
            why: Some(why.into()),
            hint: None,
        });
    }

    /// What was found, in the order in which it was asked for.
    pub(crate) fn found(self) -> Vec<Probed> {
        self.found
    }
}

/// An error and its causes, in one line.
pub(crate) fn in_full(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |it| (*it).source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        // Some say what their cause says.
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// A connector with nothing that could be away.
pub fn nothing_to_reach(resource: impl Into<String>, why: impl Into<String>) -> Vec<Probed> {
    vec![Probed {
        action: "open".to_owned(),
        resource: resource.into(),
        level: ProbeLevel::Connect,
        outcome: ProbeOutcome::Verified,
        why: Some(why.into()),
        hint: None,
    }]
}

/// A connector that can't be asked.
pub fn not_asked(resource: impl Into<String>, why: impl Into<String>) -> Vec<Probed> {
    vec![Probed {
        outcome: ProbeOutcome::NotVerified,
        action: "read".to_owned(),
        level: ProbeLevel::Read,
        ..nothing_to_reach(resource, why).remove(0)
    }]
}
