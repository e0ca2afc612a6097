//! Checks records against rules: presence, types, ranges, patterns, agreement, age.
//!
//! Rules are taken one by one, each over the rows that it is for, so that a rule costs a loop
//! over one column and not a decision a row; and where all rows of a block are as they should be,
//! hardly that.

mod config;
mod pattern;
mod plan;
mod rows;

use tidegate_plugin::{
    About, Absence, Batch, ConfigError, Description, Plugin, Reply, Verdict, batch::Cells, export,
};

pub use config::{
    ByType, Check, Comparable, Compare, Config, Length, Operator, Range, Recent, Rule, Scalar,
    Span, Type, When,
};
use plan::{Condition, Plan, Step, Test};
use rows::Rows;

export!(Validate);

/// What a host takes by default. A record that breaks more rules is described well enough, and
/// must not count as one that breaks the plugin.
const FINDINGS_PER_ROW_MAX: usize = 16;

/// The plugin under one config.
#[derive(Debug)]
pub struct Validate {
    plan: Plan,
}

impl Plugin for Validate {
    type Config = Config;

    fn about() -> About {
        About {
            name: "validate",
            version: env!("CARGO_PKG_VERSION"),
            summary: env!("CARGO_PKG_DESCRIPTION"),
            capabilities: Vec::new(),
            state_version: 0,
            may_be_passed_by: false,
        }
    }

    fn configure(config: Config) -> Result<(Self, Description), ConfigError> {
        let (plan, description) = plan::plan(config)?;
        Ok((Validate { plan }, description))
    }

    fn transform(&self, batch: &Batch<'_>) -> Reply {
        let mut reply = Reply::default();
        let types =
            self.plan.types.map(|(read, types)| RowsByType::of(batch.enumeration(read), types));
        for step in &self.plan.steps {
            let rows = match (step.of_type, &types) {
                (Some(code), Some(types)) => Rows::Some(types.rows(code)),
                _ => Rows::All(batch.rows),
            };
            step.apply(batch, rows, &mut reply);
        }
        reply.findings.keep_first(FINDINGS_PER_ROW_MAX);
        reply
    }
}

/// The rows of each type.
struct RowsByType {
    rows: Vec<u32>,
    /// Where the rows of each type begin, and the last ones end.
    starts: Vec<usize>,
}

impl RowsByType {
    fn of(codes: Cells<'_, u32>, types: usize) -> Self {
        // Counted first, then placed: two passes over small numbers and two allocations a batch.
        let typed = || {
            let code_of = move |row| codes.get(row).ok().map(|code| (row, code as usize));
            (0..codes.values.len()).filter_map(code_of)
        };
        let mut starts = vec![0; types + 1];
        typed().for_each(|(_, code)| starts[code + 1] += 1);
        for code in 0..types {
            starts[code + 1] += starts[code];
        }
        let mut rows = vec![0; starts[types]];
        let mut next = starts.clone();
        for (row, code) in typed() {
            rows[next[code]] = row as u32;
            next[code] += 1;
        }
        RowsByType { rows, starts }
    }

    fn rows(&self, code: usize) -> &[u32] {
        &self.rows[self.starts[code]..self.starts[code + 1]]
    }
}

impl Step {
    /// Holds rows against the rule, where its condition holds.
    fn apply(&self, batch: &Batch<'_>, rows: Rows<'_>, reply: &mut Reply) {
        let chosen = match &self.when {
            None => return self.check(batch, rows, reply),
            Some(Condition::Exists { read, wanted }) => {
                let found = batch.presence(*read);
                let there = |row| !found.get(row).is_err_and(Absence::is_empty);
                rows.filter(|row| there(row) == *wanted)
            }
            Some(Condition::OneOf { read }) => {
                let found = batch.presence(*read);
                rows.filter(|row| found.get(row).is_ok())
            }
            Some(Condition::Number { read, wanted }) => {
                let numbers = batch.float64(*read);
                rows.filter(|row| numbers.get(row) == Ok(*wanted))
            }
            Some(Condition::Boolean { read, wanted }) => {
                let flags = batch.boolean(*read);
                rows.filter(|row| flags.get(row) == Ok(*wanted))
            }
        };
        self.check(batch, Rows::Some(&chosen), reply);
    }

