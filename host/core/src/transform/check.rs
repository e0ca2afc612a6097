//! A plugin's reply is hostile input: everything that later code relies on is checked here, once,
//! before any of it is used. Whatever passes can be spliced, routed and stored without a panic
//! and without another look.

use super::{Batch, Breach, Reply, TransformError, Verdict};
use crate::{
    column::{Binary, Column, Values, Write},
    description::{Description, Kind, TimestampFormat},
    json::Validator,
};

/// What a reply to one batch may have, its rows already counted in.
#[derive(Clone, Copy, Debug)]
pub struct ReplyLimits {
    /// All its lists together.
    pub reply_bytes_max: u64,
    /// Findings.
    pub findings_max: u64,
    /// The state of each key.
    pub state_bytes_max: u64,
    /// Whether rows may have parents: the capability `fan-out` is granted.
    pub fan_out: bool,
}

/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z: RFC 3339 has four digits for a year.
const RFC3339_MICROSECONDS: std::ops::RangeInclusive<i64> =
    -62_167_219_200_000_000..=253_402_300_799_999_999;

/// 0000-01-01 and 9999-12-31, in days since the epoch.
const DATE_DAYS: std::ops::RangeInclusive<i32> = -719_528..=2_932_896;

impl Reply {
    /// Checks every count, offset, index, code and size against what was asked and declared.
    pub fn check(
        &self,
        description: &Description,
        batch: &Batch<'_>,
        limits: &ReplyLimits,
    ) -> Result<(), TransformError> {
        let size = self.size_bytes();
        if size > limits.reply_bytes_max {
            let message = format!("reply has {size} bytes of {} allowed", limits.reply_bytes_max);
            return Err(TransformError::new(Breach::ReplyBytes, message));
        }
        let rows = batch.rows as usize;
        self.check_verdicts(rows)?;
        let rows_out = self.check_parents(rows, limits)?;
        self.check_findings(rows, description, limits)?;
        self.check_rows_name_their_rule(rows)?;
        if self.columns.len() != description.writes.len() {
            return Err(lie(format_args!(
                "{} columns for {} declared writes",
                self.columns.len(),
                description.writes.len()
            )));
        }
        for (written, column) in description.writes.iter().zip(&self.columns) {
            self.check_column(column, &written.kind, rows_out)
                .map_err(|what| lie(format_args!("column {}: {what}", written.path)))?;
        }
        self.check_states(description, batch, limits)
    }

    /// What its lists hold, in bytes.
    pub fn size_bytes(&self) -> u64 {
        let binary = |binary: &Binary| binary.offsets.len() * 4 + binary.bytes.len();
        let column = |column: &Column| {
            column.presence.len()
                + match &column.values {
                    Values::Boolean(values) => values.len(),
                    Values::Int64(values) | Values::Timestamp(values) => values.len() * 8,
                    Values::Float64(values) => values.len() * 8,
                    Values::Date(values) => values.len() * 4,
                    Values::Enumeration(values) => values.len() * 4,
                    Values::Utf8(values) | Values::Json(values) => binary(values),
                }
        };
        let bytes = self.verdicts.len()
            + self.parents.len() * 4
            + self.columns.iter().map(column).sum::<usize>()
            + (self.findings.rows.len() + self.findings.rules.len()) * 4
            + binary(&self.findings.details)
            + self.states.keys.len() * 4
            + binary(&self.states.values);
        bytes as u64
    }

    /// The verdict on an input row of a reply that was checked.
    pub fn verdict(&self, row: usize) -> Verdict {
        match self.verdicts.get(row) {
            None | Some(0) => Verdict::Emit,
            Some(1) => Verdict::Drop,
            Some(_) => Verdict::Reject,
        }
    }

    fn check_verdicts(&self, rows: usize) -> Result<(), TransformError> {
        if !self.verdicts.is_empty() && self.verdicts.len() != rows {
            let count = self.verdicts.len();
            return Err(lie(format_args!("{count} verdicts for {rows} rows")));
        }
        match largest(&self.verdicts) {
            code if code > Verdict::Reject as u8 => {
                Err(lie(format_args!("a verdict has the code {code}")))
            }
            _ => Ok(()),
        }
    }

