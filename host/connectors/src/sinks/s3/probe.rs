//! Probes of a place in a bucket: an object is written under a reserved name, as all objects are, a
//! second time, which has to be refused, read, and deleted.

use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    operation::put_object::{PutObjectError, PutObjectOutput},
    primitives::ByteStream,
    types::ServerSideEncryption,
};
use bytes::Bytes;
use tidegate_core::sink::Object;

use super::{Encryption, S3Config, bucket::Bucket};
use crate::{
    aws::probe::{credentials, unproven},
    probe::{
        Answer, PROBE_NAME,
        ProbeLevel::{Connect, Read, Write},
        Probed, Probes, Probing, Unproven, given,
    },
};

const MISSING: &str = "create the bucket, or correct `bucket`";

/// Why something is not known where an earlier probe has left its object.
const LEFT_BEFORE: &str = "another check has its object there, or an earlier one has left it, so that \
                           none was written: delete it if it stays";

const AT_ONCE: &str = "somebody else writes to the same name: check again";

/// What has become of the probe's object.
#[derive(Debug)]
enum Written {
    /// It was created.
    Created(Box<PutObjectOutput>),
    /// It was there.
    WasThere,
}

/// Asks for what a sink below a prefix asks for. Where the pipeline deletes what it has written there,
/// `deletes` is set.
pub(super) async fn probe(config: S3Config, deletes: bool, probing: Probing) -> Vec<Probed> {
    let aws = config.aws.clone();
    let bucket = Bucket::new(config);
    let mut probes = Probes::new(probing);
    credentials(&mut probes, &aws).await;
    let below = bucket.place("");
    probes.ask(Connect, "s3:ListBucket", &below, list(&bucket)).await;
    let action = "s3:ListBucketMultipartUploads";
    probes.ask(Read, action, &below, list_uploads(&bucket, action)).await;
    write(&bucket, deletes, &mut probes).await;
    probes.found()
}

async fn list(bucket: &Bucket) -> Answer<()> {
    let list = bucket.client().await.list_objects_v2().bucket(&bucket.config.bucket);
    let listed = list.prefix(bucket.config.key("")).max_keys(1).send().await;
    listed.map_err(|error| unproven("s3:ListBucket", MISSING, error))?;
    Ok(((), "the bucket is there".to_owned()))
}

async fn list_uploads(bucket: &Bucket, action: &str) -> Answer<()> {
    let list = bucket.client().await.list_multipart_uploads().bucket(&bucket.config.bucket);
    let listed = list.prefix(bucket.config.key("")).max_uploads(1).send().await;
    let loss = "unfinished uploads of earlier runs would stay, and cost what they hold";
    listed.map_err(|error| unproven(action, MISSING, error).or_without(loss))?;
    Ok(((), String::new()))
}

