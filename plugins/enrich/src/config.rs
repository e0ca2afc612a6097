//! The config of `enrich`.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_plugin::Path;

/// Computes new fields.
///
/// Each field is an expression: an operation that is named by its one key, over fields, constants
/// and other operations. Nothing is written where an operand has no value of its type. Where the
/// operands have values but the result is none (a division by zero, an integer beyond 64 bits, a
/// number that JSON has not), nothing is written either, and the rule `computable:` with the
/// field's path is broken, which warns.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The fields, in order. One that is written here can't be an operand of another: chain two
    /// stages for that.
    pub fields: Vec<Field>,
}

/// A field to compute.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// The field to write.
    pub write: Path,
    /// Its value.
    pub value: Expression,
}

/// An operand or an operation.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expression {
    /// A field that is a number.
    Number(Path),
    /// A field that is a number without a fraction, of 64 bits.
    Integer(Path),
    /// A field that is a string.
    Text(Path),
    /// A field that is `true` or `false`.
    Boolean(Path),
    /// A field that is a string `YYYY-MM-DD`.
    Date(Path),
    /// A field that is a time by RFC 3339.
    Timestamp(Path),
    /// A field that is a time in seconds since 1970.
    UnixSeconds(Path),
    /// A field that is a time in milliseconds since 1970.
    UnixMilliseconds(Path),
    /// A field that is a time in microseconds since 1970.
    UnixMicroseconds(Path),
    /// What the host knows of the record: `@record-id`, `@partition`, `@position`,
    /// `@partition-key`, `@source` (text), `@arrival-time`, `@batch-time` (timestamps).
    Host(String),
    /// A text, a number or a boolean, the same for every record.
    Constant(Constant),
    /// A cell of a look-up table of the pipeline. Needs the grant `lookups`.
    Lookup(Box<Lookup>),
    /// The first of these that has a value. All are of one type.
    FirstOf(Vec<Expression>),

    /// The sum of numbers.
    Add(Vec<Expression>),
    /// The first number less the second.
    Subtract(Box<[Expression; 2]>),
    /// The product of numbers.
    Multiply(Vec<Expression>),
    /// The first number by the second, with a fraction.
    Divide(Box<[Expression; 2]>),
    /// What is left of the first number divided by the second; it has the sign of the first.
    Remainder(Box<[Expression; 2]>),
    /// The least of numbers.
    Min(Vec<Expression>),
    /// The greatest of numbers.
    Max(Vec<Expression>),
    /// A number without its sign.
    Absolute(Box<Expression>),
    /// A number rounded to so many decimals, halves away from zero.
    Round(Box<Round>),
    /// The greatest whole number that is not greater, as an integer.
    Floor(Box<Expression>),
    /// The least whole number that is not less, as an integer.
    Ceiling(Box<Expression>),

    /// The date of a timestamp, in UTC. So are all parts below.
    DateOf(Box<Expression>),
    /// The year of a timestamp or date.
    Year(Box<Expression>),
    /// The quarter, 1 to 4.
    Quarter(Box<Expression>),
    /// The month, 1 to 12.
    Month(Box<Expression>),
    /// The day of the month, 1 to 31.
    Day(Box<Expression>),
    /// The day of the year, 1 to 366.
    DayOfYear(Box<Expression>),
    /// The day of the week, 1 (Monday) to 7 (Sunday).
    Weekday(Box<Expression>),
    /// Whether it is a Saturday or Sunday.
    IsWeekend(Box<Expression>),
    /// The week by ISO 8601, 1 to 53.
    IsoWeek(Box<Expression>),
    /// The year that the week by ISO 8601 belongs to.
    IsoYear(Box<Expression>),
    /// The hour of a timestamp, 0 to 23.
    Hour(Box<Expression>),
    /// The minute of a timestamp, 0 to 59.
    Minute(Box<Expression>),
    /// The second of a timestamp, 0 to 59.
    Second(Box<Expression>),
    /// The seconds from the first timestamp to the second, with a fraction.
    SecondsBetween(Box<[Expression; 2]>),

    /// A number (in decimal, as short as it goes, without an exponent), an integer, a boolean or
    /// a date as text.
    TextOf(Box<Expression>),
    /// A text in capitals.
    Upper(Box<Expression>),
    /// A text in small letters.
    Lower(Box<Expression>),
    /// A text without blanks at its ends.
    Trim(Box<Expression>),
    /// How many characters a text has.
    Length(Box<Expression>),
    /// Texts one after the other.
    Concat(Vec<Expression>),
    /// A part of a text.
    Substring(Box<Substring>),
    /// A text with each occurrence of a text replaced.
    Replace(Box<Replace>),
    /// A piece of a text that is cut at each occurrence of a text.
    Split(Box<Split>),

    /// The SHA-256 of a text, 64 hex digits.
    Sha256(Box<Expression>),
    /// The CRC-32 (ISO-HDLC, as in zip) of a text, 8 hex digits.
    Crc32(Box<Expression>),
}

/// A cell of a look-up table.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// The table's name in the pipeline's config.
    pub table: String,
    /// The fields whose values are the key, in the order of the table's key.
    pub key: Vec<Path>,
    /// The column of the table.
    pub column: String,
    /// The type of the operand.
    #[serde(rename = "type")]
    pub of: LookupType,
    /// What stands in where the look-up gives nothing: the table does not have the key, a part of
    /// the key has no value, or the cell is null. Each time is a finding of the rule `defaulted:`
    /// with the field's path, which informs. Dates and timestamps have no default: name another
    /// operand behind the look-up in `first_of`.
    pub default: Option<Constant>,
}

/// The type of what is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "said by their names")]
pub enum LookupType {
    Number,
    Integer,
    Text,
    Boolean,
    Date,
    Timestamp,
}

/// A text, a number or a boolean.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a string, a number or a boolean")]
#[allow(missing_docs, reason = "said by their names")]
pub enum Constant {
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(String),
}

/// A number rounded to so many decimals.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// The number.
    pub value: Expression,
    /// How many decimals stay, 0 to 15. 0 by default.
    #[serde(default)]
    pub decimals: u32,
}

/// A part of a text.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Substring {
    /// The text.
    pub value: Expression,
    /// The character that the part begins with, from 0.
    pub start: u32,
    /// How many characters it has at most; all that are left by default.
    pub length: Option<u32>,
}

/// A text with each occurrence of a text replaced.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replace {
    /// The text.
    pub value: Expression,
    /// What is replaced; not empty.
    pub find: String,
    /// What stands in its place.
    pub with: String,
}

/// A piece of a text.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The text.
    pub value: Expression,
    /// Where it is cut; not empty.
    pub by: String,
    /// Which piece, from 0. A text with fewer pieces gives nothing.
    pub index: u32,
}
