//! Numbers and times as JSON has them, appended to a buffer.

/// Appends a number with at least some digits, zeros before it.
pub(super) fn padded(out: &mut Vec<u8>, value: u64, digits: usize) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(value);
    let zeros = digits.saturating_sub(text.len());
    out.extend(std::iter::repeat_n(b'0', zeros));
    out.extend_from_slice(text.as_bytes());
}

/// Appends a number of hundredths as a decimal number.
pub(super) fn hundredths(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    let value = value.unsigned_abs();
    padded(out, value / 100, 1);
    out.push(b'.');
    padded(out, value % 100, 2);
}

/// Appends a word as eight hex digits.
pub(super) fn hex(out: &mut Vec<u8>, word: u32) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend((0..8).rev().map(|i| DIGITS[(word >> (4 * i) & 15) as usize]));
}

/// Appends a time by RFC 3339 in UTC, with milliseconds.
pub(super) fn time(out: &mut Vec<u8>, microseconds: i64) {
    let days = microseconds.div_euclid(86_400_000_000);
    let milliseconds = microseconds.rem_euclid(86_400_000_000) as u64 / 1000;
    let (year, month, day) = civil(days);
    padded(out, year.unsigned_abs(), 4);
    out.push(b'-');
    padded(out, month, 2);
    out.push(b'-');
    padded(out, day, 2);
    out.push(b'T');
    padded(out, milliseconds / 3_600_000, 2);
    out.push(b':');
    padded(out, milliseconds / 60_000 % 60, 2);
    out.push(b':');
    padded(out, milliseconds / 1000 % 60, 2);
    out.push(b'.');
    padded(out, milliseconds % 1000, 3);
    out.push(b'Z');
}

/// Year, month and day of a number of days since 1970-01-01.
///
/// Counted in years that begin in March, so that the leap day is the last: their months then have
/// 153 days every five, and the eras of 400 years all have as many days.
fn civil(days: i64) -> (i64, u64, u64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month as u64, day as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_a_calendar_library_says() {
        let mut microseconds = -2_000_000_000_000_000;
        while microseconds < 6_000_000_000_000_000 {
            let mut text = Vec::new();
            time(&mut text, microseconds);
            let expected = jiff::Timestamp::from_microsecond(microseconds).unwrap();
            let expected = expected.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
            assert_eq!(String::from_utf8(text).unwrap(), expected);
            microseconds += 12_345_678_901_000;
        }
    }

    #[test]
    fn hundredths_keep_their_zeros() {
        for (value, expected) in [(5, "0.05"), (-5, "-0.05"), (123_456, "1234.56"), (-700, "-7.00")]
        {
            let mut text = Vec::new();
            hundredths(&mut text, value);
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
    }
}
