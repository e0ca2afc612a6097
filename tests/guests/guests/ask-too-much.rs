//! Asks for a capability that nobody grants it.

use guests::{About, Behave, guest};

struct AskTooMuch;

impl Behave for AskTooMuch {
    fn about() -> About {
        About {
            name: "ask-too-much".into(),
            version: "1.0.0".into(),
            summary: "Wants whole records.".into(),
            config_schema: "{}".into(),
            capabilities: vec!["document".into()],
            state_version: 0,
            may_be_passed_by: true,
        }
    }
}

guest!(AskTooMuch);
