//! Times and sizes as people write them: `"5s"` and `"8MiB"`, never a bare number, whose unit
//! everybody remembers differently.

use std::{fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A length of time: whole numbers with units, `250ms`, `5s`, `1h30m`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(pub Duration);

/// A number of bytes with a unit: `512B`, `64KiB`, `8MiB`, `1GiB`, or in powers of ten `8MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A text that is not a quantity with a unit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not {what}")]
pub struct InvalidQuantity {
    text: String,
    what: &'static str,
}

/// Units of time in milliseconds, largest first: the order in which they are written.
const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size, largest first.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl TimeSpan {
    /// The format's name in the JSON Schema.
    pub(super) const FORMAT: &'static str = "tidegate-time";
    /// What a message calls it.
    pub(super) const WHAT: &'static str =
        "a time with a unit, such as \"250ms\", \"5s\" or \"1h30m\"";

    /// From whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        TimeSpan(Duration::from_secs(seconds))
    }

    /// From whole milliseconds.
    pub const fn milliseconds(milliseconds: u64) -> Self {
        TimeSpan(Duration::from_millis(milliseconds))
    }
}

impl ByteSize {
    /// The format's name in the JSON Schema.
    pub(super) const FORMAT: &'static str = "tidegate-size";
    /// What a message calls it.
    pub(super) const WHAT: &'static str = "a size with a unit, such as \"64KiB\" or \"8MiB\"";

    /// From a number of bytes.
    pub const fn bytes(bytes: u64) -> Self {
        ByteSize(bytes)
    }

    /// From a number of MiB.
    pub const fn mib(mib: u64) -> Self {
        ByteSize(mib << 20)
    }
}

/// Takes a whole number and its unit off the front of a text.
fn quantity<'a>(text: &'a str, units: &[(&str, u64)]) -> Option<(u64, &'a str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, rest) = text.split_at(digits);
    let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    Some((number.parse::<u64>().ok()?.checked_mul(*factor)?, rest))
}

impl FromStr for TimeSpan {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rest = text.trim();
        let mut total = 0u64;
        let invalid = || InvalidQuantity { text: text.to_owned(), what: Self::WHAT };
        if rest.is_empty() {
            return Err(invalid());
        }
        while !rest.is_empty() {
            let (milliseconds, after) = quantity(rest, &TIME_UNITS).ok_or_else(invalid)?;
            total = total.checked_add(milliseconds).ok_or_else(invalid)?;
            rest = after;
        }
        Ok(TimeSpan(Duration::from_millis(total)))
    }
}

impl FromStr for ByteSize {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match quantity(text.trim(), &SIZE_UNITS) {
            Some((bytes, "")) => Ok(ByteSize(bytes)),
            _ => Err(InvalidQuantity { text: text.to_owned(), what: Self::WHAT }),
        }
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in TIME_UNITS {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

impl fmt::Display for ByteSize {
    /// In the largest power of two that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = SIZE_UNITS[..4]
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match binary {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// Serde as the text, and a schema that says so.
macro_rules! quantity_text {
    ($type:ty, $name:literal, $pattern:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": <$type>::FORMAT, "pattern": $pattern })
            }
        }
    };
}

quantity_text!(TimeSpan, "TimeSpan", r"^([0-9]+(ms|s|m|h|d))+$");
quantity_text!(ByteSize, "ByteSize", r"^[0-9]+(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_and_write_as_people_do() {
        for (text, milliseconds) in
            [("250ms", 250), ("5s", 5_000), ("1h30m", 5_400_000), ("7d", 604_800_000), ("0s", 0)]
        {
            let span: TimeSpan = text.parse().expect("a time");
            assert_eq!(span, TimeSpan::milliseconds(milliseconds));
            assert_eq!(span.to_string(), text);
        }
        for text in ["", "5", "s", "5 s", "5S", "-1s", "1.5s", "99999999999999999999s", "5s!"] {
            assert!(text.parse::<TimeSpan>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_and_write_as_people_do() {
        for (text, bytes) in [("8MiB", 8 << 20), ("64KiB", 64 << 10), ("1000B", 1000)] {
            let size: ByteSize = text.parse().expect("a size");
            assert_eq!(size, ByteSize(bytes));
            assert_eq!(size.to_string(), text);
        }
        assert_eq!("8MB".parse(), Ok(ByteSize(8_000_000)));
        for text in ["", "8", "8mib", "8 MiB", "8MiB8", "99999999999TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
