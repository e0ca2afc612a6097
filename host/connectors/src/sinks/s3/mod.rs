//! A prefix of an S3 bucket as a sink: objects are created once and never changed.
//!
//! An object is created by a request that says `If-None-Match: *`, in one piece or in parts. So of
//! any number of writers one wins, and whoever lists the bucket sees whole objects only. Its digest
//! and where it comes from stand in its metadata, which S3 keeps with the content: after a lost
//! answer, or where somebody else was faster, one request tells whether what lies there is the
//! same. S3's own tag of an object does not: it depends on the parts.
//!
//! An object without our metadata is somebody else's, or a copy that lost it. It is read and
//! digested, for only its content says whether it may stay.
//!
//! ```text
//! write ─► put, or create ─► parts ─► complete      If-None-Match: *
//!            412: head ─► the digest there decides
//! ```

mod bucket;
mod failure;
mod meters;
mod probe;
#[cfg(feature = "dynamodb")]
mod shared;
mod upload;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use async_trait::async_trait;
use tidegate_core::{
    ObjectDigest, Sink,
    sink::{Naming, Object, SinkError},
};

use self::bucket::Bucket;
#[cfg(feature = "dynamodb")]
pub use self::shared::SharedBucket;
use crate::{
    aws::AwsConfig,
    probe::{Probed, Probing},
};

/// A place in a bucket, and how objects are written there.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// The sink's name.
    pub name: String,
    /// The pipeline's name, for metrics.
    pub pipeline: String,
    /// The bucket.
    pub bucket: String,
    /// What all keys begin with; a `/` follows. Nothing else may write there.
    pub prefix: String,
    /// Which account and region.
    pub aws: AwsConfig,
    /// The bucket stands in the path of a request, and not in the server's name.
    pub path_style: bool,
    /// Whether uploads that are not finished are aborted at the start: nobody else is at work below
    /// the prefix.
    pub abort_orphans: bool,
    /// How objects are encrypted at rest.
    pub encryption: Encryption,
    /// The storage class, as S3 calls it; without one the bucket's.
    pub storage_class: Option<String>,
    /// Tags of each object.
    pub tags: BTreeMap<String, String>,
    /// What S3 checks each request's bytes by.
    pub checksum: Checksum,
    /// Larger objects are uploaded in parts of this many bytes: at least 5 MiB.
    pub part_bytes: usize,
    /// Requests with content that are under way at once.
    pub uploads_max: usize,
    /// Bytes of their contents.
    pub uploading_bytes_max: usize,
}

impl S3Config {
    /// A place in a bucket, with the bucket's own encryption and storage class.
    pub fn new(
        name: impl Into<String>,
        bucket: impl Into<String>,
        prefix: impl Into<String>,
    ) -> Self {
        S3Config {
            name: name.into(),
            pipeline: String::new(),
            bucket: bucket.into(),
            prefix: prefix.into(),
            aws: AwsConfig::default(),
            path_style: false,
            abort_orphans: true,
            encryption: Encryption::default(),
            storage_class: None,
            tags: BTreeMap::new(),
            checksum: Checksum::default(),
            // What a connection uploads in some tenths of a second.
            part_bytes: 16 << 20,
            // S3 takes 3,500 writes a second to a prefix: no bucket minds, and a line of ten
            // gigabits is filled.
            uploads_max: 32,
            // Eight parts of the largest size that is usual.
            uploading_bytes_max: 128 << 20,
        }
    }

    /// A key as the bucket has it.
    fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.prefix.trim_end_matches('/'))
    }
}

/// How objects are encrypted at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket says.
    #[default]
    Bucket,
    /// With keys of S3's own.
    S3,
    /// With a key of KMS.
    Kms {
        /// The key's ARN or id; without it AWS's own for S3.
        key: Option<String>,
        /// One key of KMS serves many objects, which saves calls to it; without it the bucket
        /// decides.
        bucket_key: Option<bool>,
    },
}

/// What S3 checks the bytes of a request by, before it keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// What S3 itself would take.
    #[default]
    Crc64Nvme,
    /// Known to most servers that are compatible with S3.
    Crc32,
    /// Slow, where the processor has no instructions for it.
    Sha256,
}

/// Keeps objects under a prefix of a bucket.
///
/// A server that is overloaded or away is unavailable, and so are conflicts and credentials that have
/// expired. What S3 will not do without a person, for want of a permission, of the bucket or of the
/// key to encrypt with, is broken: see [`SinkErrorKind`](tidegate_core::sink::SinkErrorKind).
pub struct S3Sink {
    name: String,
    bucket: Arc<Bucket>,
}

impl S3Sink {
    /// A sink over a place in a bucket. Aborts uploads that an earlier process left unfinished.
    ///
    /// # Errors
    /// Where the bucket can't be used as the config says. A server that is away is none: the
    /// pipeline waits for it.
    pub async fn open(config: S3Config) -> Result<Self, SinkError> {
        let name = config.name.clone();
        let bucket = Arc::new(Bucket::new(config));
        if bucket.config.abort_orphans {
            let cleaned = bucket.clone();
            bucket.run(async move { cleaned.abort_orphans().await }).await?;
        }
        Ok(S3Sink { name, bucket })
    }

    /// What of a place in a bucket works from here.
    pub async fn probe(config: S3Config, probing: Probing) -> Vec<Probed> {
        probe::probe(config, false, probing).await
    }
}

#[async_trait]
impl Sink for S3Sink {
    fn name(&self) -> &str {
        &self.name
    }

    fn naming(&self) -> Naming {
        Naming::Named
    }

    async fn write(&self, objects: &[Object]) -> Result<(), SinkError> {
        for object in objects {
            self.bucket.check_key(&object.key)?;
        }
        let (bucket, objects) = (self.bucket.clone(), objects.to_vec());
        self.bucket.run(upload::write(bucket, objects)).await
    }

    async fn find(&self, key: &str) -> Result<Option<ObjectDigest>, SinkError> {
        self.bucket.check_key(key)?;
        let (bucket, key) = (self.bucket.clone(), key.to_owned());
        let found = self.bucket.run(async move { bucket.find(&key).await });
        Ok(found.await?.map(|(digest, _)| digest))
    }

    async fn occupy(&self, empty: &Object, superseded: ObjectDigest) -> Result<(), SinkError> {
        self.bucket.check_key(&empty.key)?;
        let (bucket, empty) = (self.bucket.clone(), empty.clone());
        self.bucket.run(async move { upload::occupy(&bucket, &empty, superseded).await }).await
    }
}

/// Reads what an [`S3Sink`] has written, as a consumer would.
pub struct S3Reader {
    bucket: Arc<Bucket>,
}

impl S3Reader {
    /// A reader that has made no call yet.
    pub fn new(config: S3Config) -> Self {
        S3Reader { bucket: Arc::new(Bucket::new(config)) }
    }

    /// The keys of all objects below the prefix, without it, in order.
    pub async fn list(&self) -> Result<Vec<String>, SinkError> {
        let bucket = self.bucket.clone();
        self.bucket.run(async move { bucket.list().await }).await
    }

    /// Copies an object to a file that is not there yet. Says whether there is such an object.
    pub async fn fetch(&self, key: &str, path: &Path) -> Result<bool, SinkError> {
        let (bucket, key, path) = (self.bucket.clone(), key.to_owned(), path.to_owned());
        self.bucket.run(async move { bucket.fetch(&key, &path).await }).await
    }

    /// Where an object lies, for people.
    pub fn place(&self, key: &str) -> String {
        self.bucket.place(key)
    }
}
