//! Times and dates as text: the fixed layouts of RFC 3339.
//!
//! Hand-written because a general parser takes ten times as long as the rest of a field; the
//! tests hold both directions against jiff.

/// Microseconds in a second.
const SECOND_MICROS: i64 = 1_000_000;

/// The days of the years 0 to 9999, which is as far as the text forms go.
const DAYS_WITH_TEXT: std::ops::Range<i64> = -719_528..2_932_897;

/// Reads an RFC 3339 date and time as microseconds since the epoch. Digits finer than a
/// microsecond are cut off. A leap second, `:60`, is read as the second before it.
pub(super) fn parse_timestamp(text: &[u8]) -> Option<i64> {
    const DATE: Pattern = Pattern::new(b"0000-00-");
    const TIME: Pattern = Pattern::new(b"00?00:00");
    const SECOND: Pattern = Pattern::new(b"00:00:00");

    let (head, tail) = text.split_first_chunk::<19>()?;
    let (date, time) = (DATE.pairs(head, 0)?, TIME.pairs(head, 8)?);
    let second = i64::from(SECOND.pairs(head, 11)?[6]);
    let (hour, minute) = (i64::from(time[3]), i64::from(time[6]));
    let days = days_if_any([date[0], date[2], date[5], time[0]])?;
    if !matches!(head[10], b'T' | b't' | b' ') || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (micros, offset) = match tail {
        [b'Z'] => (0, 0),
        [b'.', a, b, c, b'Z'] if [a, b, c].iter().all(|digit| digit.is_ascii_digit()) => {
            let digit = |byte: &u8| i64::from(byte - b'0');
            (digit(a) * 100_000 + digit(b) * 10_000 + digit(c) * 1_000, 0)
        }
        tail => parse_tail(tail)?,
    };
    let seconds = i64::from(days) * 86_400 + hour * 3600 + minute * 60 + second.min(59) - offset;
    Some(seconds * SECOND_MICROS + micros)
}

/// Reads the fraction in microseconds, and the offset in seconds.
fn parse_tail(tail: &[u8]) -> Option<(i64, i64)> {
    let (micros, zone) = parse_fraction(tail)?;
    let offset = match zone {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let rest: &[u8; 5] = rest.try_into().ok()?;
            let (hours, minutes) = (two(rest, 0)?, two(rest, 3)?);
            if rest[2] != b':' || hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    Some((micros, offset))
}

/// Reads `YYYY-MM-DD` as days since the epoch.
pub(super) fn parse_date(text: &[u8; 10]) -> Option<i32> {
    let separated = text[4] == b'-' && text[7] == b'-';
    let date = [two(text, 0)?, two(text, 2)?, two(text, 5)?, two(text, 8)?];
    if separated { days_if_any(date) } else { None }
}

/// What eight bytes of a fixed layout must look like: `0` stands for a digit, `?` for anything.
struct Pattern {
    flip: u64,
    /// What a byte may be too large by, once flipped, without its highest bit being set.
    margin: u64,
    keep: u64,
}

impl Pattern {
    const fn new(layout: &[u8; 8]) -> Self {
        let (mut flip, mut margin, mut keep) = ([0; 8], [0; 8], [0; 8]);
        let mut i = 0;
        while i < 8 {
            // A digit, flipped with `0`, is at most nine; a separator, with itself, is nothing.
            (flip[i], margin[i], keep[i]) = match layout[i] {
                b'0' => (b'0', 0x7f - 9, 0xff),
                b'?' => (0, 0, 0),
                separator => (separator, 0x7f, 0xff),
            };
            i += 1;
        }
        Pattern {
            flip: u64::from_le_bytes(flip),
            margin: u64::from_le_bytes(margin),
            keep: u64::from_le_bytes(keep),
        }
    }

    /// Where a layout has two digits in a row, the number that they stand for is at the place of
    /// the first. Nothing where the text is not so.
    #[inline(always)]
    fn pairs(&self, text: &[u8; 19], at: usize) -> Option<[u8; 8]> {
        let word = u64::from_le_bytes(*text[at..].first_chunk()?);
        let digits = (word ^ self.flip) & self.keep;
        let wrong = (digits.wrapping_add(self.margin) | digits) & 0x8080_8080_8080_8080;
        let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
        (wrong == 0).then(|| pairs.to_le_bytes())
    }
}

/// The fraction of a second in microseconds, and what follows it.
fn parse_fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', digits @ ..] = text else { return Some((0, text)) };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let (digits, rest) = digits.split_at(count);
    let digit = |i: usize| digits.get(i).map_or(0, |byte| i64::from(byte - b'0'));
    let micros = (0..6).fold(0, |micros, i| micros * 10 + digit(i));
    Some((micros, rest))
}

/// The number of two digits.
fn two<const N: usize>(text: &[u8; N], at: usize) -> Option<u8> {
    let (tens, ones) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| tens * 10 + ones)
}

/// Days since the epoch of a century, a year in it, a month and a day of the Gregorian calendar,
/// if there is such a day.
#[inline]
fn days_if_any([century, year, month, day]: [u8; 4]) -> Option<i32> {
    const DAYS: [u8; 13] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

    let year = u32::from(century) * 100 + u32::from(year);
    let leap_year = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let leap_day = u8::from(leap_year && month == 2);
    let last = DAYS.get(usize::from(month))? + leap_day;
    if day == 0 || day > last {
        return None;
    }
    // The year is taken to begin in March, so that the leap day is its last; and an era of 400
    // years is added, so that no number is negative.
    let (month, day) = (u32::from(month), u32::from(day));
    let year = year + 400 - u32::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    // That era began 719,468 + 146,097 days before the epoch.
    Some(days as i32 - 865_565)
}

/// The year, month and day of a count of days since the epoch that has a text.
fn date_of(days: i64) -> (u32, u32, u32) {
    // An era of 400 years is added, so that no number is negative; a year begins in March.
    let days = (days + 719_468 + 146_097) as u32;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12 + 1;
    (era * 400 + year_of_era + u32::from(month <= 2) - 400, month, day)
}

/// Whether a timestamp has a text form.
pub(crate) fn timestamp_has_text(micros: i64) -> bool {
    DAYS_WITH_TEXT.contains(&micros.div_euclid(86_400 * SECOND_MICROS))
}

/// Whether a date has a text form.
pub(crate) fn date_has_text(days: i32) -> bool {
    DAYS_WITH_TEXT.contains(&i64::from(days))
}

/// Appends `2026-03-01T12:00:00.25Z` with as many digits of the fraction as are not zero, in
/// groups of three. The year must be in 0 to 9999.
pub(super) fn push_timestamp(micros: i64, out: &mut Vec<u8>) {
    let seconds = micros.div_euclid(SECOND_MICROS);
    let fraction = micros.rem_euclid(SECOND_MICROS) as u32;
    push_date(seconds.div_euclid(86_400), out);
    let of_day = seconds.rem_euclid(86_400) as u32;
    let mut text = *b"T00:00:00";
    for (at, value) in [(1, of_day / 3600), (4, of_day / 60 % 60), (7, of_day % 60)] {
        digits(&mut text[at..at + 2], value);
    }
    out.extend_from_slice(&text);
    if fraction != 0 {
        let mut text = *b".000000";
        digits(&mut text[1..], fraction);
        out.extend_from_slice(if fraction.is_multiple_of(1000) { &text[..4] } else { &text });
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
#[inline]
fn digits(text: &mut [u8], mut value: u32) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}
