//! Whether two ways to do the work came to the same: record by record, as JSON values.

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::run::Output;

/// Fails with the first record that two outputs differ in, or with their numbers of refused ones.
pub fn check(one: (&str, &Output), other: (&str, &Output)) -> anyhow::Result<()> {
    let ((a, one), (b, other)) = (one, other);
    ensure!(
        one.refused == other.refused,
        "{a} refused {} records and {b} {}",
        one.refused,
        other.refused
    );
    if one.lines == other.lines {
        return Ok(());
    }
    let (mut left, mut right) = (lines(&one.lines), lines(&other.lines));
    for record in 1.. {
        match (left.next(), right.next()) {
            (None, None) => break,
            (Some(left), Some(right)) => {
                let left: Value = serde_json::from_slice(left).with_context(|| a.to_owned())?;
                let right: Value = serde_json::from_slice(right).with_context(|| b.to_owned())?;
                ensure!(left == right, "record {record} of {a} and {b} differ:\n{left}\n{right}");
            }
            (left, _) => {
                let shorter = if left.is_none() { a } else { b };
                anyhow::bail!("{shorter} lacks record {record}");
            }
        }
    }
    Ok(())
}

/// The lines of a JSON Lines text.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}
