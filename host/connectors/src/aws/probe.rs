//! What probes of AWS's services have in common: credentials, and what a refusal means for an action.

use std::error::Error;

use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::{AwsConfig, NotTls, answer::Said};
use crate::probe::{ProbeLevel, Probes, Unproven, in_full};

/// AWS does not know who asks.
const STRANGERS: [&str; 11] = [
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "MissingAuthenticationTokenException",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "ExpiredTokenException",
];

/// It was asked too often, which says nothing of whether it may be.
const THROTTLED: [&str; 9] = [
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "ThrottlingException",
    "Throttling",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "KMSThrottlingException",
    "KMS.ThrottlingException",
];

/// The server is elsewhere.
const ELSEWHERE: [&str; 3] =
    ["PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"];

/// What an action asks for is not there.
const ABSENT: [&str; 6] = [
    "ResourceNotFoundException",
    "NoSuchBucket",
    "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
    "InvalidAddress",
    "NotFound",
];

/// Whether there are credentials to sign with, and whether the role can be assumed, where there is one.
pub(crate) async fn credentials(probes: &mut Probes, aws: &AwsConfig) -> Option<()> {
    let (action, resource) = match &aws.role {
        Some(role) => ("sts:AssumeRole", role.arn.clone()),
        None => ("credentials", "of AWS's usual chain".to_owned()),
    };
    let work = async {
        let loaded = aws.load().await;
        let provider = loaded.credentials_provider();
        let provider =
            provider.ok_or_else(|| Unproven::failed("there are none", FIND).for_all())?;
        let found = provider.provide_credentials().await;
        found.map_err(|error| {
            let hint = match &aws.role {
                Some(_) => {
                    "the credentials of the environment must be allowed `sts:AssumeRole` on the \
                     role, and the role's trust policy must let them, with its `external_id`"
                }
                None => FIND,
            };
            Unproven::failed(in_full(&error), hint).for_all()
        })?;
        let region = loaded.region().map(|it| format!("region {it}"));
        if region.is_none() {
            let hint = "name the `region`, here or in the environment (`AWS_REGION`)";
            return Err(Unproven::failed("there are credentials, and no region", hint).for_all());
        }
        Ok(((), region.unwrap_or_default()))
    };
    probes.ask(ProbeLevel::Connect, action, resource, work).await
}

const FIND: &str = "give it some: variables (`AWS_ACCESS_KEY_ID`), a profile, or a role of the machine \
                    or the container";

/// What it means for an action that it was refused, or not answered. `missing` is what to do where the
/// resource is not there.
pub(crate) fn unproven<E>(action: &str, missing: &str, error: SdkError<E, HttpResponse>) -> Unproven
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let SdkError::ServiceError(refused) = &error else { return not_answered(&error) };
    let response = refused.raw();
    let said = Said::new(response, error.meta());
    let (code, status, why) = (said.code.as_str(), said.status, said.to_string());
    if STRANGERS.contains(&code) {
        let hint = "AWS does not know the credentials, their secret is another, they have expired, \
                    or this machine's clock is wrong: correct them";
        return Unproven::failed(why, hint).for_all();
    }
    if code == "RequestTimeTooSkewed" {
        return Unproven::failed(why, "set this machine's clock").for_all();
    }
    if ELSEWHERE.contains(&code) || status == 301 {
        let hint = match response.headers().get("x-amz-bucket-region") {
            Some(region) => format!("it lies in `{region}`: correct `region`"),
            None => "it lies in another region: correct `region`".to_owned(),
        };
        return Unproven::failed(why, hint).for_all();
    }
    if THROTTLED.contains(&code) || status == 429 {
        return Unproven::unknown(format!("it was asked too often just now, {why}"));
    }
    if code.starts_with("KMS") || code.starts_with("Kms") {
        let hint = "the key of KMS must be enabled, in the same region, and the credentials must be \
                    allowed to use it";
        return Unproven::failed(why, hint);
    }
    if ABSENT.contains(&code) {
        return Unproven::failed(why, missing).for_all();
    }
    if status == 403 || code.starts_with("AccessDenied") {
        // The one that is missing may be another: for tags, or for the key.
        let named = why.split_once("not authorized to perform: ");
        let named = named.and_then(|(_, rest)| rest.split_whitespace().next());
        let action = named.filter(|it| it.contains(':')).unwrap_or(action);
        let hint =
            format!("allow the credentials `{action}` on it: `tidegate iam print` has the policy");
        return Unproven::failed(why, hint).denied();
    }
    if status == 501 {
        return Unproven::failed(why, "the server can't do it, and the pipeline needs it");
    }
    let hint = match status >= 500 {
        true => "the server fails: try again, and look at it if that does not help",
        false => "the server does not take it as it is configured",
    };
    Unproven::failed(why, hint)
}

