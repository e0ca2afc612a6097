//! What a plugin answers for a batch: verdicts, written columns, findings and changed states.

/// What a plugin answers for a batch. [`Reply::default`] emits every row as it is, for a plugin
/// that writes nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// Empty when every row is emitted, else the byte of a [`Verdict`] a row.
    pub verdicts: Vec<u8>,
    /// Empty when each row becomes one row, else the input row of each output row, never
    /// decreasing. Needs the capability `fan-out`.
    pub parents: Vec<u32>,
    /// One for each write of the description, in its order, with one value an output row.
    pub columns: Vec<Column>,
    /// What was found, by rule.
    pub findings: Findings,
    /// The keys whose state changed.
    pub states: ChangedStates,
}

impl Reply {
    /// Rejects a row of a batch of `rows` by a rule, which must be the row's first finding: it
    /// is what the dead letter names.
    pub fn reject(&mut self, rows: usize, row: usize, rule: u32) {
        self.judge(rows, row, Verdict::Reject);
        self.findings.add(row, rule);
    }

    /// Drops a row of a batch of `rows` by a rule, which must be the row's first finding.
    pub fn drop(&mut self, rows: usize, row: usize, rule: u32) {
        self.judge(rows, row, Verdict::Drop);
        self.findings.add(row, rule);
    }

    /// Gives a row of a batch of `rows` its verdict.
    pub fn judge(&mut self, rows: usize, row: usize, verdict: Verdict) {
        if self.verdicts.is_empty() {
            self.verdicts.resize(rows, Verdict::Emit as u8);
        }
        self.verdicts[row] = verdict as u8;
    }
}

/// What happens to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// It goes on.
    Emit = 0,
    /// It ends here, by the plugin's word, and is counted.
    Drop = 1,
    /// It goes to the dead letters.
    Reject = 2,
}

/// What was found: row `rows[i]` met rule `rules[i]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Input rows.
    pub rows: Vec<u32>,
    /// Indices into the rules of the description.
    pub rules: Vec<u32>,
    /// Empty, or one text a finding, which may be empty.
    pub details: Binary,
}

impl Findings {
    /// Notes that a row met a rule.
    pub fn add(&mut self, row: usize, rule: u32) {
        self.rows.push(row as u32);
        self.rules.push(rule);
        if !self.details.offsets.is_empty() {
            self.details.close();
        }
    }

    /// Notes that a row met a rule, with a word for people about it. A detail may show in dead
    /// letters and logs, so it says what is wrong and not what the value was.
    pub fn add_with(&mut self, row: usize, rule: u32, detail: &str) {
        if self.details.offsets.is_empty() {
            self.details.offsets.resize(self.rows.len() + 1, 0);
        }
        self.rows.push(row as u32);
        self.rules.push(rule);
        self.details.push(detail.as_bytes());
    }

