//! One correction of one value.

use std::borrow::Cow;

use tidegate_plugin::{HashMap, Timestamp};

use crate::{
    config::{self, Booleans, Case, Clamp, Dates, Limit, Number, Scalar, Times, Unix},
    number, time,
    value::Value,
};

/// A step of the config, made ready.
#[derive(Debug)]
pub(crate) enum Step {
    Trim,
    CollapseSpaces,
    Case(Case),
    NullIf(Vec<String>),
    Default(Value<'static>),
    Spelling(HashMap<String, String>),
    Number(Number),
    Boolean(Booleans),
    Text,
    Date(Dates),
    Timestamp(Times),
    Clamp(Clamp),
}

impl From<config::Step> for Step {
    fn from(step: config::Step) -> Self {
        match step {
            config::Step::Trim => Step::Trim,
            config::Step::CollapseSpaces => Step::CollapseSpaces,
            config::Step::Case(case) => Step::Case(case),
            config::Step::NullIf(texts) => Step::NullIf(texts),
            config::Step::Default(value) => Step::Default(match value {
                Scalar::Boolean(value) => Value::Boolean(value),
                Scalar::Integer(value) => Value::Number(value.to_string().into()),
                Scalar::Number(value) => Value::Number(limit_text(Limit::Number(value)).into()),
                Scalar::Text(text) => Value::Text(text.into()),
            }),
            config::Step::Spelling(words) => Step::Spelling(words.into_iter().collect()),
            config::Step::Number(number) => Step::Number(number),
            config::Step::Boolean(booleans) => Step::Boolean(booleans),
            config::Step::Text => Step::Text,
            config::Step::Date(dates) => Step::Date(dates),
            config::Step::Timestamp(times) => Step::Timestamp(times),
            config::Step::Clamp(clamp) => Step::Clamp(clamp),
        }
    }
}

impl Step {
    /// What becomes of a value; none where it stays.
    pub(crate) fn apply<'a>(&'a self, value: &Value<'a>) -> Option<Value<'a>> {
        match (self, value) {
            (Step::Default(default), Value::Nothing) => Some(default.clone()),
            (Step::Trim, Value::Text(text)) => {
                let trimmed = text.trim();
                (trimmed.len() < text.len()).then(|| Value::Text(part(text, trimmed)))
            }
            (Step::CollapseSpaces, Value::Text(text)) => collapse(text).map(text_of),
            (Step::Case(case), Value::Text(text)) => in_case(*case, text).map(text_of),
            (Step::NullIf(texts), Value::Text(text)) => {
                texts.iter().any(|it| it == text).then_some(Value::Nothing)
            }
            (Step::Spelling(words), Value::Text(text)) => {
                let right = words.get(&**text).filter(|right| *right != text)?;
                Some(Value::Text(Cow::Borrowed(right)))
            }
            (Step::Number(config), Value::Text(text)) => {
                number::of_text(text, config).map(|number| Value::Number(number.into()))
            }
            (Step::Boolean(Booleans { for_true, for_false }), Value::Text(text)) => {
                let is_in = |texts: &[String]| texts.iter().any(|it| it.eq_ignore_ascii_case(text));
                match (is_in(for_true), is_in(for_false)) {
                    (true, _) => Some(Value::Boolean(true)),
                    (_, true) => Some(Value::Boolean(false)),
                    _ => None,
                }
            }
            (Step::Text, Value::Number(text)) => Some(Value::Text(text.clone())),
            (Step::Text, Value::Boolean(value)) => {
                Some(Value::Text(Cow::Borrowed(if *value { "true" } else { "false" })))
            }
            (Step::Date(Dates { from }), Value::Text(text)) => {
                if time::is_iso_date(text) {
                    return None;
                }
                let date = from.iter().find_map(|format| format.date(text))?;
                time::date_text(date).map(text_of)
            }
            (Step::Timestamp(times), Value::Text(text)) => {
                if time::is_rfc3339(text) {
                    return None;
                }
                let Times { from, offset, .. } = times;
                let time = from.iter().find_map(|format| format.time(text, offset.0))?;
                time::time_text(time).map(text_of)
            }
            (Step::Timestamp(Times { unix: Some(unix), .. }), Value::Number(text)) => {
                time::time_text(since_1970(text, *unix)?).map(text_of)
            }
            (Step::Clamp(clamp), Value::Number(text)) => {
                let limit = beyond(clamp, text)?;
                Some(Value::Number(limit_text(limit).into()))
            }
            _ => None,
        }
    }
}

fn text_of(text: String) -> Value<'static> {
    Value::Text(Cow::Owned(text))
}

/// A part of a text, borrowed where the text is.
fn part<'a>(text: &Cow<'a, str>, part: &str) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => {
            let start = part.as_ptr() as usize - text.as_ptr() as usize;
            Cow::Borrowed(&text[start..start + part.len()])
        }
        Cow::Owned(_) => Cow::Owned(part.to_owned()),
    }
}

