//! What all services of AWS have in common, as an operator writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A role of AWS that is assumed, by AWS's usual chain of credentials.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsRole {
    /// The role's ARN, which may be of another account.
    pub arn: String,
    /// What the role's trust policy asks for, where it does.
    #[serde(default)]
    pub external_id: Option<String>,
    /// What the session is called in the account's logs.
    #[serde(default = "session_name")]
    pub session_name: String,
}

fn session_name() -> String {
    "tidegate".to_owned()
}

/// The keys that stand beside each service's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aws<'a> {
    pub(crate) region: Option<&'a str>,
    pub(crate) endpoint: Option<&'a str>,
    pub(crate) role: Option<&'a AwsRole>,
    pub(crate) fips: bool,
    pub(crate) dual_stack: bool,
}
