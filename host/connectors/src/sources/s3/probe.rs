//! Probes of a queue and of the bucket that it tells of. A message is not received, for it would be
//! hidden from the pipeline; an object is only read where there is one.

use aws_sdk_s3::{error::ProvideErrorMetadata, types::Object};
use aws_sdk_sqs::types::QueueAttributeName as Name;

use super::{S3Source, object::Bucket, queue::Queue};
use crate::{
    aws::{
        probe::{credentials, unproven},
        sqs::{ATTRIBUTES, attributes},
    },
    probe::{
        Answer,
        ProbeLevel::{Connect, Read},
        Probed, Probes, Probing, Unproven, given,
    },
};

const MISSING: &str = "create the bucket, or correct `bucket`";

impl S3Source {
    /// What of the queue and of the bucket works from here.
    pub async fn probe(&self, probing: Probing) -> Vec<Probed> {
        let mut probes = Probes::new(probing);
        let bucket = &*self.bucket;
        // Those of the bucket are the same.
        let found = credentials(&mut probes, &bucket.config.queue_aws).await;
        probe_queue(bucket, &mut probes).await;
        if found.is_some() {
            probes.elsewhere();
        }
        probe_bucket(bucket, &mut probes).await;
        probes.found()
    }
}

async fn probe_queue(bucket: &Bucket, probes: &mut Probes) {
    let queue = &bucket.config.queue;
    let describe = async {
        let client = Queue::new(&bucket.config).client().await.clone();
        let asked = attributes(&client, queue).await?;
        let waiting = asked.get(&Name::ApproximateNumberOfMessages);
        let waiting = waiting.map_or("an unknown number of", String::as_str);
        Ok(((), format!("the queue is there, with about {waiting} messages")))
    };
    probes.ask(Connect, ATTRIBUTES, queue, describe).await;
    let why = "a message that is received is hidden from the pipeline";
    probes.leave(Read, "sqs:ReceiveMessage", queue, why);
    for action in ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage"] {
        probes.leave(Read, action, queue, "it takes a message that was received");
    }
}

async fn probe_bucket(bucket: &Bucket, probes: &mut Probes) {
    let config = &bucket.config;
    let below = format!("s3://{}/{}", config.bucket, config.prefix);
    let listed = probes.ask(Connect, "s3:ListBucket", &below, list(bucket)).await;
    let object = listed.flatten();
    let place = match object.as_ref().and_then(Object::key) {
        Some(key) => format!("s3://{}/{key}", config.bucket),
        None => below,
    };
    let version = probes.ask(Read, "s3:GetObject", &place, get(bucket, object)).await;
    let get_version = get_version(bucket, version);
    probes.ask(Read, "s3:GetObjectVersion", &place, get_version).await;
}

/// An object that would be read, of those that come first.
async fn list(bucket: &Bucket) -> Answer<Option<Object>> {
    let config = &bucket.config;
    let list = bucket.client().await.list_objects_v2().bucket(&config.bucket);
    let listed = list.prefix(&config.prefix).send().await;
    let listed = listed.map_err(|error| unproven("s3:ListBucket", MISSING, error))?;
    let objects = listed.contents.unwrap_or_default();
    let object = objects.into_iter().find(|it| it.key().is_some_and(|key| config.wants(key)));
    Ok((object, "the bucket is there".to_owned()))
}

/// Reads the first byte of an object, and gives its key, and its version where it has one.
async fn get(bucket: &Bucket, object: Option<Object>) -> Answer<(String, Option<String>)> {
    let unproven_by =
        "only an object proves it, and of the first ones below the prefix none is meant";
    let object = object.ok_or_else(|| Unproven::unknown(unproven_by))?;
    let key = object.key.unwrap_or_default();
    let get = bucket.client().await.get_object().bucket(&bucket.config.bucket).key(&key);
    // An empty one has no first byte.
    let range = (object.size != Some(0)).then(|| "bytes=0-0".to_owned());
    let got = get.set_range(range).send().await.map_err(|error| match error.code() {
        Some("NoSuchKey") => Unproven::unknown("somebody has deleted the object meanwhile"),
        Some("InvalidObjectState") => {
            Unproven::unknown("the first object is archived: of another one it may be allowed")
        }
        _ => unproven("s3:GetObject", MISSING, error),
    })?;
    let seen = "its first byte; of others a policy may say otherwise".to_owned();
    Ok(((key, got.version_id.filter(|it| it != "null")), seen))
}

async fn get_version(bucket: &Bucket, found: Option<(String, Option<String>)>) -> Answer<()> {
    let (key, version) = given(found, "s3:GetObject")?;
    let none = "the bucket keeps no versions, or none of this object: then it is not asked for";
    let version = version.ok_or_else(|| Unproven::unknown(none))?;
    let head = bucket.client().await.get_object().bucket(&bucket.config.bucket).key(key);
    let found = head.version_id(version).range("bytes=0-0").send().await;
    match found {
        // An empty one has no first byte, and may be read.
        Err(error) if error.code() != Some("InvalidRange") => {
            Err(unproven("s3:GetObjectVersion", MISSING, error))
        }
        _ => Ok(((), "its first byte, by its version".to_owned())),
    }
}