async fn write(bucket: &Bucket, deletes: bool, probes: &mut Probes) {
    let object = Object::new(PROBE_NAME, Bytes::new());
    let place = bucket.place(PROBE_NAME);
    // Set before the request is made: where no answer comes, it may have been done all the same.
    let mut may_be_there = false;
    let put = async {
        may_be_there = true;
        match put(bucket, &object).await {
            Ok(put) => Ok((Written::Created(Box::new(put)), "an empty object".to_owned())),
            Err(error) if is_refused(&error, 412) => {
                may_be_there = false;
                Ok((Written::WasThere, LEFT_BEFORE.to_owned()))
            }
            Err(error) if is_refused(&error, 409) => {
                may_be_there = false;
                Err(Unproven::unknown(AT_ONCE))
            }
            Err(error) => {
                // A server that fails may have done it.
                may_be_there = match &error {
                    SdkError::ServiceError(it) => it.raw().status().as_u16() >= 500,
                    _ => true,
                };
                Err(unproven("s3:PutObject", MISSING, error))
            }
        }
    };
    let written = probes.ask(Write, "s3:PutObject", &place, put).await;
    let mut second = None;
    let fence = fence(bucket, &object, written.as_ref(), &mut second);
    probes.ask(Write, "s3:PutObject with If-None-Match", &place, fence).await;
    if !bucket.config.tags.is_empty() {
        let tagged = async { created(written.as_ref()).map(|_| ((), "with it".to_owned())) };
        probes.ask(Write, "s3:PutObjectTagging", &place, tagged).await;
    }
    let encrypted = encryption(bucket, &place, written.as_ref(), probes).await;
    let read = probes.ask(Write, "s3:GetObject", &place, read(bucket, &object, &written)).await;
    if encrypted.is_some() {
        let decrypted = async { given(read, "s3:GetObject").map(|()| ((), "with it".to_owned())) };
        let key = key(bucket);
        probes.ask(Write, "kms:Decrypt", key, decrypted).await;
    }
    let upload = probes.ask(Write, "s3:PutObject in parts", &place, begin(bucket, &object)).await;
    let abort = abort(bucket, upload);
    probes.ask(Write, "s3:AbortMultipartUpload", &place, abort).await;
    // Also where something has failed, and where no answer came.
    let left = match &written {
        Some(Written::Created(put)) => {
            let puts = [Some(&**put), second.as_deref()].into_iter().flatten();
            Some(puts.filter_map(|it| it.version_id().map(str::to_owned)).collect())
        }
        _ if may_be_there => Some(Vec::new()),
        _ => None,
    };
    let is_known = matches!(written, Some(Written::Created(_)));
    let delete = async {
        match left {
            Some(versions) => delete(bucket, versions, is_known, &place, deletes).await,
            None => Err(Unproven::unknown(match &written {
                Some(_) => "who has written it may still look at it, or may not delete it",
                None => "there is none: nothing was written",
            })),
        }
    };
    probes.tidy(Write, "s3:DeleteObject", &place, delete).await;
}

async fn put(
    bucket: &Bucket,
    object: &Object,
) -> Result<PutObjectOutput, SdkError<PutObjectError>> {
    let put = bucket.put(object).await.body(ByteStream::from(object.content.clone()));
    put.if_none_match("*").customize().disable_payload_signing().send().await
}

fn is_refused<E>(error: &SdkError<E>, status: u16) -> bool {
    matches!(error, SdkError::ServiceError(it) if it.raw().status().as_u16() == status)
}

fn created(written: Option<&Written>) -> Result<&PutObjectOutput, Unproven> {
    match given(written, "s3:PutObject")? {
        Written::Created(put) => Ok(put),
        Written::WasThere => Err(Unproven::unknown(LEFT_BEFORE)),
    }
}

/// Of any number of writers one wins: that is what keeps records from being doubled.
async fn fence(
    bucket: &Bucket,
    object: &Object,
    written: Option<&Written>,
    second: &mut Option<Box<PutObjectOutput>>,
) -> Answer<()> {
    let refused = || Ok(((), "what is there is not overwritten (412)".to_owned()));
    if matches!(given(written, "s3:PutObject")?, Written::WasThere) {
        return refused();
    }
    match put(bucket, object).await {
        Ok(put) => {
            *second = Some(Box::new(put));
            Err(Unproven::failed(
                "a second object under the same name was taken: this server overwrites, so that \
                 named objects are not safe on it",
                "use a server that knows `If-None-Match: *`, as S3 does",
            ))
        }
        Err(error) if is_refused(&error, 412) => refused(),
        Err(error) if is_refused(&error, 409) => Err(Unproven::unknown(AT_ONCE)),
        Err(error) => Err(unproven("s3:PutObject", MISSING, error)),
    }
}

/// Whether the object is encrypted by the key that is asked for; none where none is.
async fn encryption(
    bucket: &Bucket,
    place: &str,
    written: Option<&Written>,
    probes: &mut Probes,
) -> Option<()> {
    let (action, wanted) = match &bucket.config.encryption {
        Encryption::Bucket => return None,
        Encryption::S3 => ("s3:PutObject with SSE-S3", ServerSideEncryption::Aes256),
        Encryption::Kms { .. } => ("kms:GenerateDataKey", ServerSideEncryption::AwsKms),
    };
    let is_kms = wanted == ServerSideEncryption::AwsKms;
    let encrypted = async {
        match created(written)?.server_side_encryption() {
            Some(found) if *found == wanted => Ok(((), format!("with it: `{found}`"))),
            found => Err(Unproven::failed(
                format!(
                    "`{wanted}` was asked for, and the server says {}",
                    found.map_or("nothing of it".to_owned(), |it| format!("`{it}`"))
                ),
                "use a server that encrypts, or say `encryption: bucket`",
            )),
        }
    };
    let resource = if is_kms { key(bucket) } else { place.to_owned() };
    probes.ask(Write, action, resource, encrypted).await;
    is_kms.then_some(())
}