/// The text with single spaces, if it is another one.
fn collapse(text: &str) -> Option<String> {
    let is_clean = !text.starts_with(char::is_whitespace)
        && !text.ends_with(char::is_whitespace)
        && !text.chars().any(|c| c.is_whitespace() && c != ' ')
        && !text.contains("  ");
    if is_clean {
        return None;
    }
    let mut collapsed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    Some(collapsed)
}

/// The text in a case, if it is another one.
fn in_case(case: Case, text: &str) -> Option<String> {
    let changed = match case {
        Case::Upper if !text.bytes().any(|it| it.is_ascii_lowercase() || !it.is_ascii()) => {
            return None;
        }
        Case::Lower if !text.bytes().any(|it| it.is_ascii_uppercase() || !it.is_ascii()) => {
            return None;
        }
        Case::Upper => text.to_uppercase(),
        Case::Lower => text.to_lowercase(),
        Case::Title => {
            let mut title = String::with_capacity(text.len());
            let mut in_word = false;
            for c in text.chars() {
                match in_word {
                    true => title.extend(c.to_lowercase()),
                    false => title.extend(c.to_uppercase()),
                }
                in_word = c.is_alphanumeric() || in_word && matches!(c, '\'' | '’');
            }
            title
        }
    };
    (changed != text).then_some(changed)
}

/// The limit that a number is beyond, if there is one.
fn beyond(clamp: &Clamp, number: &str) -> Option<Limit> {
    let Clamp { at_least, at_most } = *clamp;
    // Two integers are compared as such: not all of them are floats.
    let is_less = |number: &str, limit: Limit| match (number.parse::<i64>(), limit) {
        (Ok(number), Limit::Integer(limit)) => number < limit,
        _ => number.parse::<f64>().is_ok_and(|number| number < limit.as_f64()),
    };
    let is_more = |number: &str, limit: Limit| match (number.parse::<i64>(), limit) {
        (Ok(number), Limit::Integer(limit)) => number > limit,
        _ => number.parse::<f64>().is_ok_and(|number| number > limit.as_f64()),
    };
    at_least
        .filter(|limit| is_less(number, *limit))
        .or_else(|| at_most.filter(|limit| is_more(number, *limit)))
}

/// A number of the config as JSON.
fn limit_text(limit: Limit) -> String {
    match limit {
        Limit::Integer(number) => number.to_string(),
        // With a fraction or an exponent, as the config has it.
        Limit::Number(number) => format!("{number:?}"),
    }
}

/// The time that a number counts, if it is one to the microsecond.
fn since_1970(number: &str, unix: Unix) -> Option<Timestamp> {
    let micros_of_one: i64 = match unix {
        Unix::Seconds => Timestamp::SECOND,
        Unix::Milliseconds => 1_000,
        Unix::Microseconds => 1,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let places = micros_of_one.ilog10() as usize;
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > places || fraction.contains(['e', 'E']) {
        return None;
    }
    let digits = format!("{whole}{fraction:0<places$}");
    digits.parse().ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_since_1970_are_exact_or_stay() {
        let of = |number: &str, unix: Unix| since_1970(number, unix).map(|time| time.0);
        assert_eq!(of("1772366400", Unix::Seconds), Some(1_772_366_400_000_000));
        assert_eq!(of("1772366400.25", Unix::Seconds), Some(1_772_366_400_250_000));
        assert_eq!(of("-1.5", Unix::Seconds), Some(-1_500_000));
        assert_eq!(of("1772366400123", Unix::Milliseconds), Some(1_772_366_400_123_000));
        assert_eq!(of("1.001", Unix::Milliseconds), Some(1_001));
        assert_eq!(of("7.0", Unix::Microseconds), Some(7));
        for (number, unix) in [
            ("1.0000001", Unix::Seconds),
            ("1e9", Unix::Seconds),
            ("1.5e9", Unix::Seconds),
            ("1.5", Unix::Microseconds),
            ("99999999999999999999", Unix::Seconds),
        ] {
            assert_eq!(of(number, unix), None, "{number}");
        }
    }

    #[test]
    fn integers_are_clamped_as_integers() {
        let most = i64::MAX - 1;
        let clamp = Clamp { at_least: None, at_most: Some(Limit::Integer(most)) };
        assert_eq!(beyond(&clamp, &most.to_string()), None);
        assert_eq!(beyond(&clamp, &i64::MAX.to_string()), Some(Limit::Integer(most)));
        assert_eq!(beyond(&clamp, "1e400"), Some(Limit::Integer(most)));
        assert_eq!(beyond(&clamp, "99999999999999999999"), Some(Limit::Integer(most)));
    }
}