    /// How many output rows there are.
    fn check_parents(&self, rows: usize, limits: &ReplyLimits) -> Result<usize, TransformError> {
        if self.parents.is_empty() {
            return Ok(rows);
        }
        if !limits.fan_out {
            return Err(lie("it names parents without the capability `fan-out`"));
        }
        if self.parents.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err(lie("parents decrease"));
        }
        if self.parents.last().is_some_and(|&last| last as usize >= rows) {
            return Err(lie(format_args!("a parent is no row of the {rows}")));
        }
        Ok(self.parents.len())
    }

    fn check_findings(
        &self,
        rows: usize,
        description: &Description,
        limits: &ReplyLimits,
    ) -> Result<(), TransformError> {
        let findings = &self.findings;
        let count = findings.rows.len();
        if count as u64 > limits.findings_max {
            let message = format!("{count} findings of {} allowed", limits.findings_max);
            return Err(TransformError::new(Breach::Findings, message));
        }
        if findings.rules.len() != count {
            let rules = findings.rules.len();
            return Err(lie(format_args!("findings name {count} rows and {rules} rules")));
        }
        if findings.rows.iter().any(|&row| row as usize >= rows) {
            return Err(lie(format_args!("a finding's row is none of the {rows}")));
        }
        let rules = description.rules.len();
        if findings.rules.iter().any(|&rule| rule as usize >= rules) {
            return Err(lie(format_args!("a finding's rule is none of the {rules} declared")));
        }
        if findings.details != Binary::default() {
            check_binary(&findings.details, count)
                .and_then(|()| check_utf8(&findings.details))
                .map_err(|what| lie(format_args!("details of findings: {what}")))?;
        }
        Ok(())
    }

    /// A row that is dropped, rejected or left childless says why: nothing vanishes in silence.
    fn check_rows_name_their_rule(&self, rows: usize) -> Result<(), TransformError> {
        if largest(&self.verdicts) == 0 && self.parents.is_empty() {
            return Ok(());
        }
        let mut explained = vec![false; rows];
        for &row in &self.findings.rows {
            explained[row as usize] = true;
        }
        if !self.parents.is_empty() {
            for &parent in &self.parents {
                // A child explains an emitted row only; a dropped one still needs its finding.
                if self.verdict(parent as usize) == Verdict::Emit {
                    explained[parent as usize] = true;
                }
            }
        }
        let gone = |row: usize| !self.parents.is_empty() || self.verdict(row) != Verdict::Emit;
        match (0..rows).find(|&row| gone(row) && !explained[row]) {
            Some(row) => Err(lie(format_args!("row {row} is gone without a finding"))),
            None => Ok(()),
        }
    }

    fn check_column(&self, column: &Column, kind: &Kind, rows_out: usize) -> Result<(), String> {
        let values = &column.values;
        if !values.is_of(kind) {
            return Err(format!("its values are not of the declared kind {kind}"));
        }
        if let Values::Utf8(binary) | Values::Json(binary) = values {
            check_binary(binary, rows_out)?;
            check_utf8(binary)?;
        } else if values.len() != rows_out {
            return Err(format!("{} values for {rows_out} rows", values.len()));
        }
        if !column.presence.is_empty() && column.presence.len() != rows_out {
            return Err(format!("{} presence bytes for {rows_out} rows", column.presence.len()));
        }
        let code = largest(&column.presence);
        if code > Write::Remove as u8 {
            return Err(format!("a presence byte is {code}"));
        }
        // The slots of rows that nothing is set in hold whatever the guest left there. Few columns
        // break a rule anywhere, so the whole column is scanned first and its rows only if need be.
        let mut breaking = Breaking { reply: self, column };
        match values {
            Values::Boolean(values) => match largest(values) {
                0 | 1 => Ok(()),
                _ => breaking.row(|row| values[row] > 1, "a boolean that is neither 0 nor 1"),
            },
            Values::Float64(values) => match values.iter().all(|value| value.is_finite()) {
                true => Ok(()),
                false => breaking.row(
                    |row| !values[row].is_finite(),
                    "a float that is not finite: JSON has none",
                ),
            },
            Values::Enumeration(codes) => {
                let Kind::Enumeration(dictionary) = kind else { return Ok(()) };
                let count = dictionary.len();
                match codes.iter().all(|&code| (code as usize) < count) {
                    true => Ok(()),
                    false => breaking
                        .row(|row| codes[row] as usize >= count, "a code outside the dictionary"),
                }
            }
            Values::Timestamp(values) if *kind == Kind::Timestamp(TimestampFormat::Rfc3339) => {
                match values.iter().all(|value| RFC3339_MICROSECONDS.contains(value)) {
                    true => Ok(()),
                    false => breaking.row(
                        |row| !RFC3339_MICROSECONDS.contains(&values[row]),
                        "a timestamp outside the years 0 to 9999",
                    ),
                }
            }
            Values::Date(values) => match values.iter().all(|value| DATE_DAYS.contains(value)) {
                true => Ok(()),
                false => breaking.row(
                    |row| !DATE_DAYS.contains(&values[row]),
                    "a date outside the years 0 to 9999",
                ),
            },
            Values::Json(texts) => {
                let mut json = Validator::default();
                breaking.row(
                    |row| json.validate(texts.get(row)).is_err(),
                    "a text that is not JSON, which would break the record that it goes into",
                )
            }
            Values::Int64(_) | Values::Timestamp(_) | Values::Utf8(_) => Ok(()),
        }
    }

    fn check_states(
        &self,
        description: &Description,
        batch: &Batch<'_>,
        limits: &ReplyLimits,
    ) -> Result<(), TransformError> {
        let changed = &self.states;
        let count = changed.keys.len();
        if description.state.is_none() && count > 0 {
            return Err(lie("it returns states and declares none"));
        }
        if changed.values != Binary::default() || count > 0 {
            check_binary(&changed.values, count)
                .map_err(|what| lie(format_args!("states: {what}")))?;
        }
        let mut seen = vec![false; batch.states.values.len()];
        for &key in &changed.keys {
            match seen.get_mut(key as usize) {
                None => {
                    return Err(lie(format_args!("a state's key is none of the {}", seen.len())));
                }
                Some(true) => return Err(lie("a key's state is returned twice")),
                Some(seen) => *seen = true,
            }
        }
        let sizes = changed.values.offsets.windows(2).map(|pair| u64::from(pair[1] - pair[0]));
        match sizes.max() {
            Some(size) if size > limits.state_bytes_max => Err(TransformError::new(
                Breach::StateBytes,
                format!("a state has {size} bytes of {} allowed", limits.state_bytes_max),
            )),
            _ => Ok(()),
        }
    }
}

