//! Times and dates as text: the fixed layouts of RFC 3339.
//!
//! Hand-written because a general parser takes ten times as long as the rest of a field; the
//! tests hold both directions against jiff.

/// Microseconds in a second.
const SECOND: i64 = 1_000_000;

/// The years that the text forms have.
const YEARS: std::ops::RangeInclusive<i64> = 0..=9999;

/// Reads an RFC 3339 date and time as microseconds since the epoch. Digits finer than a
/// microsecond are cut off. A leap second, `:60`, is read as the second before it.
pub(super) fn parse_timestamp(text: &[u8]) -> Option<i64> {
    let (head, tail) = text.split_first_chunk::<19>()?;
    let days = parse_date(head.first_chunk::<10>()?)?;
    let (hour, minute, second) = (two(head, 11)?, two(head, 14)?, two(head, 17)?);
    let layout = matches!(head[10], b'T' | b't' | b' ') && head[13] == b':' && head[16] == b':';
    if !layout || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (micros, zone) = parse_fraction(tail)?;
    let offset = match zone {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let rest: &[u8; 5] = rest.try_into().ok()?;
            let (hours, minutes) = (two(rest, 0)?, two(rest, 3)?);
            if rest[2] != b':' || hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let seconds = i64::from(days) * 86_400 + hour * 3600 + minute * 60 + second.min(59) - offset;
    Some(seconds * SECOND + micros)
}

/// Reads `YYYY-MM-DD` as days since the epoch.
pub(super) fn parse_date(text: &[u8; 10]) -> Option<i32> {
    let (century, year, month, day) = (two(text, 0)?, two(text, 2)?, two(text, 5)?, two(text, 8)?);
    let year = century * 100 + year;
    let exists = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    (text[4] == b'-' && text[7] == b'-' && exists).then(|| days_of(year, month, day) as i32)
}

/// The fraction of a second in microseconds, and what follows it.
fn parse_fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', digits @ ..] = text else { return Some((0, text)) };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let mut micros = 0;
    for i in 0..6 {
        micros = micros * 10 + if i < count { i64::from(digits[i] - b'0') } else { 0 };
    }
    Some((micros, &digits[count..]))
}

/// The number of two digits.
fn two<const N: usize>(text: &[u8; N], at: usize) -> Option<i64> {
    let (tens, ones) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| i64::from(tens * 10 + ones))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the epoch of a date of the Gregorian calendar. The year is taken to begin in March,
/// so that the leap day is its last.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let march_year = year - i64::from(month <= 2);
    let era = march_year.div_euclid(400);
    let year_of_era = march_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    // The era of 400 years that holds the epoch began 719,468 days before it.
    era * 146_097 + day_of_era - 719_468
}

/// The year, month and day of a count of days since the epoch.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Whether a timestamp has a text form.
pub(super) fn timestamp_has_text(micros: i64) -> bool {
    YEARS.contains(&date_of(micros.div_euclid(86_400 * SECOND)).0)
}

/// Whether a date has a text form.
pub(super) fn date_has_text(days: i32) -> bool {
    YEARS.contains(&date_of(i64::from(days)).0)
}

/// Appends `2026-03-01T12:00:00.25Z` with as many digits of the fraction as are not zero, in
/// groups of three. The year must be in 0 to 9999.
pub(super) fn push_timestamp(micros: i64, out: &mut Vec<u8>) {
    let seconds = micros.div_euclid(SECOND);
    let fraction = micros.rem_euclid(SECOND);
    push_date(seconds.div_euclid(86_400), out);
    let of_day = seconds.rem_euclid(86_400);
    let mut text = *b"T00:00:00";
    for (at, value) in [(1, of_day / 3600), (4, of_day / 60 % 60), (7, of_day % 60)] {
        digits(&mut text[at..at + 2], value);
    }
    out.extend_from_slice(&text);
    if fraction != 0 {
        let mut text = *b".000000";
        digits(&mut text[1..], fraction);
        out.extend_from_slice(if fraction % 1000 == 0 { &text[..4] } else { &text });
    }
    out.push(b'Z');
}

/// Appends `YYYY-MM-DD`. The year must be in 0 to 9999.
pub(super) fn push_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = date_of(days);
    let mut text = *b"0000-00-00";
    digits(&mut text[..4], year);
    digits(&mut text[5..7], month);
    digits(&mut text[8..], day);
    out.extend_from_slice(&text);
}

/// Fills `text` with the last digits of a number that is not negative.
fn digits(text: &mut [u8], mut value: i64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}
