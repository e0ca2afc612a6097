//! The requests to S3, one at a time: what each asks for, and what its answer says.

use std::{collections::HashMap, error::Error, fs::File, io::Write, path::Path, time::Duration};

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        create_multipart_upload::builders::CreateMultipartUploadFluentBuilder,
        get_object::GetObjectOutput, put_object::builders::PutObjectFluentBuilder,
    },
    types::{ChecksumAlgorithm, ServerSideEncryption, StorageClass},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tidegate_core::{
    ObjectDigest,
    digest::ObjectHasher,
    sink::{Object, SinkError, SinkErrorKind},
};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::{
    Checksum, Encryption, S3Config,
    failure::Refusal,
    meters::{Ended, Meters},
};
use crate::{
    aws::{self, Io},
    probe::PROBE_NAME,
};

/// A part of the usual size over a line of one megabit takes two minutes.
const CALL_MAX: Duration = Duration::from_secs(150);

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 1024;

/// A partition's name beyond this is left out: all metadata of an object is two kilobytes.
const PARTITION_BYTES_MAX: usize = 1024;

/// Our metadata.
const DIGEST: &str = "tidegate-digest";
const BYTES: &str = "tidegate-bytes";

/// What stands as it is in metadata and in tags.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'/');

/// A place in a bucket.
pub(super) struct Bucket {
    pub(super) config: S3Config,
    pub(super) meters: Meters,
    client: OnceCell<Client>,
    io: Io,
    /// Requests with content, and kibibytes of their contents, that may still begin.
    requests: Semaphore,
    kibibytes: Semaphore,
    kibibytes_max: u32,
}

/// What lies under a key.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// S3's own tag: names this content under this key.
    pub(super) etag: Option<String>,
    /// What our metadata says of the content, if it can be of this one.
    digest: Option<ObjectDigest>,
}

/// Leave for one request with content.
pub(super) struct Admitted<'a> {
    _request: SemaphorePermit<'a>,
    _kibibytes: SemaphorePermit<'a>,
}

impl Bucket {
    pub(super) fn new(config: S3Config) -> Self {
        let kibibytes = u32::try_from(config.uploading_bytes_max >> 10).unwrap_or(u32::MAX >> 3);
        let kibibytes_max = kibibytes.max(1);
        Bucket {
            meters: Meters::new(&config.pipeline, &config.name),
            client: OnceCell::new(),
            io: Io::here(),
            requests: Semaphore::new(config.uploads_max.max(1)),
            kibibytes: Semaphore::new(kibibytes_max as usize),
            kibibytes_max,
            config,
        }
    }

