//! Calls of a plugin, and what follows when one fails: a fresh instance, the isolation of the
//! record that is poison, and the breaker when there are many.
//!
//! Written against the seam of transforms, so it is the same for components and for plugins that
//! are linked natively, and is tested with plugins that fail on purpose.
//!
//! - An instance that failed is never called again.
//! - A batch that fails is tried once more on a fresh instance, then split: at the row that the
//!   guest named, for as long as it tells the truth, else in the middle. Parts run in row order
//!   and each takes the states that the one before left. After the second try there are at most
//!   `2·log2(n)` more calls for each record that is poison.
//! - A record is poison if a fresh instance that is called with it alone traps, or runs out of
//!   fuel, memory or stack, or lies. Time is the machine's fault until it has been given several
//!   times over; then the record is excluded, and the exclusion is pinned in the range's intent.
//! - A batch that fails whole and passes in parts was too large: later calls are smaller.
//!
//! Invariant: what is poison, and where the breaker opens, depends on the range's records only.

use std::collections::BTreeMap;

use tidegate_core::{
    checkpoint::Exclusion,
    transform::{Batch, Breach, Reply, Transform, TransformError},
};

use crate::{
    call::RecordedCall,
    chain::parts::{Input, Parts, Slice},
    plan::{OnPoison, StagePlan},
    process::ProcessError,
};

/// By how much the time limit grows for a record on its own before it is excluded.
const PATIENCE: [u32; 2] = [4, 16];

/// How often a record that was found to be poison had been tried: with others, and on its own.
/// Said of all of them, so that a dead letter does not depend on how the batch was cut.
pub(crate) const POISON_ATTEMPTS: u32 = 2;

/// How often a record that was excluded for its time had been tried on its own.
pub(crate) const EXCLUSION_ATTEMPTS: u32 = 1 + PATIENCE.len() as u32;

/// One stage's plugin in one range.
#[derive(Default)]
pub(crate) struct Caller {
    instance: Option<Box<dyn Transform>>,
    /// The instance has answered a call.
    used: bool,
    /// Calls are no larger than this, since a larger one failed whole and passed in parts.
    rows_max: Option<usize>,
    /// Rows that the plugin was to be called with.
    rows: u64,
    poison: u64,
    open: bool,
    pub(crate) calls: u64,
    pub(crate) instances: u64,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller")
            .field("rows", &self.rows)
            .field("poison", &self.poison)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

/// What a call came to.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// One for all rows.
    pub(crate) reply: Reply,
    /// Rows that leave the chain here, whatever the reply says of them; ascending.
    pub(crate) gone: Vec<(u32, Gone)>,
}

/// Why a row leaves the chain.
#[derive(Clone, Debug)]
pub(crate) enum Gone {
    /// It is poison to the plugin.
    Poison {
        /// How the call with it alone failed.
        error: TransformError,
        /// That call.
        call: Box<RecordedCall>,
    },
    /// It is excluded, now or by the range's intent.
    Excluded { code: String, message: String },
}

impl Caller {
    /// How many rows were poison.
    pub(crate) fn poison(&self) -> u64 {
        self.poison
    }

    /// Whether the breaker has opened.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Calls the plugin with all rows of an input but the excluded ones (row, and what its intent
    /// says), as often as need be.
    pub(crate) fn call(
        &mut self,
        stage: &StagePlan,
        input: &Input<'_>,
        excluded: &BTreeMap<u32, Exclusion>,
    ) -> Result<Settled, ProcessError> {
        self.rows += input.rows as u64;
        if self.open && stage.on_poison == OnPoison::Passthrough {
            let reply = Parts::default().merge(&stage.plugin().description, input.rows);
            return Ok(Settled { reply, gone: Vec::new() });
        }
        let rows_max = self.rows_max.unwrap_or(usize::MAX).min(stage.call_rows_max);
        let mut first = None;
        if excluded.is_empty() && input.rows <= rows_max {
            match self.attempt(stage, &input.batch())? {
                Ok(reply) => return Ok(Settled { reply, gone: Vec::new() }),
                Err(failed) => first = Some(failed),
            }
        }
        let mut isolation = Isolation {
            caller: self,
            stage,
            input,
            parts: Parts::default(),
            gone: Vec::new(),
            trust_hints: true,
        };
        isolation.run(excluded, rows_max, first)?;
        let Isolation { parts, gone, .. } = isolation;
        Ok(Settled { reply: parts.merge(&stage.plugin().description, input.rows), gone })
    }

