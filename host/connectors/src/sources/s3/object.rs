//! Requests for an object: what it is now, and its bytes.

use std::{error::Error, time::Duration};

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
};
use bytes::Bytes;
use tidegate_core::source::{SourceError, SourceErrorKind};
use tokio::{
    runtime::Handle,
    sync::{OnceCell, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    S3SourceConfig,
    meters::Meters,
    name::{ObjectVersion, Version},
};
use crate::aws::{self, answer::Said};

/// A chunk of the usual size over a line of one megabit takes a minute.
const CALL_MAX: Duration = Duration::from_secs(120);

/// The budget is counted in these: a semaphore has no room for bytes.
const UNIT_BYTES: usize = 1 << 10;

/// What passes by itself, although S3 answers as if the request were wrong.
const PASSING: [&str; 8] = [
    "RequestTimeout",
    "ConditionalRequestConflict",
    "OperationAborted",
    // New credentials are got for the next request.
    "ExpiredToken",
    "TokenRefreshRequired",
    "RequestExpired",
    "SlowDown",
    "KMS.ThrottlingException",
];

/// A bucket that is read from.
pub(super) struct Bucket {
    pub(super) config: S3SourceConfig,
    pub(super) meters: Meters,
    client: OnceCell<Client>,
    ahead: std::sync::Arc<Semaphore>,
}

/// An object as it was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) object: ObjectVersion,
    pub(super) length: u64,
    /// S3's tag of the content, without its quotes; none where the server has none.
    tag: Option<String>,
}

impl Bucket {
    pub(super) fn new(config: S3SourceConfig) -> Self {
        let units = (config.fetched_bytes_max / UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        let meters = Meters::new(&config);
        let ahead = std::sync::Arc::new(Semaphore::new(units));
        Bucket { config, meters, client: OnceCell::new(), ahead }
    }

    /// Leave to fetch so much before somebody waits for it, if there is room.
    pub(super) fn room_ahead(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES as u64)).unwrap_or(u32::MAX);
        self.ahead.clone().try_acquire_many_owned(units).ok()
    }

    pub(super) async fn client(&self) -> &Client {
        let Bucket { config, client, .. } = self;
        client.get_or_init(|| aws::s3::client(&config.aws, config.path_style, CALL_MAX)).await
    }

    /// What an object is now. Fails with [`SourceErrorKind::Trimmed`] where that version is gone.
    pub(super) async fn look(&self, object: &ObjectVersion) -> Result<Found, SourceError> {
        let (id, tag) = match &object.version {
            Version::Id(id) => (Some(id.clone()), None),
            Version::Tag(tag) => (None, Some(tag.clone())),
        };
        let head = self.client().await.head_object().bucket(&object.bucket).key(&object.key);
        let head = head.set_version_id(id).send().await;
        let head = self.answered(object, head)?;
        let found = head.e_tag().map(plain_tag);
        if tag.is_some() && found.is_some() && found != tag {
            return Err(changed(object));
        }
        let length = head.content_length().and_then(|it| u64::try_from(it).ok());
        let length = length.ok_or_else(|| broken(object, "S3 does not say how long it is"))?;
        Ok(Found { object: object.clone(), length, tag: found })
    }

    /// A part of an object, whole.
    pub(super) async fn part(
        &self,
        found: &Found,
        from: u64,
        to: u64,
    ) -> Result<Bytes, SourceError> {
        let object = &found.object;
        let fetched = timeout(CALL_MAX, self.fetch(found, from, to)).await.unwrap_or_else(|_| {
            let seconds = CALL_MAX.as_secs();
            let place = object.place();
            let message =
                format!("`{place}`: bytes {from} to {to} did not come within {seconds} s");
            Err(SourceError::plain(SourceErrorKind::Unavailable, message))
        });
        match &fetched {
            Ok(bytes) => {
                self.meters.requests.increment(1);
                self.meters.bytes.increment(bytes.len() as u64);
            }
            Err(_) => self.meters.failed.increment(1),
        }
        fetched
    }

    async fn fetch(&self, found: &Found, from: u64, to: u64) -> Result<Bytes, SourceError> {
        let Found { object, tag, .. } = found;
        let id = match &object.version {
            Version::Id(id) => Some(id.clone()),
            Version::Tag(_) => None,
        };
        let get = self.client().await.get_object().bucket(&object.bucket).key(&object.key);
        let get = get.set_version_id(id).range(format!("bytes={from}-{}", to - 1));
        let get = get.set_if_match(tag.as_ref().map(|tag| format!("\"{tag}\""))).send().await;
        let mut got = self.answered(object, get)?;
        // A server may not know conditions.
        if tag.is_some() && got.e_tag().is_some_and(|it| Some(plain_tag(it)) != *tag) {
            return Err(changed(object));
        }
        // Room for all of it at once: chunks are joined by nobody.
        let length = usize::try_from(to - from).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(length);
        while let Some(piece) = got.body.next().await {
            let piece = piece.map_err(|error| {
                let message = format!("`{}` broke off while it was read", object.place());
                SourceError::new(SourceErrorKind::Unavailable, message, error)
            })?;
            if bytes.len() + piece.len() > length {
                return Err(broken(object, "S3 sends more than it was asked for"));
            }
            bytes.extend_from_slice(&piece);
        }
        if bytes.len() < length {
            let message = format!("`{}` broke off while it was read", object.place());
            return Err(SourceError::plain(SourceErrorKind::Unavailable, message));
        }
        Ok(bytes.into())
    }

    fn answered<T, E>(
        &self,
        object: &ObjectVersion,
        answer: Result<T, SdkError<E>>,
    ) -> Result<T, SourceError>
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        answer.map_err(|error| failed(object, error))
    }

    /// The policy for what is gone: an error, or none where the object is finished as it stands.
    pub(super) fn gone(
        &self,
        object: &ObjectVersion,
        error: SourceError,
    ) -> Result<(), SourceError> {
        self.meters.gone.increment(1);
        match self.config.on_gone {
            super::OnGone::Fail => Err(error),
            super::OnGone::Continue => {
                let partition = object.partition();
                tracing::error!(%partition, "{error}; the object is finished as it stands");
                Ok(())
            }
        }
    }
}