    fn check(&self, batch: &Batch<'_>, rows: Rows<'_>, reply: &mut Reply) {
        let mut broken = |row, absence| self.report(batch.rows, row, absence, reply);
        match &self.test {
            Test::Required { read } => rows.absences(batch.presence(*read), |row, absence| {
                if absence.is_empty() {
                    broken(row, Some(absence));
                }
            }),
            Test::OfKind { read, loosely } => {
                rows.absences(batch.presence(*read), |row, absence| {
                    if absence == Absence::OtherType || !loosely && !absence.is_empty() {
                        broken(row, Some(absence));
                    }
                });
            }
            Test::BeginsWith { read, brace } => {
                let texts = batch.json(*read);
                let begins = |text: &[u8]| text.first() == Some(brace);
                rows.each(|row| judge(texts.bytes(row), begins, row, &mut broken));
            }
            Test::InRange { read, limits } => {
                let numbers = batch.float64(*read);
                let lies_within = |number: f64| limits.contains(number);
                rows.suspects(numbers, lies_within, |row| {
                    judge(numbers.get(row), lies_within, row, &mut broken);
                });
            }
            Test::OfLength { read, at_least, at_most } => {
                let texts = batch.utf8(*read);
                let fits = |text: &str| (*at_least..=*at_most).contains(&text.chars().count());
                rows.each(|row| judge(texts.get(row), fits, row, &mut broken));
            }
            Test::Matches { read, pattern } => {
                let texts = batch.utf8(*read);
                let matches = |text: &[u8]| pattern.is_match(text);
                rows.mismatches(texts, pattern, |row| {
                    judge(texts.bytes(row), matches, row, &mut broken);
                });
            }
            Test::Compares { read, operator, to, kind } => {
                let (read, to, operator) = (*read, *to, *operator);
                match kind {
                    Comparable::Number => {
                        let (left, right) = (batch.float64(read), batch.float64(to));
                        rows.each(|row| {
                            pair(left.get(row), operator, right.get(row), row, &mut broken)
                        });
                    }
                    Comparable::Text => {
                        let (left, right) = (batch.utf8(read), batch.utf8(to));
                        rows.each(|row| {
                            pair(left.get(row), operator, right.get(row), row, &mut broken)
                        });
                    }
                    Comparable::Timestamp => {
                        let (left, right) = (batch.timestamp(read), batch.timestamp(to));
                        rows.each(|row| {
                            pair(left.get(row), operator, right.get(row), row, &mut broken)
                        });
                    }
                    Comparable::Date => {
                        let (left, right) = (batch.date(read), batch.date(to));
                        rows.each(|row| {
                            pair(left.get(row), operator, right.get(row), row, &mut broken)
                        });
                    }
                }
            }
            Test::Recent { read, now, older_max, ahead_max } => {
                let (times, now) = (batch.timestamp(*read), batch.timestamp(*now));
                rows.each(|row| match (times.get(row), now.get(row)) {
                    (Err(absence), _) if !absence.is_empty() => broken(row, Some(absence)),
                    (Ok(time), Ok(now)) => {
                        let age = i64::saturating_sub(now.0, time.0);
                        if age > *older_max || age.saturating_neg() > *ahead_max {
                            broken(row, None);
                        }
                    }
                    _ => {}
                });
            }
        }
    }

    #[cold]
    fn report(&self, rows: usize, row: usize, absence: Option<Absence>, reply: &mut Reply) {
        if self.rejects {
            reply.judge(rows, row, Verdict::Reject);
        }
        match absence {
            Some(absence) => reply.findings.add_with(row, self.rule, absence.name()),
            None => reply.findings.add(row, self.rule),
        }
    }
}

/// A value must hold; nothing at all is for `required` to say; anything else breaks the rule.
#[inline]
fn judge<T: Copy>(
    value: Result<T, Absence>,
    holds: impl Fn(T) -> bool,
    row: usize,
    broken: &mut impl FnMut(usize, Option<Absence>),
) {
    match value {
        Ok(value) if holds(value) => {}
        Ok(_) => broken(row, None),
        Err(absence) if absence.is_empty() => {}
        Err(absence) => broken(row, Some(absence)),
    }
}

#[inline]
fn pair<T: Copy + PartialOrd>(
    value: Result<T, Absence>,
    operator: Operator,
    other: Result<T, Absence>,
    row: usize,
    broken: &mut impl FnMut(usize, Option<Absence>),
) {
    match (value, other) {
        (Ok(value), Ok(other)) if operator.holds(value, other) => {}
        (Ok(_), Ok(_)) => broken(row, None),
        (Err(absence), _) | (_, Err(absence)) if absence.is_empty() => {}
        (Err(absence), _) | (_, Err(absence)) => broken(row, Some(absence)),
    }
}

#[cfg(test)]
mod tests;