    /// One call, on the instance at hand or a fresh one.
    fn attempt(
        &mut self,
        stage: &StagePlan,
        batch: &Batch<'_>,
    ) -> Result<Result<Reply, Failed>, ProcessError> {
        let full = |it: &mut Box<dyn Transform>| it.memory_bytes() > stage.memory_watermark_bytes;
        if self.instance.as_mut().is_some_and(full) {
            self.instance = None;
        }
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => {
                self.used = false;
                self.instances += 1;
                stage.factory.instantiate().map_err(|error| failed_to_start(stage, error))?
            }
        };
        let fresh = !self.used;
        self.calls += 1;
        self.used = true;
        match checked(stage, instance.transform(batch)) {
            Ok(reply) => {
                self.instance = Some(instance);
                Ok(Ok(reply))
            }
            Err(error) if matches!(error.breach, Breach::Exhausted | Breach::Blocked) => {
                Err(failed_to_start(stage, error))
            }
            Err(error) => Ok(Err(Failed { error, fresh })),
        }
    }

    /// Counts a poison row, and opens the breaker if it is one too many.
    fn count_poison(&mut self, stage: &StagePlan) -> Result<(), ProcessError> {
        self.poison += 1;
        let rows = self.rows.max(stage.breaker.window);
        if self.open || self.poison * 1000 <= rows * u64::from(stage.breaker.per_thousand) {
            return Ok(());
        }
        self.open = true;
        match stage.on_poison {
            OnPoison::Dlq | OnPoison::Passthrough => Ok(()),
            OnPoison::Halt => Err(ProcessError::Halted {
                stage: stage.name.to_string(),
                poison: self.poison,
                rows: self.rows,
            }),
        }
    }
}

/// A call that failed, and whether it was its instance's first.
struct Failed {
    error: TransformError,
    fresh: bool,
}

fn failed_to_start(stage: &StagePlan, error: TransformError) -> ProcessError {
    ProcessError::Plugin { stage: stage.name.to_string(), source: error }
}

/// A reply whose states are larger than the stage's config allows is refused like any other.
fn checked(
    stage: &StagePlan,
    reply: Result<Reply, TransformError>,
) -> Result<Reply, TransformError> {
    let reply = reply?;
    let limit = stage.state.key_bytes_max;
    let states = &reply.states.values;
    let largest = (0..states.len()).map(|i| states.get(i).len()).max().unwrap_or(0);
    if largest > limit {
        let message = format!("a state has {largest} bytes of {limit} allowed");
        return Err(TransformError::new(Breach::StateBytes, message));
    }
    Ok(reply)
}

/// The way through a batch that did not pass whole.
struct Isolation<'a> {
    caller: &'a mut Caller,
    stage: &'a StagePlan,
    input: &'a Input<'a>,
    parts: Parts,
    gone: Vec<(u32, Gone)>,
    /// The guest has not yet named a row that was innocent.
    trust_hints: bool,
}

/// Rows that are to be called with, and what the guest has said of them.
struct Piece {
    start: usize,
    end: usize,
    expected: Expected,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Unknown,
    Innocent,
    Culprit,
}