    /// Keeps the first so many of each row, for a plugin whose rules have no number that it knows:
    /// a host takes 16 a row, and refuses a reply with more.
    pub fn keep_first(&mut self, each_row_max: usize) {
        let Some(last_row) = self.rows.iter().max().filter(|_| self.len() > each_row_max) else {
            return;
        };
        let mut seen = vec![0; *last_row as usize + 1];
        let all = std::mem::take(self);
        for (i, row) in all.rows.iter().enumerate() {
            let seen = &mut seen[*row as usize];
            *seen += 1;
            if *seen > each_row_max {
                continue;
            }
            self.rows.push(*row);
            self.rules.push(all.rules[i]);
            if !all.details.is_empty() {
                let offsets = &all.details.offsets;
                self.details.push(&all.details.bytes[offsets[i] as usize..offsets[i + 1] as usize]);
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The keys whose state changed, and their new states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangedStates {
    /// Indices of keys of the batch's states, each at most once.
    pub keys: Vec<u32>,
    /// One state for each; an empty one removes it.
    pub values: Binary,
}

impl ChangedStates {
    /// Sets the state of a key.
    pub fn set(&mut self, key: usize, state: &[u8]) {
        self.keys.push(key as u32);
        self.values.push(state);
    }
}

/// Byte strings back to back: value `i` is `bytes[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binary {
    /// One entry more than there are values, or none for no values.
    pub offsets: Vec<u32>,
    /// The values.
    pub bytes: Vec<u8>,
}

impl Binary {
    /// No values yet, with room for some.
    pub fn with_capacity(values: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(values + 1);
        offsets.push(0);
        Binary { offsets, bytes: Vec::with_capacity(bytes) }
    }

    /// Adds a value.
    #[inline]
    pub fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.close();
    }

    /// Ends the value whose bytes were appended to `bytes` since the last one.
    #[inline]
    pub fn close(&mut self) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        // The host limits a reply far below 4 GiB, and refuses offsets that are not in order.
        self.offsets.push(self.bytes.len() as u32);
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A written column, and what is to be done with its path in each row.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// One value a row; where none is set, an arbitrary one of the kind.
    pub values: Values,
    /// Empty when every row sets its value, else [`SET`], [`LEAVE`], [`NULL`] or [`REMOVE`] a row.
    pub presence: Vec<u8>,
}

/// One value a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 0 or 1 a row.
    Boolean(Vec<u8>),
    /// Signed integers.
    Int64(Vec<i64>),
    /// Floats; the host refuses one that is not finite.
    Float64(Vec<f64>),
    /// Microseconds since the epoch.
    Timestamp(Vec<i64>),
    /// Days since the epoch.
    Date(Vec<i32>),
    /// UTF-8 text.
    Utf8(Binary),
    /// Codes into the dictionary of the kind.
    Enumeration(Vec<u32>),
    /// Raw JSON text.
    Json(Binary),
}

/// What is to be done with a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Field<T> {
    /// Set it to a value.
    Set(T),
    /// Leave it as it is.
    #[default]
    Leave,
    /// Set it to null.
    Null,
    /// Remove it from the record.
    Remove,
}

impl<T> Field<T> {
    /// The same for a value of another type.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Field::Set(value) => Field::Set(f(value)),
            Field::Leave => Field::Leave,
            Field::Null => Field::Null,
            Field::Remove => Field::Remove,
        }
    }
}

impl<T> From<Option<T>> for Field<T> {
    /// `None` leaves the path as it is.
    fn from(value: Option<T>) -> Self {
        value.map_or(Field::Leave, Field::Set)
    }
}

/// Builds a column of a fixed width, row by row. `T` is the type in the column.
#[derive(Clone, Debug)]
pub struct ColumnBuilder<T> {
    values: Vec<T>,
    presence: Presence,
}

impl<T: Default> ColumnBuilder<T> {
    /// No rows yet, with room for some.
    pub fn with_capacity(rows: usize) -> Self {
        ColumnBuilder { values: Vec::with_capacity(rows), presence: Presence::default() }
    }

    /// The next row sets its value.
    #[inline]
    pub fn set(&mut self, value: T) {
        self.values.push(value);
        self.presence.set();
    }

    /// The next row does as the field says.
    #[inline]
    pub fn push(&mut self, field: Field<T>) {
        match field {
            Field::Set(value) => self.set(value),
            Field::Leave => self.without(LEAVE),
            Field::Null => self.without(NULL),
            Field::Remove => self.without(REMOVE),
        }
    }

    /// The next row leaves its path as it is.
    #[inline]
    pub fn leave(&mut self) {
        self.without(LEAVE);
    }

    fn without(&mut self, action: u8) {
        self.presence.without(action, self.values.len());
        self.values.push(T::default());
    }

    /// The column; `wrap` is a variant of [`Values`], such as `Values::Float64`.
    pub fn finish(self, wrap: fn(Vec<T>) -> Values) -> Column {
        Column { values: wrap(self.values), presence: self.presence.bytes }
    }
}

/// Builds a column of text or JSON, row by row.
#[derive(Clone, Debug, Default)]
pub struct TextBuilder {
    texts: Binary,
    presence: Presence,
}

