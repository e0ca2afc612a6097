//! Asks for a capability that there is not.

use guests::{About, Behave, guest};

struct AskUnknown;

impl Behave for AskUnknown {
    fn about() -> About {
        About {
            name: "ask-unknown".into(),
            version: "1.0.0".into(),
            summary: "Wants the network.".into(),
            config_schema: "{}".into(),
            capabilities: vec!["network".into()],
            state_version: 0,
            may_be_passed_by: true,
        }
    }
}

guest!(AskUnknown);