impl Isolation<'_> {
    /// Goes through all rows: between excluded ones, in calls of at most `rows_max`.
    fn run(
        &mut self,
        excluded: &BTreeMap<u32, Exclusion>,
        rows_max: usize,
        mut first: Option<Failed>,
    ) -> Result<(), ProcessError> {
        let mut start = 0;
        let ends = excluded.keys().map(|row| *row as usize).chain([self.input.rows]);
        for end in ends {
            while start < end {
                let next = end.min(start.saturating_add(rows_max));
                self.whole(start, next, first.take())?;
                start = next;
            }
            if let Some(exclusion) = excluded.get(&(end as u32)) {
                if !self.passes_by() {
                    let Exclusion { code, message, .. } = exclusion.clone();
                    self.exclude(end, code, message)?;
                }
                start = end + 1;
            }
        }
        Ok(())
    }

    /// Whether the rows from here on pass the stage by.
    fn passes_by(&self) -> bool {
        self.caller.open && self.stage.on_poison == OnPoison::Passthrough
    }

    /// A call of the size that calls have; `failed` if it has been tried already.
    fn whole(
        &mut self,
        start: usize,
        end: usize,
        failed: Option<Failed>,
    ) -> Result<(), ProcessError> {
        let mut failed = match failed {
            Some(failed) => failed,
            None => match self.part(start, end)? {
                None => return Ok(()),
                Some(failed) => failed,
            },
        };
        if !failed.fresh {
            failed = match self.part(start, end)? {
                None => return Ok(()),
                Some(failed) => failed,
            };
        }
        let gone = self.gone.len();
        self.isolate(start, end, failed)?;
        if self.gone.len() == gone && end - start > 1 {
            self.caller.rows_max = Some((end - start) / 2);
        }
        Ok(())
    }

    /// Calls with some rows and keeps the reply, or says how it failed.
    fn part(&mut self, start: usize, end: usize) -> Result<Option<Failed>, ProcessError> {
        if start == end || self.passes_by() {
            return Ok(None);
        }
        let slice = self.slice(start, end);
        let called =
            slice.with_batch(self.input, end - start, |it| self.caller.attempt(self.stage, it))?;
        Ok(match called {
            Ok(reply) => {
                self.parts.push(&slice, start, end, reply);
                None
            }
            Err(failed) => Some(failed),
        })
    }

    fn slice(&self, start: usize, end: usize) -> Slice {
        let description = &self.stage.plugin().description;
        Slice::of(self.input, description, &self.parts.carried, start, end)
    }

    /// Finds what is wrong with rows that failed together. With a list of what is to be called next
    /// rather than by recursion: how deep it would go is for the guest to say.
    fn isolate(&mut self, start: usize, end: usize, failed: Failed) -> Result<(), ProcessError> {
        let mut next = Vec::new();
        self.split(start, end, failed, &mut next)?;
        while let Some(Piece { start, end, expected }) = next.pop() {
            if end - start == 1 {
                // Only a fresh instance may judge a record.
                self.caller.instance = None;
            }
            let gone = self.gone.len();
            let failed = self.part(start, end)?;
            if let Some(failed) = failed {
                // Rows before the one that the guest named are innocent, if it tells the truth.
                self.trust_hints &= expected != Expected::Innocent;
                self.split(start, end, failed, &mut next)?;
            }
            if expected == Expected::Culprit {
                self.trust_hints = self.gone.len() > gone;
            }
        }
        Ok(())
    }

    /// What to call next when rows failed together: pieces of them, of which the last comes first.
    fn split(
        &mut self,
        start: usize,
        end: usize,
        failed: Failed,
        next: &mut Vec<Piece>,
    ) -> Result<(), ProcessError> {
        if end - start == 1 {
            return self.judge(start, failed.error);
        }
        let piece = |start, end, expected| Piece { start, end, expected };
        let hint = failed.error.row.map(|row| start + row as usize);
        let pieces = match hint.filter(|culprit| self.trust_hints && *culprit < end) {
            Some(culprit) => vec![
                piece(culprit + 1, end, Expected::Unknown),
                piece(culprit, culprit + 1, Expected::Culprit),
                piece(start, culprit, Expected::Innocent),
            ],
            None => {
                let middle = start + (end - start) / 2;
                vec![piece(middle, end, Expected::Unknown), piece(start, middle, Expected::Unknown)]
            }
        };
        next.extend(pieces.into_iter().filter(|it| it.start < it.end));
        Ok(())
    }

    /// A row failed on its own, on a fresh instance.
    fn judge(&mut self, row: usize, mut error: TransformError) -> Result<(), ProcessError> {
        for factor in PATIENCE {
            if error.breach != Breach::Time {
                break;
            }
            let slice = self.slice(row, row + 1);
            let instance = self.stage.factory.instantiate_patient(factor);
            let mut instance = instance.map_err(|error| failed_to_start(self.stage, error))?;
            self.caller.instances += 1;
            self.caller.calls += 1;
            let called = slice.with_batch(self.input, 1, |batch| instance.transform(batch));
            match checked(self.stage, called) {
                Ok(reply) => {
                    self.parts.push(&slice, row, row + 1, reply);
                    return Ok(());
                }
                Err(later) => error = later,
            }
        }
        match error.breach {
            Breach::Exhausted | Breach::Blocked | Breach::Configure => {
                Err(failed_to_start(self.stage, error))
            }
            Breach::Time => {
                let times = EXCLUSION_ATTEMPTS;
                let message =
                    format!("it ran past its deadline {times} times, alone and with more");
                self.exclude(row, error.breach.code().to_owned(), message)
            }
            _ => {
                let slice = self.slice(row, row + 1);
                let plugin = self.stage.plugin();
                let call = slice.with_batch(self.input, 1, |it| RecordedCall::of(plugin, it));
                self.gone.push((row as u32, Gone::Poison { error, call: Box::new(call) }));
                self.caller.count_poison(self.stage)
            }
        }
    }

    fn exclude(&mut self, row: usize, code: String, message: String) -> Result<(), ProcessError> {
        self.gone.push((row as u32, Gone::Excluded { code, message }));
        self.caller.count_poison(self.stage)
    }
}