    /// Does some work where I/O is done.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, SinkError>> + Send + 'static,
    ) -> Result<T, SinkError> {
        self.io.run(work).await.unwrap_or_else(|error| {
            let message = "requests to S3 were not finished";
            Err(SinkError::new(SinkErrorKind::Unavailable { after: None }, message, error))
        })
    }

    /// Waits until one more request with so much content may be under way.
    pub(super) async fn admit(&self, bytes: usize) -> Admitted<'_> {
        let kibibytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let open = "nobody closes it";
        Admitted {
            _request: self.requests.acquire().await.expect(open),
            _kibibytes: self
                .kibibytes
                .acquire_many(kibibytes.min(self.kibibytes_max))
                .await
                .expect(open),
        }
    }

    pub(super) async fn client(&self) -> &Client {
        let Bucket { config, client, .. } = self;
        client.get_or_init(|| aws::s3::client(&config.aws, config.path_style, CALL_MAX)).await
    }

    /// Where an object lies, for people.
    pub(super) fn place(&self, key: &str) -> String {
        format!("s3://{}/{}", self.config.bucket, self.config.key(key))
    }

    /// Whether a key is one. What others make paths of stays below the prefix there too.
    pub(super) fn check_key(&self, key: &str) -> Result<(), SinkError> {
        let why = if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
            "it has a part that is not a name"
        } else if key.contains(char::is_control) {
            "it contains a control character"
        } else if self.config.key(key).len() > KEY_BYTES_MAX {
            "with the prefix it is longer than 1024 bytes"
        } else {
            return Ok(());
        };
        let message = format!("`{key}` can't be the name of an object: {why}");
        Err(SinkError::plain(SinkErrorKind::Broken, message))
    }

    /// Counts how a request has ended, and says what its failure means.
    pub(super) fn ended<T, E>(
        &self,
        operation: &'static str,
        what: impl FnOnce() -> String,
        answer: Result<T, SdkError<E>>,
    ) -> Result<T, Refusal>
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let answer = answer.map_err(|error| Refusal::of(what, error));
        let ended = match &answer {
            Ok(_) => Ended::Done,
            Err(Refusal::Precondition | Refusal::Absent) => Ended::Refused,
            Err(Refusal::Failed(_)) => Ended::Failed,
        };
        self.meters.ended(operation, ended);
        answer
    }

    /// What lies under a key, without reading it.
    pub(super) async fn look(&self, key: &str) -> Result<Option<Found>, SinkError> {
        let what = || format!("look for `{}`", self.place(key));
        let head = self.client().await.head_object();
        let head = head.bucket(&self.config.bucket).key(self.config.key(key)).send().await;
        let head = match self.ended("head", what, head) {
            Ok(head) => head,
            Err(Refusal::Absent) => return Ok(None),
            Err(refusal) => return Err(refusal.into_error(what)),
        };
        let said = |name: &str| head.metadata()?.get(name).map(String::as_str);
        let bytes = said(BYTES).and_then(|it| it.parse::<i64>().ok());
        // Tools that put other content in the place of an object may keep its metadata.
        let digest = said(DIGEST).filter(|_| bytes.is_some() && bytes == head.content_length());
        let digest = digest.and_then(|it| it.parse().ok());
        Ok(Some(Found { etag: head.e_tag, digest }))
    }

    /// The digest of what lies under a key. Without our metadata only its content tells.
    pub(super) async fn find(&self, key: &str) -> Result<Option<(ObjectDigest, Found)>, SinkError> {
        let Some(found) = self.look(key).await? else { return Ok(None) };
        if let Some(digest) = found.digest {
            return Ok(Some((digest, found)));
        }
        let mut hasher = ObjectHasher::default();
        let etag = found.etag.clone();
        match self
            .read(key, etag, |piece| {
                hasher.update(piece);
                Ok(())
            })
            .await?
        {
            true => Ok(Some((hasher.finish(), found))),
            false => Ok(None),
        }
    }

    /// Takes an object piece by piece. Says whether there is one.
    async fn read(
        &self,
        key: &str,
        etag: Option<String>,
        mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<bool, SinkError> {
        let what = || format!("read `{}`", self.place(key));
        let get = self.client().await.get_object().bucket(&self.config.bucket);
        let get = get.key(self.config.key(key)).set_if_match(etag).send().await;
        let GetObjectOutput { mut body, .. } = match self.ended("get", what, get) {
            Ok(got) => got,
            Err(Refusal::Absent) => return Ok(false),
            Err(refusal) => return Err(refusal.into_error(what)),
        };
        let failed = |kind, error: Box<dyn Error + Send + Sync>| {
            SinkError::new(kind, format!("failed to {}", what()), error)
        };
        while let Some(piece) = body.next().await {
            let away = SinkErrorKind::Unavailable { after: None };
            let piece = piece.map_err(|error| failed(away, error.into()))?;
            take(&piece).map_err(|error| failed(SinkErrorKind::Broken, error.into()))?;
        }
        Ok(true)
    }

    /// An object's content, in memory.
    #[cfg(feature = "dynamodb")]
    pub(super) async fn content(&self, key: &str) -> Result<Option<Vec<u8>>, SinkError> {
        let mut content = Vec::new();
        let there = self.read(key, None, |piece| {
            content.extend_from_slice(piece);
            Ok(())
        });
        Ok(there.await?.then_some(content))
    }

    /// Deletes an object. One that is gone is no error, as S3 sees it.
    #[cfg(feature = "dynamodb")]
    pub(super) async fn delete(&self, key: &str) -> Result<(), SinkError> {
        let what = || format!("delete `{}`", self.place(key));
        let delete = self.client().await.delete_object().bucket(&self.config.bucket);
        let deleted = delete.key(self.config.key(key)).send().await;
        match self.ended("delete", what, deleted) {
            Ok(_) | Err(Refusal::Absent) => Ok(()),
            Err(refusal) => Err(refusal.into_error(what)),
        }
    }

    /// Copies an object to a new file.
    pub(super) async fn fetch(&self, key: &str, path: &Path) -> Result<bool, SinkError> {
        let mut file = File::create_new(path).map_err(|error| {
            let message = format!("failed to create `{}`", path.display());
            SinkError::new(SinkErrorKind::Broken, message, error)
        })?;
        self.read(key, None, |piece| file.write_all(piece)).await
    }

    /// All keys below the prefix, without it, in order. What a probe has left is not among them.
    pub(super) async fn list(&self) -> Result<Vec<String>, SinkError> {
        let prefix = self.config.key("");
        let what = || format!("list `{}`", self.place(""));
        let mut keys = Vec::new();
        let mut token = None;
        loop {
            let page = self.client().await.list_objects_v2().bucket(&self.config.bucket);
            let page = page.prefix(&prefix).set_continuation_token(token).send().await;
            let page = self.ended("list", what, page).map_err(|it| it.into_error(what))?;
            let below = page.contents().iter().filter_map(|it| it.key()?.strip_prefix(&prefix));
            keys.extend(below.filter(|it| *it != PROBE_NAME).map(str::to_owned));
            token = page.next_continuation_token;
            if token.is_none() {
                keys.sort();
                return Ok(keys);
            }
        }
    }

    /// Aborts all uploads below the prefix. None of them can be of this process, which has not begun
    /// one. One of another process, should it live, fails there, and begins again.
    pub(super) async fn abort_orphans(&self) -> Result<(), SinkError> {
        let prefix = self.config.key("");
        let what = || format!("list unfinished uploads below `{}`", self.place(""));
        let (mut key, mut id) = (None, None);
        loop {
            let page = self.client().await.list_multipart_uploads().bucket(&self.config.bucket);
            let page = page.prefix(&prefix).set_key_marker(key).set_upload_id_marker(id);
            let page = match self.ended("list_uploads", what, page.send().await) {
                Ok(page) => page,
                Err(refusal) => return self.left_alone(refusal.into_error(what)),
            };
            for upload in page.uploads() {
                if let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) {
                    self.abort(key, id).await;
                    self.meters.orphan();
                }
            }
            (key, id) = (page.next_key_marker, page.next_upload_id_marker);
            if !page.is_truncated.unwrap_or_default() || key.is_none() {
                return Ok(());
            }
        }
    }

    /// Orphans cost storage and nothing else: for their sake nothing fails that would work.
    fn left_alone(&self, error: SinkError) -> Result<(), SinkError> {
        let cause = error.cause.as_deref().map(ToString::to_string).unwrap_or_default();
        if cause.starts_with("NoSuchBucket") {
            return Err(error);
        }
        let sink = &self.config.name;
        tracing::warn!(%sink, "unfinished uploads of earlier runs are left alone: {error}: {cause}");
        Ok(())
    }

    /// Gives up an upload of the bucket's key. What remains is aborted by the next process.
    pub(super) async fn abort(&self, key: &str, id: &str) {
        let abort = self.client().await.abort_multipart_upload().bucket(&self.config.bucket);
        let aborted = abort.key(key).upload_id(id).send().await;
        if let Err(Refusal::Failed(error)) =
            self.ended("abort", || format!("abort an upload of `{key}`"), aborted)
        {
            tracing::debug!("{error}");
        }
    }

    /// What S3 checks content by.
    pub(super) fn checksum(&self) -> ChecksumAlgorithm {
        match self.config.checksum {
            Checksum::Crc64Nvme => ChecksumAlgorithm::Crc64Nvme,
            Checksum::Crc32 => ChecksumAlgorithm::Crc32,
            Checksum::Sha256 => ChecksumAlgorithm::Sha256,
        }
    }

    /// A request that creates an object in one piece, but for its content.
    pub(super) async fn put(&self, object: &Object) -> PutObjectFluentBuilder {
        let described = self.described(object);
        self.client()
            .await
            .put_object()
            .bucket(&self.config.bucket)
            .key(self.config.key(&object.key))
            .checksum_algorithm(self.checksum())
            .set_metadata(Some(described.metadata))
            .set_tagging(described.tags)
            .set_storage_class(described.storage_class)
            .set_server_side_encryption(described.encryption)
            .set_ssekms_key_id(described.key)
            .set_bucket_key_enabled(described.bucket_key)
    }

    /// A request that begins to create an object in parts.
    pub(super) async fn create(&self, object: &Object) -> CreateMultipartUploadFluentBuilder {
        let described = self.described(object);
        self.client()
            .await
            .create_multipart_upload()
            .bucket(&self.config.bucket)
            .key(self.config.key(&object.key))
            .checksum_algorithm(self.checksum())
            .set_metadata(Some(described.metadata))
            .set_tagging(described.tags)
            .set_storage_class(described.storage_class)
            .set_server_side_encryption(described.encryption)
            .set_ssekms_key_id(described.key)
            .set_bucket_key_enabled(described.bucket_key)
    }

    fn described(&self, object: &Object) -> Described {
        let encoded = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
        let mut metadata = HashMap::from([
            (DIGEST.to_owned(), object.digest.to_string()),
            (BYTES.to_owned(), object.content.len().to_string()),
        ]);
        if let Some(from) = &object.provenance {
            let partition = encoded(&from.partition.0);
            let said = [
                ("tidegate-pipeline", encoded(&from.pipeline)),
                ("tidegate-generation", from.generation.to_string()),
                ("tidegate-partition", partition),
                ("tidegate-range", from.range.to_string()),
                ("tidegate-revision", from.revision.to_string()),
            ];
            let fits = said.into_iter().filter(|(_, text)| text.len() <= PARTITION_BYTES_MAX);
            metadata.extend(fits.map(|(name, text)| (name.to_owned(), text)));
        }
        let tags = self.config.tags.iter();
        let tags: Vec<String> =
            tags.map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let (encryption, key, bucket_key) = match &self.config.encryption {
            Encryption::Bucket => (None, None, None),
            Encryption::S3 => (Some(ServerSideEncryption::Aes256), None, None),
            Encryption::Kms { key, bucket_key } => {
                (Some(ServerSideEncryption::AwsKms), key.clone(), *bucket_key)
            }
        };
        Described {
            metadata,
            tags: (!tags.is_empty()).then(|| tags.join("&")),
            storage_class: self.config.storage_class.as_deref().map(StorageClass::from),
            encryption,
            key,
            bucket_key,
        }
    }
}

/// What an object has beside its content.
struct Described {
    metadata: HashMap<String, String>,
    tags: Option<String>,
    storage_class: Option<StorageClass>,
    encryption: Option<ServerSideEncryption>,
    key: Option<String>,
    bucket_key: Option<bool>,
}