/// Looks for a row that breaks a rule among those whose slots count: emitted, and set.
struct Breaking<'a> {
    reply: &'a Reply,
    column: &'a Column,
}

impl Breaking<'_> {
    fn row(&mut self, mut breaks: impl FnMut(usize) -> bool, what: &str) -> Result<(), String> {
        let counts = |row: usize| {
            let input = self.reply.parents.get(row).map_or(row, |&parent| parent as usize);
            self.column.presence_of(row) == Write::Set as u8
                && self.reply.verdict(input) == Verdict::Emit
        };
        match (0..self.column.values.len()).find(|&row| counts(row) && breaks(row)) {
            Some(row) => Err(format!("row {row} has {what}")),
            None => Ok(()),
        }
    }
}

/// Checks what a plugin says are `count` states, migrated: one for one, each within its bound.
pub fn check_migrated(
    states: &Binary,
    count: usize,
    state_bytes_max: u64,
) -> Result<(), TransformError> {
    check_binary(states, count)
        .map_err(|what| TransformError::new(Breach::Reply, format!("migrated states: {what}")))?;
    let sizes = (0..count).map(|i| states.get(i).len() as u64);
    match sizes.max() {
        Some(size) if size > state_bytes_max => Err(TransformError::new(
            Breach::StateBytes,
            format!("a migrated state has {size} bytes of {state_bytes_max} allowed"),
        )),
        _ => Ok(()),
    }
}

/// `offsets` has one entry more than there are values, starts at 0, never decreases and ends at
/// the length of `bytes`; for no values at all both may be empty.
fn check_binary(binary: &Binary, count: usize) -> Result<(), String> {
    let Binary { offsets, bytes } = binary;
    if offsets.is_empty() && count == 0 {
        return match bytes.len() {
            0 => Ok(()),
            _ => Err("bytes without offsets".into()),
        };
    }
    if offsets.len() != count + 1 {
        return Err(format!("{} offsets for {count} values", offsets.len()));
    }
    if offsets[0] != 0 {
        return Err(format!("its offsets start at {}", offsets[0]));
    }
    if offsets.windows(2).any(|pair| pair[0] > pair[1]) {
        return Err("its offsets decrease".into());
    }
    match offsets[count] as usize == bytes.len() {
        true => Ok(()),
        false => Err(format!("its offsets end at {} of {} bytes", offsets[count], bytes.len())),
    }
}

