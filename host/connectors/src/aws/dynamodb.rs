//! What everything in Amazon DynamoDB has in common: a client, and what failures mean.

pub(crate) mod probe;

use std::{error::Error, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
};
use tidegate_core::checkpoint::{StoreError, StoreErrorKind};

use super::{AwsConfig, Io, NotTls, service_config};

/// What passes by itself, although DynamoDB answers as if the request were wrong.
const PASSING: [&str; 10] = [
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "ThrottlingException",
    "Throttling",
    "InternalServerError",
    "TransactionInProgressException",
    "ExpiredTokenException",
    "ExpiredToken",
    "RequestExpired",
];

/// A client whose calls take no longer than this.
pub(crate) async fn client(aws: &AwsConfig, call_max: Duration) -> Client {
    Client::from_conf(service_config!(aws_sdk_dynamodb, aws, call_max).build())
}

/// Does some work where I/O is done.
pub(crate) async fn run<T: Send + 'static>(
    io: &Io,
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    io.run(work).await.unwrap_or_else(|error| {
        let message = "a call to DynamoDB was not finished";
        Err(StoreError::new(StoreErrorKind::Unavailable, message, error))
    })
}

/// Whether a call was refused with a code.
pub(crate) fn is<E: ProvideErrorMetadata>(error: &SdkError<E>, code: &str) -> bool {
    error.code() == Some(code)
}

/// What a failed call means: what it was to do, and what a person has to do. `needs` says what the
/// credentials must be allowed to do.
pub(crate) fn failed<E>(
    what: impl FnOnce() -> String,
    needs: &str,
    error: SdkError<E>,
) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let code = error.code().unwrap_or_default();
    let kind = match &error {
        SdkError::ServiceError(refused) => {
            let status = refused.raw().status().as_u16();
            match PASSING.contains(&code) || status >= 500 || status == 429 {
                true => StoreErrorKind::Unavailable,
                false => StoreErrorKind::Broken,
            }
        }
        // No request can be made: there is no region, or the address is one without TLS.
        SdkError::ConstructionFailure(_) => StoreErrorKind::Broken,
        other if is_not_tls(other) => StoreErrorKind::Broken,
        _ => StoreErrorKind::Unavailable,
    };
    let advice = match code {
        "ResourceNotFoundException" => {
            ": there is no such table: create it, or say `create_table: true`".to_owned()
        }
        "AccessDeniedException" => format!(": the credentials may not do it: {needs}"),
        _ => String::new(),
    };
    StoreError::new(kind, format!("failed to {}{advice}", what()), error)
}

fn is_not_tls(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(it) = cause {
        if it.is::<NotTls>() {
            return true;
        }
        cause = it.source();
    }
    false
}
