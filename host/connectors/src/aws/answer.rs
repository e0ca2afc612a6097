//! What answers of AWS's services have in common, and what it means that none came.

use std::{error::Error, time::Duration};

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::{ErrorMetadata, metadata::ProvideErrorMetadata};
use tidegate_core::sink::{SinkError, SinkErrorKind};

use super::NotTls;

/// What a service has said, in its own words.
#[derive(Debug, thiserror::Error)]
#[error("{code} ({status}){message}{request}")]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) code: String,
    message: String,
    request: String,
}

impl Said {
    pub(crate) fn new(response: &HttpResponse, meta: &ErrorMetadata) -> Said {
        let status = response.status().as_u16();
        let headers = response.headers();
        let request = headers.get("x-amz-request-id").or(headers.get("x-amzn-requestid"));
        Said {
            status,
            code: meta.code().unwrap_or("refused").to_owned(),
            message: meta.message().map(|it| format!(": {it}")).unwrap_or_default(),
            request: request.map(|id| format!(", request {id}")).unwrap_or_default(),
        }
    }
}

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

/// No answer came, or none that can be read.
pub(crate) fn not_answered<E>(message: String, error: SdkError<E, HttpResponse>) -> SinkError
where
    E: Error + Send + Sync + 'static,
{
    let mut cause: Option<&dyn Error> = Some(&error);
    let mut is_broken = matches!(error, SdkError::ConstructionFailure(_));
    while let Some(it) = cause {
        is_broken |= it.is::<NotTls>();
        cause = it.source();
    }
    let kind = match is_broken {
        true => SinkErrorKind::Broken,
        false => SinkErrorKind::Unavailable { after: None },
    };
    SinkError::new(kind, message, error)
}

/// What a service asks to be waited for.
pub(crate) fn after(response: &HttpResponse) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