/// A runtime where requests are made, for those who wait for them on a thread of their own.
#[derive(Clone)]
pub(super) struct Requests(pub(super) Handle);

fn plain_tag(tag: &str) -> String {
    tag.trim_start_matches("W/").trim_matches('"').to_owned()
}

fn broken(object: &ObjectVersion, why: &str) -> SourceError {
    SourceError::plain(
        SourceErrorKind::Broken,
        format!("`{}` can't be read: {why}", object.place()),
    )
}

fn changed(object: &ObjectVersion) -> SourceError {
    let message = format!(
        "data may be lost: another object has taken the place of `{}` before it was read to its end: \
         let the bucket keep versions, or say `on_gone: continue`",
        object.place()
    );
    SourceError::plain(SourceErrorKind::Trimmed, message)
}

/// What a failed request means.
fn failed<E>(object: &ObjectVersion, error: SdkError<E>) -> SourceError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let place = object.place();
    let SdkError::ServiceError(refused) = &error else {
        let error = aws::answer::not_answered(format!("failed to read `{place}`"), error);
        return super::queue::source_error(error);
    };
    let said = Said::new(refused.raw(), error.meta());
    let advice = match (said.status, said.code.as_str()) {
        // An error of a HEAD has no body that would say more.
        (404, "NoSuchBucket") => ": there is no such bucket: correct `bucket`".to_owned(),
        (404 | 405 | 410, _) => {
            let message = format!(
                "data may be lost: `{place}` is gone before it was read to its end: put it back, or \
                 say `on_gone: continue`"
            );
            return SourceError::new(SourceErrorKind::Trimmed, message, said);
        }
        (412, _) => return changed(object),
        (status, code)
            if status >= 500 && status != 501
                || matches!(status, 409 | 429)
                || PASSING.contains(&code) =>
        {
            let message = format!("failed to read `{place}`");
            return SourceError::new(SourceErrorKind::Unavailable, message, said);
        }
        (403, "InvalidObjectState") => {
            ": it is archived: restore it, and let it be told of again".to_owned()
        }
        (301, _) | (_, "PermanentRedirect" | "AuthorizationHeaderMalformed") => {
            ": the bucket lies in another region: correct `region`".to_owned()
        }
        (_, code) if code.starts_with("KMS.") => {
            ": the key that it is encrypted with can't be used: the credentials need `kms:Decrypt`"
                .to_owned()
        }
        (403, _) => {
            ": the credentials may not do it: they need `s3:GetObject`, `s3:GetObjectVersion` \
                     and `s3:ListBucket`, without the last of which S3 refuses to say that nothing \
                     lies there"
                .to_owned()
        }
        (400, _) => {
            ": the request can't be made so: an object that is encrypted with a key of its \
                     own (SSE-C) can't be read here"
                .to_owned()
        }
        _ => String::new(),
    };
    SourceError::new(SourceErrorKind::Broken, format!("failed to read `{place}`{advice}"), said)
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::{
        config::http::HttpResponse, error::ErrorMetadata, operation::get_object::GetObjectError,
        primitives::SdkBody,
    };

    use super::*;

    #[test]
    fn what_passes_is_told_from_what_is_gone_and_from_what_needs_a_person() {
        let object = ObjectVersion {
            bucket: "inbox".to_owned(),
            key: "a/b".to_owned(),
            version: Version::Tag("abc".to_owned()),
        };
        for (status, code, kind, said) in [
            (503, "SlowDown", SourceErrorKind::Unavailable, "failed to read"),
            (400, "ExpiredToken", SourceErrorKind::Unavailable, "failed to read"),
            (404, "NoSuchKey", SourceErrorKind::Trimmed, "is gone"),
            (404, "NoSuchVersion", SourceErrorKind::Trimmed, "is gone"),
            (404, "", SourceErrorKind::Trimmed, "is gone"),
            (405, "MethodNotAllowed", SourceErrorKind::Trimmed, "is gone"),
            (412, "PreconditionFailed", SourceErrorKind::Trimmed, "keep versions"),
            (404, "NoSuchBucket", SourceErrorKind::Broken, "correct `bucket`"),
            (403, "AccessDenied", SourceErrorKind::Broken, "`s3:GetObject`"),
            (403, "InvalidObjectState", SourceErrorKind::Broken, "restore it"),
            (301, "PermanentRedirect", SourceErrorKind::Broken, "correct `region`"),
            (403, "KMS.DisabledException", SourceErrorKind::Broken, "`kms:Decrypt`"),
        ] {
            let response =
                HttpResponse::new(status.try_into().expect("a status"), SdkBody::empty());
            let meta = ErrorMetadata::builder().code(code).message("as S3 puts it").build();
            let error = SdkError::service_error(GetObjectError::generic(meta), response);
            let error = failed(&object, error);
            assert_eq!(error.kind, kind, "{status} {code}");
            assert!(error.message.contains(said) && error.message.contains("s3://inbox/a/b"));
        }
    }
}
