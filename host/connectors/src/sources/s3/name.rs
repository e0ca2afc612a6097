//! What a partition is called: the version of an object that it is, or the message.

use tidegate_core::source::PartitionId;

/// One version of an object, whose bytes never change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObjectVersion {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) version: Version,
}

/// What tells a version from those that had, or will have, the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// The bucket keeps versions, and calls it so.
    Id(String),
    /// The bucket keeps none: S3's tag of the content, without its quotes.
    Tag(String),
}

const ID: &str = "?versionId=";
const TAG: &str = "?etag=";

/// What the name of a message begins with: no bucket's name has a colon.
const MESSAGE: &str = "sqs:";

impl ObjectVersion {
    pub(super) fn partition(&self) -> PartitionId {
        let ObjectVersion { bucket, key, version } = self;
        let (mark, version) = match version {
            Version::Id(id) => (ID, id),
            Version::Tag(tag) => (TAG, tag),
        };
        PartitionId(format!("{bucket}/{key}{mark}{version}").into())
    }

    /// Whom a partition stands for; none where it is another source's, or a message.
    pub(super) fn of(partition: &PartitionId) -> Option<Self> {
        let name = &*partition.0;
        if name.starts_with(MESSAGE) {
            return None;
        }
        // The last one: a key may have anything in it.
        let (at, mark) =
            [ID, TAG].iter().filter_map(|mark| Some((name.rfind(mark)?, *mark))).max()?;
        let (bucket, key) = name[..at].split_once('/')?;
        let version = name[at + mark.len()..].to_owned();
        let version = if mark == ID { Version::Id(version) } else { Version::Tag(version) };
        Some(ObjectVersion { bucket: bucket.to_owned(), key: key.to_owned(), version })
    }

    /// Where it lies, for people.
    pub(super) fn place(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.key)
    }
}

/// A message of a queue, which tells of no object.
pub(super) fn message(queue: &str, id: &str) -> PartitionId {
    let queue = queue.rsplit('/').next().unwrap_or(queue);
    PartitionId(format!("{MESSAGE}{queue}/{id}").into())
}

/// Whether a partition is a message.
pub(super) fn is_message(partition: &PartitionId) -> bool {
    partition.0.starts_with(MESSAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_version_of_which_object_it_is() {
        for (key, version) in [
            (
                "logs/2026/a b+c.jsonl",
                Version::Tag("0f343b0931126a20f133d67c2b018a3b-2".to_owned()),
            ),
            ("x?etag=1?versionId=2", Version::Id("3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY".to_owned())),
            ("x?versionId=2", Version::Tag("1".to_owned())),
            ("?", Version::Id("null".to_owned())),
        ] {
            let object =
                ObjectVersion { bucket: "my.bucket".to_owned(), key: key.to_owned(), version };
            assert_eq!(ObjectVersion::of(&object.partition()), Some(object));
        }
        let letter = message("https://sqs.eu-west-1.amazonaws.com/1/inbox", "a-b?etag=1");
        assert_eq!(&*letter.0, "sqs:inbox/a-b?etag=1");
        assert!(is_message(&letter) && ObjectVersion::of(&letter).is_none());
        assert_eq!(ObjectVersion::of(&PartitionId::from("shardId-000000000000")), None);
    }
}
