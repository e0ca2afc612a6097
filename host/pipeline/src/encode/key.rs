//! The partition key of a row, for sinks that partition by one.
//!
//! | what the field has | what the key is |
//! |---|---|
//! | a text | the text |
//! | a number, `true`, `false` | as it stands in the record |
//! | nothing, null, an empty text, an array or object | none |

use std::borrow::Cow;

use tidegate_core::{Column, Presence, Values};

use super::tree::text_of;

/// Why a row has no partition key that its sink takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyProblem {
    Missing,
    /// It has so many characters.
    TooLong(usize),
}

/// The key of a row: the first of some columns that has one.
pub(crate) fn partition_key<'c>(
    columns: &[&'c Column],
    row: usize,
    chars_max: usize,
) -> Result<Cow<'c, str>, KeyProblem> {
    let key = columns.iter().find_map(|column| key_of(column, row)).ok_or(KeyProblem::Missing)?;
    // No character has more than four bytes, and most keys are short.
    match key.len() <= chars_max || key.chars().count() <= chars_max {
        true => Ok(key),
        false => Err(KeyProblem::TooLong(key.chars().count())),
    }
}

fn key_of(column: &Column, row: usize) -> Option<Cow<'_, str>> {
    if column.presence_of(row) != Presence::Value as u8 {
        return None;
    }
    let text = match &column.values {
        Values::Utf8(texts) => Cow::Borrowed(texts.get(row)),
        Values::Json(texts) => text_of(texts.get(row))?,
        _ => return None,
    };
    let text = match text {
        Cow::Borrowed(text) => String::from_utf8_lossy(text),
        Cow::Owned(text) => String::from_utf8_lossy(&text).into_owned().into(),
    };
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use tidegate_core::Binary;

    use super::*;

    fn column(texts: &[&str]) -> Column {
        Column { values: Values::Json(texts.iter().collect::<Binary>()), presence: vec![] }
    }

    #[test]
    fn a_key_is_the_text_of_a_value() {
        let texts =
            ["\"plain\"", "\"\\u00e9\\n\"", "17", "1e2", "true", "\"\"", "[1]", "{}", "\"a b/c\""];
        let column = column(&texts);
        let keys: Vec<_> =
            (0..texts.len()).map(|row| partition_key(&[&column], row, 256).ok()).collect();
        let found: Vec<_> = keys.iter().map(Option::as_deref).collect();
        let expected = [Some("plain"), Some("é\n"), Some("17"), Some("1e2"), Some("true")];
        assert_eq!(found[..5], expected);
        assert_eq!(found[5..], [None, None, None, Some("a b/c")]);
    }

    #[test]
    fn the_first_column_with_a_value_is_taken() {
        let mut first = column(&["\"handed over\"", "\"\"", "0"]);
        first.presence = vec![0, 0, Presence::Missing as u8];
        let second = column(&["\"field\"", "\"field\"", "null"]);
        let second = Column { presence: vec![0, 0, Presence::Null as u8], ..second };
        let key = |row| partition_key(&[&first, &second], row, 256);
        assert_eq!(key(0).as_deref(), Ok("handed over"));
        assert_eq!(key(1).as_deref(), Ok("field"));
        assert_eq!(key(2), Err(KeyProblem::Missing));
    }

    #[test]
    fn characters_are_counted_and_not_bytes() {
        let (fits, long) = (format!("\"{}\"", "é".repeat(256)), format!("\"{}\"", "é".repeat(257)));
        let column = column(&[&fits, &long]);
        assert!(partition_key(&[&column], 0, 256).is_ok());
        assert_eq!(partition_key(&[&column], 1, 256), Err(KeyProblem::TooLong(257)));
    }
}
