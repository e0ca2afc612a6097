//! A place in a bucket that all hosts of a fleet see.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::{
    checkpoint::{StoreError, StoreErrorKind},
    sink::{Object, SinkError, SinkErrorKind},
};

use super::{S3Config, bucket::Bucket, probe, upload};
use crate::{
    objects::SharedObjects,
    probe::{Probed, Probing},
};

/// Keeps manifests and states below a prefix of a bucket.
pub struct SharedBucket {
    bucket: Arc<Bucket>,
}

impl SharedBucket {
    /// A place that no call has been made to yet. Nothing there is aborted: other hosts are at work.
    pub fn new(config: S3Config) -> Self {
        SharedBucket { bucket: Arc::new(Bucket::new(config)) }
    }

    /// What of a place works from here.
    pub async fn probe(config: S3Config, probing: Probing) -> Vec<Probed> {
        probe::probe(config, true, probing).await
    }
}

#[async_trait]
impl SharedObjects for SharedBucket {
    async fn put(&self, key: &str, content: Bytes) -> Result<(), StoreError> {
        let (bucket, object) = (self.bucket.clone(), Object::new(key, content));
        self.bucket.run(upload::write(bucket, vec![object])).await.map_err(store_error)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let (bucket, key) = (self.bucket.clone(), key.to_owned());
        let content = self.bucket.run(async move { bucket.content(&key).await }).await;
        content.map(|it| it.map(Bytes::from)).map_err(store_error)
    }

    async fn remove(&self, key: &str) -> Result<(), StoreError> {
        let (bucket, key) = (self.bucket.clone(), key.to_owned());
        self.bucket.run(async move { bucket.delete(&key).await }).await.map_err(store_error)
    }

    fn place(&self, key: &str) -> String {
        self.bucket.place(key)
    }
}

/// What a bucket's failure is for a store's callers.
fn store_error(error: SinkError) -> StoreError {
    let kind = match error.kind {
        SinkErrorKind::Unavailable { .. } => StoreErrorKind::Unavailable,
        SinkErrorKind::Occupied { .. } => StoreErrorKind::Conflict,
        _ => StoreErrorKind::Broken,
    };
    StoreError { kind, message: error.message, cause: error.cause }
}