/// All of it is UTF-8, and no value starts inside a character. After [`check_binary`].
fn check_utf8(binary: &Binary) -> Result<(), String> {
    let text = simdutf8::basic::from_utf8(&binary.bytes).map_err(|_| "not UTF-8".to_owned())?;
    let whole = |&offset: &u32| text.is_char_boundary(offset as usize);
    match binary.offsets.iter().all(whole) {
        true => Ok(()),
        false => Err("a value ends inside a character".into()),
    }
}

/// The largest of some codes, or 0. A fold without a branch, which compiles to vector code.
fn largest(codes: &[u8]) -> u8 {
    codes.iter().fold(0, |largest, &code| largest.max(code))
}

fn lie(what: impl std::fmt::Display) -> TransformError {
    TransformError::new(Breach::Reply, what.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Path, Timestamp,
        description::{Dimension, KeyedState, Rule, Severity, Written},
        transform::{ChangedStates, Findings, States},
    };

    const LIMITS: ReplyLimits =
        ReplyLimits { reply_bytes_max: 1000, findings_max: 4, state_bytes_max: 8, fan_out: true };

    fn description() -> Description {
        let written = |name, kind| Written { path: Path::keys([name]), kind };
        Description {
            reads: vec![],
            writes: vec![
                written("number", Kind::Float64),
                written("text", Kind::Utf8),
                written("band", Kind::Enumeration(vec!["low".into(), "high".into()])),
            ],
            rules: vec![Rule {
                id: "odd".into(),
                dimension: Dimension::Validity,
                severity: Severity::Warn,
                field: None,
                text: "A rule.".into(),
            }],
            state: Some(KeyedState { key: vec![0] }),
        }
    }

    /// What becomes of a reply to three rows with two keys.
    fn check(reply: &Reply) -> Result<(), TransformError> {
        let states = States { rows: vec![0, 1, 0], values: ["", "old"].iter().collect() };
        let batch =
            Batch { rows: 3, columns: &[], states: &states, batch_time: Timestamp::default() };
        reply.check(&description(), &batch, &LIMITS)
    }

    fn column(values: Values) -> Column {
        Column { values, presence: vec![] }
    }

    fn honest() -> Reply {
        Reply {
            columns: vec![
                column(Values::Float64(vec![1.0, 2.0, 3.0])),
                column(Values::Utf8(["a", "", "é"].iter().collect())),
                column(Values::Enumeration(vec![0, 1, 0])),
            ],
            ..Reply::default()
        }
    }

    /// An honest reply with one change: the breach and a word of the message.
    #[track_caller]
    fn lie(change: impl FnOnce(&mut Reply), breach: Breach, words: &str) {
        let mut reply = honest();
        change(&mut reply);
        let error = check(&reply).expect_err("it is found");
        assert_eq!(error.breach, breach, "{error}");
        assert!(error.message.contains(words), "{words:?} is not in {:?}", error.message);
    }

    #[track_caller]
    fn fine(change: impl FnOnce(&mut Reply)) {
        let mut reply = honest();
        change(&mut reply);
        check(&reply).expect("it is honest");
    }

    #[test]
    fn honest_replies_pass() {
        fine(|_| {});
        fine(|reply| reply.verdicts = vec![0, 0, 0]);
        fine(|reply| {
            reply.verdicts = vec![0, 1, 2];
            reply.findings = Findings {
                rows: vec![2, 1],
                rules: vec![0, 0],
                details: ["why", ""].iter().collect(),
            };
        });
        fine(|reply| {
            reply.states = ChangedStates { keys: vec![1], values: ["new"].iter().collect() }
        });
    }

    #[test]
    fn slots_without_a_value_hold_anything() {
        fine(|reply| {
            reply.columns[0] = Column {
                values: Values::Float64(vec![f64::NAN, 1.0, f64::INFINITY]),
                presence: vec![1, 0, 3],
            };
            reply.columns[2] =
                Column { values: Values::Enumeration(vec![9, 9, 9]), presence: vec![2, 2, 2] };
        });
        // Nor do those of rows that are gone.
        fine(|reply| {
            reply.verdicts = vec![2, 0, 0];
            reply.findings = Findings { rows: vec![0], rules: vec![0], ..Findings::default() };
            reply.columns[0] = column(Values::Float64(vec![f64::NAN, 1.0, 1.0]));
        });
    }

    #[test]
    fn rows_with_parents_are_counted_by_parents() {
        let two_of_the_first = |reply: &mut Reply| {
            reply.parents = vec![0, 0, 2];
            reply.findings = Findings { rows: vec![1], rules: vec![0], ..Findings::default() };
        };
        fine(two_of_the_first);
        let childless = |reply: &mut Reply| {
            two_of_the_first(reply);
            reply.findings = Findings::default();
        };
        lie(childless, Breach::Reply, "row 1 is gone without a finding");
        lie(|reply| reply.parents = vec![0, 2, 1], Breach::Reply, "parents decrease");
        lie(|reply| reply.parents = vec![0, 1, 3], Breach::Reply, "a parent is no row");
        lie(|reply| reply.parents = vec![0, 1, 1, 2], Breach::Reply, "3 values for 4 rows");
        let rejected = |reply: &mut Reply| {
            reply.parents = vec![0, 1, 2];
            reply.verdicts = vec![2, 0, 0];
        };
        lie(rejected, Breach::Reply, "row 0 is gone without a finding");
    }

    #[test]
    fn lies_are_named() {
        lie(|reply| drop(reply.columns.pop()), Breach::Reply, "2 columns for 3 declared");
        lie(|reply| reply.verdicts = vec![0], Breach::Reply, "1 verdicts for 3 rows");
        lie(|reply| reply.columns[0].presence = vec![0], Breach::Reply, "1 presence bytes");
        lie(|reply| reply.columns[0].presence = vec![0, 4, 0], Breach::Reply, "presence byte is 4");
        let long = |reply: &mut Reply| reply.findings.details.bytes = vec![b' '; 1001];
        lie(long, Breach::ReplyBytes, "of 1000 allowed");
        let many = |reply: &mut Reply| {
            reply.findings.rows = vec![0; 5];
            reply.findings.rules = vec![0; 5];
        };
        lie(many, Breach::Findings, "5 findings of 4 allowed");
        let states = |keys: &'static [u32], values: &'static [&str]| {
            move |reply: &mut Reply| {
                reply.states =
                    ChangedStates { keys: keys.to_vec(), values: values.iter().collect() };
            }
        };
        lie(states(&[1], &["123456789"]), Breach::StateBytes, "9 bytes of 8 allowed");
        lie(states(&[0, 0], &["", ""]), Breach::Reply, "returned twice");
        lie(states(&[2], &[""]), Breach::Reply, "none of the 2");
        lie(states(&[0, 1], &[""]), Breach::Reply, "2 offsets for 2 values");
    }

    proptest! {
        /// Whatever the numbers are: no panic, and what passes can be read to its last value. Parts
        /// that are left honest let many a reply pass.
        #[test]
        fn what_passes_can_be_read(
            verdicts in prop::option::of(prop::collection::vec(0u8..4, 3)),
            parents in prop::option::of(prop::collection::vec(0u32..4, 3)),
            offsets in prop::option::of(prop::collection::vec(0u32..5, 4)),
            bytes in prop::option::of(prop::collection::vec(any::<u8>(), 3)),
            codes in prop::option::of(prop::collection::vec(0u32..3, 2..4)),
            presence in prop::option::of(prop::collection::vec(0u8..5, 2..4)),
            rows in prop::option::of(prop::collection::vec(0u32..4, 0..5)),
            keys in prop::option::of(prop::collection::vec(0u32..3, 0..3)),
        ) {
            let mut reply = honest();
            let Values::Utf8(texts) = &mut reply.columns[1].values else { unreachable!() };
            texts.offsets = offsets.unwrap_or(std::mem::take(&mut texts.offsets));
            texts.bytes = bytes.unwrap_or(std::mem::take(&mut texts.bytes));
            if let Some(codes) = codes {
                reply.columns[2].values = Values::Enumeration(codes);
            }
            reply.columns[2].presence = presence.unwrap_or_default();
            reply.verdicts = verdicts.unwrap_or_default();
            reply.parents = parents.unwrap_or_default();
            reply.findings.rows = rows.unwrap_or_default();
            reply.findings.rules = vec![0; reply.findings.rows.len()];
            reply.states.keys = keys.unwrap_or_default();
            reply.states.values = reply.states.keys.iter().map(|_| "state").collect();
            if check(&reply).is_ok() {
                let Values::Utf8(texts) = &reply.columns[1].values else { unreachable!() };
                let count = if reply.parents.is_empty() { 3 } else { reply.parents.len() };
                prop_assert_eq!(texts.len(), count);
                for row in 0..count {
                    prop_assert!(std::str::from_utf8(texts.get(row)).is_ok());
                }
            }
        }
    }
}