/// No request was made, or no answer came.
fn not_answered<E>(error: &SdkError<E, HttpResponse>) -> Unproven
where
    E: Error + Send + Sync + 'static,
{
    let mut causes = std::iter::successors(error.source(), |it| (*it).source());
    let hint = match error {
        _ if causes.any(|it| it.is::<NotTls>()) => "give an `endpoint` with `https://`",
        SdkError::ConstructionFailure(_) => {
            "the config is such that no request can be made: look at `region` and `endpoint`"
        }
        _ => {
            "nobody answers there: correct `endpoint` or `region`, start the server, or let this \
             machine reach it"
        }
    };
    Unproven::failed(in_full(error), hint).for_all()
}

#[cfg(all(test, feature = "s3"))]
mod tests {
    use aws_sdk_s3::{error::ErrorMetadata, operation::put_object::PutObjectError};
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn refusal(
        (status, code, message): (u16, &str, &str),
        headers: &[(&'static str, &'static str)],
    ) -> Unproven {
        let status = status.try_into().expect("a status");
        let mut response = HttpResponse::new(status, SdkBody::empty());
        for (name, value) in headers {
            response.headers_mut().insert(*name, *value);
        }
        let meta = ErrorMetadata::builder().code(code).message(message).build();
        let error = SdkError::service_error(PutObjectError::generic(meta), response);
        unproven("s3:PutObject", "create it", error)
    }

    #[track_caller]
    fn failed(
        answer: (u16, &str, &str),
        headers: &[(&'static str, &'static str)],
    ) -> (String, bool) {
        match refusal(answer, headers) {
            Unproven::Failed { why, hint, is_for_all, .. } => {
                assert!(why.contains(answer.1), "{why}");
                (hint.expect("a hint"), is_for_all)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_says_what_is_to_be_allowed() {
        for (code, message, action) in [
            ("AccessDenied", "Access Denied", "`s3:PutObject`"),
            (
                "AccessDenied",
                "User: arn:aws:iam::1:user/a is not authorized to perform: s3:PutObjectTagging on \
                 resource: \"arn:aws:s3:::b/k\" because no policy allows it",
                "`s3:PutObjectTagging`",
            ),
            (
                "AccessDenied",
                "User: a is not authorized to perform: kms:GenerateDataKey on the resource",
                "`kms:GenerateDataKey`",
            ),
        ] {
            let (hint, is_for_all) = failed((403, code, message), &[]);
            assert!(hint.contains(action) && !is_for_all, "{hint}");
        }
    }

    #[test]
    fn what_would_fail_in_any_case_is_told_from_what_fails_by_itself_and_from_what_passes() {
        let region = [("x-amz-bucket-region", "eu-west-1")];
        for (answer, headers, said) in [
            ((404, "NoSuchBucket", ""), &[][..], "create it"),
            ((403, "InvalidAccessKeyId", ""), &[], "credentials"),
            ((400, "ExpiredToken", ""), &[], "expired"),
            ((403, "RequestTimeTooSkewed", ""), &[], "clock"),
            ((301, "PermanentRedirect", ""), &region, "`eu-west-1`"),
            ((400, "AuthorizationHeaderMalformed", ""), &[], "another region"),
        ] {
            let (hint, is_for_all) = failed(answer, headers);
            assert!(hint.contains(said) && is_for_all, "{hint}");
        }
        for (answer, said) in [
            ((501, "NotImplemented", ""), "can't do it"),
            ((500, "InternalError", ""), "the server fails"),
            ((400, "KMS.DisabledException", ""), "key of KMS"),
            ((400, "InvalidStorageClass", ""), "as it is configured"),
        ] {
            let (hint, is_for_all) = failed(answer, &[]);
            assert!(hint.contains(said) && !is_for_all, "{hint}");
        }
        for answer in [(503, "SlowDown", ""), (429, "TooManyRequests", "")] {
            assert!(matches!(refusal(answer, &[]), Unproven::Unknown(_)), "{answer:?}");
        }
    }
}
