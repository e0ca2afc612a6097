//! A plugin's reply is hostile input: everything that later code relies on is checked here, once,
//! before any of it is used. Whatever passes can be spliced, routed and stored without a panic
//! and without another look.

use super::{Batch, Breach, Reply, TransformError, Verdict};
use crate::{
    column::{Binary, Column, Values, Write},
    description::{Description, Kind, TimestampFormat},
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
            Values::Json(texts) => breaking.row(
                |row| serde_json::from_slice::<serde::de::IgnoredAny>(texts.get(row)).is_err(),
                "a text that is not JSON",
            ),
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
