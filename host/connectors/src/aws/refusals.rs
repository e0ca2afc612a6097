//! What it means that a service to which records are put refuses a whole request.

use std::error::Error;

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tidegate_core::sink::{SinkError, SinkErrorKind};

use super::answer::{Said, after, not_answered};

/// What passes by itself, although some of it is answered as if the request were wrong.
const PASSING: [&str; 7] = [
    "InternalFailure",
    "ThrottlingException",
    "Throttling",
    "RequestLimitExceeded",
    // New credentials are got for the next request.
    "ExpiredTokenException",
    "ExpiredToken",
    "RequestExpired",
];

/// A service to which records are put, and what its refusals of a whole request mean.
pub(crate) struct Refusals {
    /// What else of it passes by itself.
    pub(crate) passing: &'static [&'static str],
    /// What the credentials must be allowed to do, and on what.
    pub(crate) permission: &'static str,
    /// What a person has to do about its own refusals.
    pub(crate) advice: fn(code: &str) -> Option<&'static str>,
}

impl Refusals {
    /// What a request that failed means for the sink.
    pub(crate) fn failed<E>(&self, what: String, error: SdkError<E, HttpResponse>) -> SinkError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let SdkError::ServiceError(refused) = &error else { return not_answered(what, error) };
        let said = Said::new(refused.raw(), error.meta());
        if said.status >= 500 || said.status == 429 || self.passes(&said.code) {
            let kind = SinkErrorKind::Unavailable { after: after(refused.raw()) };
            return SinkError::new(kind, what, said);
        }
        let advice = self.advice(&said).map(|advice| format!(": {advice}")).unwrap_or_default();
        SinkError::new(SinkErrorKind::Broken, format!("{what}{advice}"), said)
    }

    /// Whether a refusal passes by itself.
    pub(crate) fn passes(&self, code: &str) -> bool {
        PASSING.contains(&code) || self.passing.contains(&code)
    }

    fn advice(&self, said: &Said) -> Option<String> {
        match said.code.as_str() {
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "IncompleteSignatureException" => {
                let advice = "AWS does not know the credentials, their secret is another, or this \
                              machine's clock is wrong: correct them";
                Some(advice.to_owned())
            }
            code => match (self.advice)(code) {
                Some(advice) => Some(advice.to_owned()),
                None if said.status == 403 || code.starts_with("AccessDenied") => {
                    Some(format!("the credentials may not do it: they need {}", self.permission))
                }
                None => None,
            },
        }
    }
}
