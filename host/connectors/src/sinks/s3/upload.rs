//! How objects come to lie in a bucket: in one piece or in parts, several at once, and in the place
//! of another only where that one is known.

use std::sync::Arc;

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use tidegate_core::{
    ObjectDigest,
    sink::{Object, SinkError, SinkErrorKind},
};
use tokio::{
    runtime::Handle,
    task::{JoinError, JoinSet},
};

use super::{bucket::Bucket, failure::Refusal};
use crate::sinks::same_or_occupied;

/// The most parts that an object may have.
const PARTS_MAX: usize = 10_000;

/// What a write asks of what lies under its key.
#[derive(Clone, Debug)]
enum Condition {
    /// That nothing does.
    Nothing,
    /// That it is this one.
    Etag(String),
}

/// Creates objects, several at once. After a failure no further one is begun; those under way are
/// finished, so that a server that refuses one of many is still written to.
pub(super) async fn write(bucket: Arc<Bucket>, objects: Vec<Object>) -> Result<(), SinkError> {
    let mut waiting = objects.into_iter();
    let mut under_way = JoinSet::new();
    let mut failure: Option<SinkError> = None;
    loop {
        while failure.is_none() && under_way.len() < bucket.config.uploads_max.max(1) {
            let Some(object) = waiting.next() else { break };
            let bucket = bucket.clone();
            under_way.spawn(async move { create(&bucket, &object).await });
        }
        let Some(ended) = under_way.join_next().await else { break };
        if let Err(error) = ended.unwrap_or_else(|error| Err(unfinished(error))) {
            failure = Some(match failure {
                Some(before) => worse(before, error),
                None => error,
            });
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Of two failures the one that has to be known first: what no further try will mend, else the one
/// that asks for the longer wait.
fn worse(before: SinkError, after: SinkError) -> SinkError {
    use SinkErrorKind::Unavailable;
    match (&before.kind, &after.kind) {
        (Unavailable { after: first }, Unavailable { after: second }) if first >= second => before,
        (Unavailable { .. }, _) => after,
        _ => before,
    }
}

/// Makes an object lie under its key, where nothing else does.
async fn create(bucket: &Arc<Bucket>, object: &Object) -> Result<(), SinkError> {
    match put_or_upload(bucket, object, Condition::Nothing).await {
        Ok(()) => Ok(()),
        // Somebody was faster, and be it this process, whose answer was lost.
        Err(refusal @ Refusal::Precondition) => match bucket.find(&object.key).await? {
            Some((found, _)) => same_or_occupied(object, found),
            None => Err(refusal.into_error(|| format!("write `{}`", bucket.place(&object.key)))),
        },
        Err(refusal) => {
            Err(refusal.into_error(|| format!("write `{}`", bucket.place(&object.key))))
        }
    }
}

/// Puts an object in the place of a certain other, or where nothing lies.
pub(super) async fn occupy(
    bucket: &Arc<Bucket>,
    empty: &Object,
    superseded: ObjectDigest,
) -> Result<(), SinkError> {
    let etag = match bucket.find(&empty.key).await? {
        Some((digest, found)) if digest == superseded => found.etag,
        _ => return create(bucket, empty).await,
    };
    let what = || format!("put an empty object in the place of `{}`", bucket.place(&empty.key));
    let Some(etag) = etag else {
        let message = format!("failed to {}: the server gives objects no tags", what());
        return Err(SinkError::plain(SinkErrorKind::Broken, message));
    };
    let replaced = put_or_upload(bucket, empty, Condition::Etag(etag)).await;
    replaced.map_err(|refusal| refusal.into_error(what))
}

async fn put_or_upload(
    bucket: &Arc<Bucket>,
    object: &Object,
    condition: Condition,
) -> Result<(), Refusal> {
    match object.content.len() > bucket.config.part_bytes {
        true => upload(bucket, object, condition).await,
        false => put(bucket, object, condition).await,
    }
}

async fn put(bucket: &Bucket, object: &Object, condition: Condition) -> Result<(), Refusal> {
    let _admitted = bucket.admit(object.content.len()).await;
    let put = bucket.put(object).await.body(ByteStream::from(object.content.clone()));
    let put = match condition {
        Condition::Nothing => put.if_none_match("*"),
        Condition::Etag(etag) => put.if_match(etag),
    };
    // The checksum and TLS see to the content: a second digest of each byte would add nothing.
    let answer = put.customize().disable_payload_signing().send().await;
    bucket.ended("put", || format!("write `{}`", bucket.place(&object.key)), answer)?;
    bucket.meters.uploaded(object.content.len());
    Ok(())
}

/// An upload in parts, which is aborted unless it is completed.
struct Upload {
    bucket: Arc<Bucket>,
    /// As the bucket has it.
    key: String,
    id: String,
    is_open: bool,
}

impl Upload {
    async fn abort(mut self) {
        self.is_open = false;
        self.bucket.abort(&self.key, &self.id).await;
    }
}

impl Drop for Upload {
    /// The attempt ran out of time, or the pipeline stops.
    fn drop(&mut self) {
        if let (true, Ok(runtime)) = (self.is_open, Handle::try_current()) {
            let (bucket, key, id) = (self.bucket.clone(), self.key.clone(), self.id.clone());
            runtime.spawn(async move { bucket.abort(&key, &id).await });
        }
    }
}

/// Creates an object in parts.
async fn upload(
    bucket: &Arc<Bucket>,
    object: &Object,
    condition: Condition,
) -> Result<(), Refusal> {
    let what = || format!("write `{}` in parts", bucket.place(&object.key));
    let begun = bucket.create(object).await.send().await;
    let begun = bucket.ended("create_upload", what, begun)?;
    let Some(id) = begun.upload_id else {
        let message = format!("failed to {}: the server gives uploads no ids", what());
        return Err(Refusal::Failed(SinkError::plain(SinkErrorKind::Broken, message)));
    };
    let key = bucket.config.key(&object.key);
    let mut upload = Upload { bucket: bucket.clone(), key, id, is_open: true };
    let completed = match parts(&upload, &object.content).await {
        Ok(parts) => complete(&upload, object, parts, condition).await,
        Err(refusal) => Err(refusal),
    };
    match completed {
        Ok(()) => {
            upload.is_open = false;
            Ok(())
        }
        // Also where the answer was lost: an upload that was completed can't be aborted.
        Err(refusal) => {
            upload.abort().await;
            Err(refusal)
        }
    }
}

/// Uploads all parts of some content, several at once.
async fn parts(upload: &Upload, content: &Bytes) -> Result<Vec<CompletedPart>, Refusal> {
    let size = upload.bucket.config.part_bytes.max(content.len().div_ceil(PARTS_MAX));
    let mut under_way = JoinSet::new();
    for (i, start) in (0..content.len()).step_by(size).enumerate() {
        let piece = content.slice(start..content.len().min(start + size));
        let (bucket, key, id) = (upload.bucket.clone(), upload.key.clone(), upload.id.clone());
        let number = i32::try_from(i + 1).expect("there are at most ten thousand");
        under_way.spawn(async move { part(&bucket, key, id, number, piece).await });
    }
    let mut parts = Vec::with_capacity(under_way.len());
    while let Some(ended) = under_way.join_next().await {
        parts.push(ended.unwrap_or_else(|error| Err(Refusal::Failed(unfinished(error))))?);
    }
    parts.sort_by_key(|part| part.part_number);
    Ok(parts)
}

async fn part(
    bucket: &Bucket,
    key: String,
    id: String,
    number: i32,
    piece: Bytes,
) -> Result<CompletedPart, Refusal> {
    let bytes = piece.len();
    let _admitted = bucket.admit(bytes).await;
    let part = bucket.client().await.upload_part().bucket(&bucket.config.bucket).key(&key);
    let part = part.upload_id(id).part_number(number).checksum_algorithm(bucket.checksum());
    let part = part.body(ByteStream::from(piece));
    let answer = part.customize().disable_payload_signing().send().await;
    let taken =
        bucket.ended("upload_part", || format!("upload part {number} of `{key}`"), answer)?;
    bucket.meters.uploaded(bytes);
    Ok(CompletedPart::builder()
        .part_number(number)
        .set_e_tag(taken.e_tag)
        .set_checksum_crc64_nvme(taken.checksum_crc64_nvme)
        .set_checksum_crc32(taken.checksum_crc32)
        .set_checksum_sha256(taken.checksum_sha256)
        .build())
}

/// Makes an object of its parts.
async fn complete(
    upload: &Upload,
    object: &Object,
    parts: Vec<CompletedPart>,
    condition: Condition,
) -> Result<(), Refusal> {
    let bucket = &upload.bucket;
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = bucket
        .client()
        .await
        .complete_multipart_upload()
        .bucket(&bucket.config.bucket)
        .key(&upload.key)
        .upload_id(&upload.id)
        .mpu_object_size(i64::try_from(object.content.len()).unwrap_or(i64::MAX))
        .multipart_upload(parts);
    let complete = match condition {
        Condition::Nothing => complete.if_none_match("*"),
        Condition::Etag(etag) => complete.if_match(etag),
    };
    let what = || format!("complete the upload of `{}`", bucket.place(&object.key));
    bucket.ended("complete_upload", what, complete.send().await)?;
    Ok(())
}

fn unfinished(error: JoinError) -> SinkError {
    let message = "a request to S3 was not finished";
    SinkError::new(SinkErrorKind::Unavailable { after: None }, message, error)
}