fn key(bucket: &Bucket) -> String {
    match &bucket.config.encryption {
        Encryption::Kms { key: Some(key), .. } => key.clone(),
        _ => "AWS's own key for S3".to_owned(),
    }
}

async fn read(bucket: &Bucket, object: &Object, written: &Option<Written>) -> Answer<()> {
    given(written.as_ref(), "s3:PutObject")?;
    let get = bucket.client().await.get_object().bucket(&bucket.config.bucket);
    let got = get.key(bucket.config.key(&object.key)).send().await;
    let got = got.map_err(|error| match error.code() {
        Some("NoSuchKey") => Unproven::unknown("somebody has deleted the object meanwhile"),
        _ => unproven("s3:GetObject", MISSING, error),
    })?;
    let digest = object.digest.to_string();
    let said = got.metadata().into_iter().flatten().any(|(_, said)| *said == digest);
    let seen = match said {
        true => "",
        // It works, and costs a read of each object that is asked for after a lost answer.
        false => "without its metadata: this server does not keep them",
    };
    Ok(((), seen.to_owned()))
}

async fn begin(bucket: &Bucket, object: &Object) -> Answer<String> {
    let begun = bucket.create(object).await.send().await;
    let begun = begun.map_err(|error| unproven("s3:PutObject", MISSING, error))?;
    let hint = "the server can't do uploads in parts";
    let id = begun.upload_id.ok_or_else(|| Unproven::failed("the upload has no id", hint))?;
    Ok((id, "an upload was begun".to_owned()))
}

async fn abort(bucket: &Bucket, upload: Option<String>) -> Answer<()> {
    let id = given(upload, "s3:PutObject in parts")?;
    let abort = bucket.client().await.abort_multipart_upload().bucket(&bucket.config.bucket);
    let aborted = abort.key(bucket.config.key(PROBE_NAME)).upload_id(&id).send().await;
    aborted.map_err(|error| {
        let error = unproven("s3:AbortMultipartUpload", MISSING, error);
        error.and(format!("the upload {id} is left, of no parts"))
    })?;
    Ok(((), "it was aborted".to_owned()))
}

/// Takes the object away, and in a bucket with versions those that were written for good.
async fn delete(
    bucket: &Bucket,
    versions: Vec<String>,
    is_known: bool,
    place: &str,
    deletes: bool,
) -> Answer<()> {
    let delete = async |version: Option<String>| {
        let delete = bucket.client().await.delete_object().bucket(&bucket.config.bucket);
        delete.key(bucket.config.key(PROBE_NAME)).set_version_id(version).send().await
    };
    let mut seen = match is_known {
        true => "nothing is left".to_owned(),
        false => "in a bucket with versions one may be left, hidden".to_owned(),
    };
    let versions: Vec<_> = versions.into_iter().filter(|it| it != "null").collect();
    let mut deleted = Ok(());
    if versions.is_empty() {
        deleted = delete(None).await.map(drop);
    }
    for version in versions {
        // Versions may be deleted by fewer than objects.
        if delete(Some(version.clone())).await.is_err() {
            seen = format!("what is left of it, hidden, is version {version}: delete it");
            deleted = delete(None).await.map(drop);
        }
    }
    deleted.map_err(|error| {
        let error = unproven("s3:DeleteObject", MISSING, error);
        let left = format!("the empty object `{place}` is left, which readers leave alone");
        match deletes {
            true => error.and(left),
            false => error.or_without(format!("{left}: delete it (the pipeline needs not)")),
        }
    })?;
    Ok(((), seen))
}
