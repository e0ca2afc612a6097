//! Checks records against rules: presence, types, ranges, patterns, agreement, age.
//!
//! Rules are taken one by one, each over the rows that it is for, so that a rule costs a loop
//! over one column and not a decision a row.

mod config;
mod pattern;
mod plan;

use tidegate_plugin::{
    About, Absence, Batch, ConfigError, Description, Plugin, Reply, Verdict,
    batch::{Cells, Fixed, Presences},
    export,
};

pub use config::{
    ByType, Check, Comparable, Compare, Config, Length, Operator, Range, Recent, Rule, Scalar,
    Span, Type, When,
};
use plan::{Condition, Plan, Step, Test};

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
            match (step.of_type, &types) {
                (Some(code), Some(types)) => {
                    step.apply(batch, types.rows(code).iter().map(|row| *row as usize), &mut reply);
                }
                _ => step.apply(batch, 0..batch.rows, &mut reply),
            }
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
    fn apply(&self, batch: &Batch<'_>, rows: impl Iterator<Item = usize>, reply: &mut Reply) {
        match &self.when {
            None => self.check(batch, rows, reply),
            Some(Condition::Exists { read, wanted }) => {
                let found = batch.presence(*read);
                let there = |row| !found.get(row).is_err_and(Absence::is_empty);
                self.check(batch, rows.filter(|row| there(*row) == *wanted), reply);
            }
            Some(Condition::OneOf { read }) => {
                let found = batch.presence(*read);
                self.check(batch, rows.filter(|row| found.get(*row).is_ok()), reply);
            }
            Some(Condition::Number { read, wanted }) => {
                let numbers = batch.float64(*read);
                self.check(batch, rows.filter(|row| numbers.get(*row) == Ok(*wanted)), reply);
            }
            Some(Condition::Boolean { read, wanted }) => {
                let flags = batch.boolean(*read);
                self.check(batch, rows.filter(|row| flags.get(*row) == Ok(*wanted)), reply);
            }
        }
    }

    fn check(&self, batch: &Batch<'_>, rows: impl Iterator<Item = usize>, reply: &mut Reply) {
        let mut broken = |row, absence| self.report(batch.rows, row, absence, reply);
        match &self.test {
            Test::Required { read } => {
                let found = batch.presence(*read);
                if found.is_full() {
                    return;
                }
                for row in rows {
                    if let Err(absence) = found.get(row)
                        && absence.is_empty()
                    {
                        broken(row, Some(absence));
                    }
                }
            }
            Test::OfKind { read, loosely } => {
                of_kind(batch.presence(*read), *loosely, rows, broken);
            }
            Test::BeginsWith { read, brace } => {
                let texts = batch.json(*read);
                let begins = |text: &str| text.as_bytes().first() == Some(brace);
                values(rows, |row| texts.get(row), begins, broken);
            }
            Test::InRange { read, range } => {
                cells(batch.float64(*read), rows, |number| range.holds(number), broken);
            }
            Test::OfLength { read, at_least, at_most } => {
                let texts = batch.utf8(*read);
                let fits = |text: &str| (*at_least..=*at_most).contains(&text.chars().count());
                values(rows, |row| texts.get(row), fits, broken);
            }
            Test::Matches { read, pattern } => {
                let texts = batch.utf8(*read);
                values(rows, |row| texts.get(row), |text| pattern.is_match(text), broken);
            }
            Test::OneOf { read } => of_kind(batch.presence(*read), false, rows, broken),
            Test::Compares { read, operator, to, kind } => {
                let (read, to) = (*read, *to);
                match kind {
                    Comparable::Number => {
                        let (left, right) = (batch.float64(read), batch.float64(to));
                        pairs(rows, |row| (left.get(row), right.get(row)), *operator, broken);
                    }
                    Comparable::Text => {
                        let (left, right) = (batch.utf8(read), batch.utf8(to));
                        pairs(rows, |row| (left.get(row), right.get(row)), *operator, broken);
                    }
                    Comparable::Timestamp => {
                        let (left, right) = (batch.timestamp(read), batch.timestamp(to));
                        pairs(rows, |row| (left.get(row), right.get(row)), *operator, broken);
                    }
                    Comparable::Date => {
                        let (left, right) = (batch.date(read), batch.date(to));
                        pairs(rows, |row| (left.get(row), right.get(row)), *operator, broken);
                    }
                }
            }
            Test::Recent { read, now, older_max, ahead_max } => {
                let (times, now) = (batch.timestamp(*read), batch.timestamp(*now));
                for row in rows {
                    let age = |time, now| i64::saturating_sub(now, time);
                    match (times.get(row), now.get(row)) {
                        (Err(absence), _) if !absence.is_empty() => broken(row, Some(absence)),
                        (Ok(time), Ok(now)) => {
                            let age = age(time.0, now.0);
                            if age > *older_max || age.saturating_neg() > *ahead_max {
                                broken(row, None);
                            }
                        }
                        _ => {}
                    }
                }
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
fn values<T: Copy>(
    rows: impl Iterator<Item = usize>,
    get: impl Fn(usize) -> Result<T, Absence>,
    holds: impl Fn(T) -> bool,
    mut broken: impl FnMut(usize, Option<Absence>),
) {
    for row in rows {
        match get(row) {
            Ok(value) if holds(value) => {}
            Ok(_) => broken(row, None),
            Err(absence) if absence.is_empty() => {}
            Err(absence) => broken(row, Some(absence)),
        }
    }
}

#[inline]
fn cells<T: Fixed>(
    cells: Cells<'_, T>,
    rows: impl Iterator<Item = usize>,
    holds: impl Fn(T) -> bool,
    broken: impl FnMut(usize, Option<Absence>),
) {
    // The column without holes is the common one, and its loop is worth being free of a test.
    match cells.presence.is_empty() {
        true => values(rows, |row| Ok(T::from_raw(cells.values[row])), holds, broken),
        false => values(rows, |row| cells.get(row), holds, broken),
    }
}

#[inline]
fn pairs<T: Copy + PartialOrd>(
    rows: impl Iterator<Item = usize>,
    get: impl Fn(usize) -> (Result<T, Absence>, Result<T, Absence>),
    operator: Operator,
    mut broken: impl FnMut(usize, Option<Absence>),
) {
    for row in rows {
        match get(row) {
            (Ok(value), Ok(other)) if operator.holds(value, other) => {}
            (Ok(_), Ok(_)) => broken(row, None),
            (Err(absence), _) | (_, Err(absence)) if absence.is_empty() => {}
            (Err(absence), _) | (_, Err(absence)) => broken(row, Some(absence)),
        }
    }
}

fn of_kind(
    found: Presences<'_>,
    loosely: bool,
    rows: impl Iterator<Item = usize>,
    mut broken: impl FnMut(usize, Option<Absence>),
) {
    if found.is_full() {
        return;
    }
    for row in rows {
        match found.get(row) {
            Err(absence) if absence.is_empty() => {}
            Err(absence) if absence == Absence::OtherType || !loosely => broken(row, Some(absence)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
