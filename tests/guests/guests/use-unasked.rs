//! Keeps state and replaces whole records without asking for either.

use guests::{Behave, ConfigError, Description, Kind, Write, guest, read};

struct UseUnasked;

impl Behave for UseUnasked {
    fn configure(_config: &str) -> Result<Description, ConfigError> {
        Ok(Description {
            reads: vec![read("amount", Kind::Float64)],
            writes: vec![Write { path: vec![], kind: Kind::Json }],
            rules: vec![],
            state: None,
        })
    }
}

guest!(UseUnasked);
