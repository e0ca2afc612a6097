//! What answers of AWS's services have in common, and what it means that none came.

use std::{error::Error, time::Duration};

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::ErrorMetadata;
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

#[cfg(any(feature = "firehose", feature = "kinesis", feature = "s3", feature = "sqs"))]
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

#[cfg(any(feature = "firehose", feature = "kinesis", feature = "s3", feature = "sqs"))]
/// What a service asks to be waited for.
pub(crate) fn after(response: &HttpResponse) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
