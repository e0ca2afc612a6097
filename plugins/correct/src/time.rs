//! Texts that are dates and times.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_plugin::{Date, Timestamp};

/// How a date or time is written, as by `strptime`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Format(Vec<Piece>);

/// A piece of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// This character.
    Literal(char),
    /// White space, one or more.
    Space,
    Part(Part),
}

/// A part of a date or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Year,
    Month,
    MonthName,
    Day,
    Hour,
    HourOf12,
    Half,
    Minute,
    Second,
    Fraction,
    Offset,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

impl TryFrom<String> for Format {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let piece = match c {
                '%' => match chars.next() {
                    Some('Y') => Piece::Part(Part::Year),
                    Some('m') => Piece::Part(Part::Month),
                    Some('b' | 'B') => Piece::Part(Part::MonthName),
                    Some('d') => Piece::Part(Part::Day),
                    Some('H') => Piece::Part(Part::Hour),
                    Some('I') => Piece::Part(Part::HourOf12),
                    Some('p') => Piece::Part(Part::Half),
                    Some('M') => Piece::Part(Part::Minute),
                    Some('S') => Piece::Part(Part::Second),
                    Some('f') => Piece::Part(Part::Fraction),
                    Some('z') => Piece::Part(Part::Offset),
                    Some('%') => Piece::Literal('%'),
                    other => {
                        let other = other.map(String::from).unwrap_or_default();
                        let known = "%Y %m %b %d %H %I %p %M %S %f %z %%";
                        return Err(format!("`%{other}` is none of {known}"));
                    }
                },
                c if c.is_whitespace() => Piece::Space,
                c => Piece::Literal(c),
            };
            if matches!(piece, Piece::Part(_)) && pieces.contains(&piece) {
                return Err(format!("`{text}` has a part twice"));
            }
            pieces.push(piece);
        }
        Ok(Format(pieces))
    }
}

/// What a format found in a text.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    /// Of a clock with 12 hours: 0 in the morning, 12 behind noon.
    half: i64,
    minute: i64,
    second: i64,
    microsecond: i64,
    offset: Option<i64>,
}

impl Format {
    fn has(&self, part: Part) -> bool {
        self.0.contains(&Piece::Part(part))
    }

    /// Whether a date can be had from it, and nothing else.
    pub(crate) fn is_date(&self) -> bool {
        let date = [Part::Year, Part::Month, Part::MonthName, Part::Day].map(Piece::Part);
        let is_of_date = |piece: &Piece| !matches!(piece, Piece::Part(_)) || date.contains(piece);
        self.has_date() && self.0.iter().all(is_of_date)
    }

    /// Whether a time can be had from it.
    pub(crate) fn is_time(&self) -> bool {
        let hours = [self.has(Part::Hour), self.has(Part::HourOf12), self.has(Part::Half)];
        self.has_date() && matches!(hours, [_, false, false] | [false, true, true])
    }

    fn has_date(&self) -> bool {
        let month = self.has(Part::Month) != self.has(Part::MonthName);
        month && self.has(Part::Year) && self.has(Part::Day)
    }

    /// The date that a text is, if it fits.
    pub(crate) fn date(&self, text: &str) -> Option<Date> {
        self.parts(text)?.date()
    }

    /// The time that a text is, if it fits. `offset` is that of a text which has none.
    pub(crate) fn time(&self, text: &str, offset: i64) -> Option<Timestamp> {
        let parts = self.parts(text)?;
        let Parts { hour, half, minute, second, microsecond, .. } = parts;
        let in_range = hour < 24 && minute < 60 && second < 60;
        let days = i64::from(in_range.then(|| parts.date()).flatten()?.0);
        let seconds = ((days * 24 + hour + half) * 60 + minute) * 60 + second;
        let seconds = seconds - parts.offset.unwrap_or(offset);
        Some(Timestamp(seconds * Timestamp::SECOND + microsecond))
    }

    fn parts(&self, text: &str) -> Option<Parts> {
        let mut parts = Parts::default();
        let mut rest = text;
        for piece in &self.0 {
            match piece {
                Piece::Literal(c) => rest = rest.strip_prefix(*c)?,
                Piece::Space => {
                    let behind = rest.trim_start();
                    rest = (behind.len() < rest.len()).then_some(behind)?;
                }
                Piece::Part(part) => parts.take(*part, &mut rest)?,
            }
        }
        rest.is_empty().then_some(parts)
    }
}