impl TextBuilder {
    /// No rows yet, with room for some rows and bytes.
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        TextBuilder { texts: Binary::with_capacity(rows, bytes), presence: Presence::default() }
    }

    /// The next row sets its text.
    #[inline]
    pub fn set(&mut self, text: &str) {
        self.texts.push(text.as_bytes());
        self.presence.set();
    }

    /// The next row sets its text to these back to back.
    #[inline]
    pub fn set_joined<'a>(&mut self, parts: impl IntoIterator<Item = &'a str>) {
        for part in parts {
            self.texts.bytes.extend_from_slice(part.as_bytes());
        }
        self.texts.close();
        self.presence.set();
    }

    /// The next row does as the field says.
    #[inline]
    pub fn push(&mut self, field: Field<&str>) {
        match field {
            Field::Set(text) => self.set(text),
            Field::Leave => self.without(LEAVE),
            Field::Null => self.without(NULL),
            Field::Remove => self.without(REMOVE),
        }
    }

    /// The next row leaves its path as it is.
    #[inline]
    pub fn leave(&mut self) {
        self.without(LEAVE);
    }

    fn without(&mut self, action: u8) {
        self.presence.without(action, self.texts.len());
        self.texts.close();
    }

    /// The column; `wrap` is `Values::Utf8` or `Values::Json`.
    pub fn finish(self, wrap: fn(Binary) -> Values) -> Column {
        Column { values: wrap(self.texts), presence: self.presence.bytes }
    }
}

/// The presence byte of a row that sets its value.
pub const SET: u8 = 0;
/// The presence byte of a row that leaves its path as it is.
pub const LEAVE: u8 = 1;
/// The presence byte of a row that sets its path to null.
pub const NULL: u8 = 2;
/// The presence byte of a row that removes its path.
pub const REMOVE: u8 = 3;

/// Presence bytes that stay empty as long as every row sets its value.
#[derive(Clone, Debug, Default)]
struct Presence {
    bytes: Vec<u8>,
}

impl Presence {
    #[inline]
    fn set(&mut self) {
        if !self.bytes.is_empty() {
            self.bytes.push(SET);
        }
    }

    #[inline]
    fn without(&mut self, action: u8, rows_before: usize) {
        if self.bytes.is_empty() {
            self.bytes.resize(rows_before, SET);
        }
        self.bytes.push(action);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_stays_empty_until_a_row_sets_nothing() {
        let mut full = ColumnBuilder::with_capacity(2);
        full.set(1.0);
        full.set(2.0);
        assert!(full.finish(Values::Float64).presence.is_empty());

        let mut holes = TextBuilder::default();
        holes.push(Field::Null);
        holes.set("a");
        holes.set_joined(["b", "c"]);
        holes.push(Field::Remove);
        holes.leave();
        let column = holes.finish(Values::Utf8);
        assert_eq!(column.presence, [2, 0, 0, 3, 1]);
        let Values::Utf8(texts) = column.values else { panic!("not text") };
        assert_eq!((texts.offsets, texts.bytes), (vec![0, 0, 1, 3, 3, 3], b"abc".to_vec()));
    }

    #[test]
    fn details_are_as_many_as_findings_once_there_is_one() {
        let mut findings = Findings::default();
        findings.add(0, 1);
        assert!(findings.details.is_empty());
        findings.add_with(3, 0, "why");
        findings.add(4, 0);
        assert_eq!(findings.details.len(), findings.len());
        assert_eq!(findings.details.offsets, [0, 0, 3, 3]);
    }

    #[test]
    fn the_first_findings_of_each_row_are_kept() {
        let mut findings = Findings::default();
        for rule in 0..3 {
            for row in 0..2 {
                findings.add_with(row, rule, ["a", "b", "c"][rule as usize]);
            }
        }
        findings.keep_first(2);
        assert_eq!((&*findings.rows, &*findings.rules), (&[0, 1, 0, 1][..], &[0, 0, 1, 1][..]));
        assert_eq!(findings.details.bytes, b"aabb");
        let kept = findings.clone();
        findings.keep_first(2);
        assert_eq!(findings, kept);
    }
}
