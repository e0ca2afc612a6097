//! Texts that are numbers.

use crate::config::Number;

/// The JSON number of a text, if it is written as the config says and is exactly a number of 64
/// bits: a whole number that an integer holds, or a decimal whose nearest float is no other decimal
/// when it is written out again.
pub(crate) fn of_text(text: &str, config: &Number) -> Option<String> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let (whole, fraction) = match mantissa.split_once(config.decimal) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let whole = ungrouped(whole, config.group)?;
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let is_exponent = |text: &str| are_digits(text.strip_prefix(['+', '-']).unwrap_or(text));
    if !are_digits(&whole)
        || !fraction.is_none_or(are_digits)
        || !exponent.is_none_or(is_exponent)
        || config.whole && (fraction.is_some() || exponent.is_some())
    {
        return None;
    }
    // JSON has no leading zeros.
    let digits = whole.trim_start_matches('0');
    let mut json = format!("{sign}{}", if digits.is_empty() { "0" } else { digits });
    if let Some(fraction) = fraction {
        json.push('.');
        json.push_str(fraction);
    }
    if let Some(exponent) = exponent {
        json.push('e');
        json.push_str(exponent);
    }
    is_exact(&json).then_some(json)
}

/// The digits of a whole number without the signs between groups of three.
fn ungrouped(whole: &str, group: Option<char>) -> Option<String> {
    let Some(group) = group.filter(|group| whole.contains(*group)) else {
        return Some(whole.to_owned());
    };
    let mut groups = whole.split(group);
    let first = groups.next().filter(|first| (1..=3).contains(&first.len()))?;
    groups.try_fold(first.to_owned(), |digits, group| (group.len() == 3).then(|| digits + group))
}

/// Whether a number keeps its value when it is read as an integer or a float of 64 bits.
fn is_exact(json: &str) -> bool {
    if json.parse::<i64>().is_ok() {
        return true;
    }
    let Ok(float) = json.parse::<f64>() else { return false };
    float.is_finite() && decimal(json) == decimal(&format!("{float:e}"))
}

/// The digits of a number that count, and the power of ten of the last one.
fn decimal(number: &str) -> Option<(String, i64)> {
    let number = number.strip_prefix('-').unwrap_or(number);
    let (mantissa, exponent) = match number.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (number, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let trimmed = digits.trim_end_matches('0');
    let power = exponent - fraction.len() as i64 + (digits.len() - trimmed.len()) as i64;
    match trimmed.trim_start_matches('0') {
        "" => Some((String::new(), 0)),
        digits => Some((digits.to_owned(), power)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Option<String> {
        of_text(text, &Number::default())
    }

    #[test]
    fn what_is_a_number_keeps_its_digits() {
        for (text, json) in [
            ("0", "0"),
            ("-0", "-0"),
            ("+7", "7"),
            ("007", "7"),
            ("12.50", "12.50"),
            ("-0.1", "-0.1"),
            ("1e3", "1e3"),
            ("1.5E-3", "1.5e-3"),
            ("9223372036854775807", "9223372036854775807"),
            ("9007199254740993", "9007199254740993"),
            ("100000000000000000000", "100000000000000000000"),
            ("0.30000000000000004", "0.30000000000000004"),
        ] {
            assert_eq!(plain(text).as_deref(), Some(json), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(json).unwrap().is_number());
        }
    }

    #[test]
    fn what_is_none_or_is_not_exact_stays() {
        for text in [
            "",
            " 1",
            "1 ",
            "1.",
            ".5",
            "-",
            "+",
            "1e",
            "1e+",
            "0x1",
            "1_000",
            "1,5",
            "NaN",
            "inf",
            "1e400",
            "१",
            "--1",
            "1.2.3",
            "9223372036854775809",
            "0.12345678901234567890",
            "1e99999999999999999999",
        ] {
            assert_eq!(plain(text), None, "{text}");
        }
    }

    #[test]
    fn signs_for_fractions_and_groups_are_the_configs() {
        let german = Number { decimal: ',', group: Some('.'), whole: false };
        let of = |text: &str| of_text(text, &german);
        assert_eq!(of("1.234.567,89").as_deref(), Some("1234567.89"));
        assert_eq!(of("1234567,89").as_deref(), Some("1234567.89"));
        assert_eq!(of("-12").as_deref(), Some("-12"));
        for text in ["1.23", "12.3456", "1234.567", ".123", "1..234", "1,2,3", "1.5"] {
            assert_eq!(of(text), None, "{text}");
        }
        let whole = Number { whole: true, ..Number::default() };
        assert_eq!(of_text("12", &whole).as_deref(), Some("12"));
        assert_eq!(of_text("12.0", &whole), None);
    }
}