impl Parts {
    fn take(&mut self, part: Part, rest: &mut &str) -> Option<()> {
        match part {
            Part::Year => self.year = digits(rest, 4, 4)?,
            Part::Month => self.month = digits(rest, 1, 2)?,
            Part::Day => self.day = digits(rest, 1, 2)?,
            Part::Hour => self.hour = digits(rest, 1, 2)?,
            Part::Minute => self.minute = digits(rest, 1, 2)?,
            Part::Second => self.second = digits(rest, 1, 2)?,
            // Twelve comes before one.
            Part::HourOf12 => {
                self.hour = digits(rest, 1, 2).filter(|hour| (1..=12).contains(hour))? % 12;
            }
            Part::Fraction => {
                let before = rest.len();
                let fraction = digits(rest, 1, 6)?;
                self.microsecond = (before - rest.len()..6).fold(fraction, |it, _| it * 10);
            }
            Part::Half => {
                let (half, behind) = rest.split_at_checked(2)?;
                self.half = match half {
                    _ if half.eq_ignore_ascii_case("am") => 0,
                    _ if half.eq_ignore_ascii_case("pm") => 12,
                    _ => return None,
                };
                *rest = behind;
            }
            Part::MonthName => {
                let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
                let name = rest[..end].to_ascii_lowercase();
                let is_month = |month: &str| month == name || month[..3] == name;
                self.month = MONTHS.iter().position(|month| is_month(month))? as i64 + 1;
                *rest = &rest[end..];
            }
            Part::Offset => {
                let (offset, behind) = offset(rest)?;
                self.offset = Some(offset);
                *rest = behind;
            }
        }
        Some(())
    }

    fn date(&self) -> Option<Date> {
        let [month, day] = [self.month, self.day].map(|part| part as u32);
        Date::from_ymd(self.year as i32, month, day)
            // The calendar counts on: the 31st of April is the 1st of May there.
            .filter(|date| date.ymd() == (self.year as i32, month, day))
    }
}

/// A number of so many digits; as many as there are, up to the most.
fn digits(rest: &mut &str, least: usize, most: usize) -> Option<i64> {
    let count = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, behind) = rest.split_at(count);
    *rest = behind;
    if count < least { None } else { number.parse().ok() }
}

