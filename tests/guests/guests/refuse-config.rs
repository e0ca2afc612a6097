//! Refuses its config and says where.

use guests::{Behave, ConfigError, Description, guest};

struct RefuseConfig;

impl Behave for RefuseConfig {
    fn configure(_config: &str) -> Result<Description, ConfigError> {
        Err(ConfigError { pointer: "/bands/0".into(), message: "a band has no end".into() })
    }
}

guest!(RefuseConfig);
