//! Panics when it is given its config.

use guests::{Behave, ConfigError, Description, guest};

struct TrapInConfigure;

impl Behave for TrapInConfigure {
    fn configure(_config: &str) -> Result<Description, ConfigError> {
        panic!("no config suits me")
    }
}

guest!(TrapInConfigure);