/// The offset from UTC in seconds that a text begins with, and what comes behind it: `Z`, `+02:00`,
/// `+0200`, `+02`.
pub(crate) fn offset(text: &str) -> Option<(i64, &str)> {
    if let Some(behind) = text.strip_prefix(['Z', 'z']) {
        return Some((0, behind));
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let mut rest = &text[1..];
    let hours = digits(&mut rest, 2, 2)?;
    let mut minutes = 0;
    let mut behind = rest.strip_prefix(':').unwrap_or(rest);
    if let Some(number) = digits(&mut behind, 2, 2) {
        minutes = number;
        rest = behind;
    }
    (hours < 24 && minutes < 60).then_some((sign * (hours * 60 + minutes) * 60, rest))
}

/// Whether a text is a date as JSON has it: `YYYY-MM-DD`.
pub(crate) fn is_iso_date(text: &str) -> bool {
    text.len() == 10 && iso_date(text).is_some_and(|(_, behind)| behind.is_empty())
}

/// Whether a text is a time by RFC 3339.
pub(crate) fn is_rfc3339(text: &str) -> bool {
    let Some((_, behind)) = iso_date(text) else { return false };
    let Some(mut rest) = behind.strip_prefix(['T', 't', ' ']) else { return false };
    let mut two = |before: &str, below: i64| {
        let Some(behind) = rest.strip_prefix(before) else { return false };
        rest = behind;
        digits(&mut rest, 2, 2).is_some_and(|number| number < below)
    };
    // A minute may have a leap second.
    if !(two("", 24) && two(":", 60) && two(":", 61)) {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() == fraction.len() {
            return false;
        }
    }
    // With a colon between hours and minutes.
    let is_offset = matches!(rest.len(), 1 | 6) && (rest.len() == 1 || rest.as_bytes()[3] == b':');
    is_offset && offset(rest).is_some_and(|(_, behind)| behind.is_empty())
}

fn iso_date(text: &str) -> Option<(Date, &str)> {
    let mut rest = text;
    let year = digits(&mut rest, 4, 4)?;
    rest = rest.strip_prefix('-')?;
    let month = digits(&mut rest, 2, 2)?;
    rest = rest.strip_prefix('-')?;
    let day = digits(&mut rest, 2, 2)?;
    Parts { year, month, day, ..Parts::default() }.date().map(|date| (date, rest))
}

/// The text of a date, if it has one: of a year from 0 to 9999.
pub(crate) fn date_text(date: Date) -> Option<String> {
    let (year, month, day) = date.ymd();
    (0..=9999).contains(&year).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// The text of a time by RFC 3339 in UTC, if it has one, with as many digits of a fraction as are
/// not zero, in groups of three.
pub(crate) fn time_text(time: Timestamp) -> Option<String> {
    let mut text = date_text(time.date())?;
    text.push_str(&format!("T{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second()));
    match time.0.rem_euclid(Timestamp::SECOND) {
        0 => {}
        micros if micros % 1_000 == 0 => text.push_str(&format!(".{:03}", micros / 1_000)),
        micros => text.push_str(&format!(".{micros:06}")),
    }
    text.push('Z');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(text: &str) -> Format {
        Format::try_from(text.to_owned()).unwrap()
    }

    fn date(from: &str, text: &str) -> Option<String> {
        format(from).date(text).and_then(date_text)
    }

    fn time(from: &str, text: &str) -> Option<String> {
        format(from).time(text, 3600).and_then(time_text)
    }

    #[test]
    fn dates() {
        for (from, text, expected) in [
            ("%d.%m.%Y", "1.3.2026", Some("2026-03-01")),
            ("%d.%m.%Y", "01.03.2026", Some("2026-03-01")),
            ("%m/%d/%Y", "12/31/2010", Some("2010-12-31")),
            ("%d %b %Y", "29  Feb 2024", Some("2024-02-29")),
            ("%B %d, %Y", "september 5, 1999", Some("1999-09-05")),
            ("%Y%m%d", "20260301", Some("2026-03-01")),
            ("%d.%m.%Y", "29.2.2026", None),
            ("%d.%m.%Y", "31.4.2026", None),
            ("%d.%m.%Y", "0.1.2026", None),
            ("%d.%m.%Y", "1.13.2026", None),
            ("%d.%m.%Y", "1.3.26", None),
            ("%d.%m.%Y", "1.3.2026 ", None),
            ("%d.%m.%Y", "", None),
            ("%d %b %Y", "1 Sept 2026", None),
        ] {
            assert_eq!(date(from, text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn times() {
        for (from, text, expected) in [
            ("%Y-%m-%d %H:%M:%S", "2010-12-01 08:26:00", Some("2010-12-01T07:26:00Z")),
            ("%d.%m.%Y", "1.1.2026", Some("2025-12-31T23:00:00Z")),
            ("%m/%d/%Y %I:%M %p", "3/1/2026 12:05 AM", Some("2026-02-28T23:05:00Z")),
            ("%m/%d/%Y %I:%M %p", "3/1/2026 12:05 pm", Some("2026-03-01T11:05:00Z")),
            (
                "%Y-%m-%dT%H:%M:%S.%f%z",
                "2026-03-01T00:00:00.25+0200",
                Some("2026-02-28T22:00:00.250Z"),
            ),
            (
                "%Y-%m-%dT%H:%M:%S.%f%z",
                "2026-03-01T00:00:00.000001Z",
                Some("2026-03-01T00:00:00.000001Z"),
            ),
            ("%Y-%m-%dT%H:%M:%S.%f%z", "2026-03-01T00:00:00.0000001Z", None),
            ("%Y-%m-%d %H:%M", "2026-03-01 24:00", None),
            ("%Y-%m-%d %H:%M", "2026-03-01 23:60", None),
            ("%Y-%m-%d %I:%M %p", "2026-03-01 13:00 PM", None),
            ("%Y-%m-%d %H:%M %z", "2026-03-01 10:00 -03", Some("2026-03-01T13:00:00Z")),
            ("%Y-%m-%d %H", "0000-01-01 00", None),
        ] {
            assert_eq!(time(from, text).as_deref(), expected, "{text}");
        }
    }

    /// Against the calendar library of the SDK's tests there is nothing to compare formats with,
    /// so each day is written and read again.
    #[test]
    fn every_day_comes_back() {
        let [written, read] = [format("%Y-%m-%d"), format("%d/%b/%Y")];
        for day in -200_000..200_000 {
            let text = date_text(Date(day)).unwrap();
            assert!(is_iso_date(&text), "{text}");
            assert_eq!(written.date(&text), Some(Date(day)));
            let (year, month, date) = Date(day).ymd();
            let name = &MONTHS[month as usize - 1][..3];
            assert_eq!(read.date(&format!("{date}/{name}/{year:04}")), Some(Date(day)));
        }
    }

    #[test]
    fn what_is_right_already_is_known() {
        for text in ["2026-03-01T12:00:00Z", "2026-03-01t12:00:00.5z", "2026-03-01 12:00:60-03:30"]
        {
            assert!(is_rfc3339(text), "{text}");
        }
        for text in [
            "2026-03-01",
            "2026-02-29T12:00:00Z",
            "2026-03-01T12:00:00",
            "2026-03-01T12:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T12:00:00.Z",
            "2026-03-01T12:00:00+0200",
            "2026-03-01T12:00:00+02",
            "2026-3-1T12:00:00Z",
            "2026-03-01T12:00:00Zx",
            "",
        ] {
            assert!(!is_rfc3339(text), "{text}");
        }
        for text in ["2026-3-1", "2026-02-29", "2026-03-01 ", "20260301", ""] {
            assert!(!is_iso_date(text), "{text}");
        }
    }

    #[test]
    fn a_format_that_makes_no_sense_is_refused() {
        for text in ["%x", "%", "%Y-%Y", "%d%d"] {
            assert!(Format::try_from(text.to_owned()).is_err(), "{text}");
        }
        assert!(!format("%Y-%m").is_date() && !format("%Y-%m-%d %H").is_date());
        assert!(!format("%Y-%b-%m-%d").is_date());
        assert!(!format("%H:%M").is_time() && !format("%Y-%m-%d %I").is_time());
        assert!(!format("%Y-%m-%d %H %p").is_time() && !format("%Y-%m-%d %H %I %p").is_time());
    }
}
