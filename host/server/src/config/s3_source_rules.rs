//! What must hold for objects that are read as they are created.

use super::{
    rules::Rules,
    s3_source::S3Source,
    source::{OnLost, Source},
    sqs_rules::is_url,
    tree::step,
    units::{ByteSize, TimeSpan},
};

const POINTER: &str = "/source/s3";

/// SQS hides a message for no longer.
const VISIBILITY_MAX: TimeSpan = TimeSpan::seconds(12 * 3600);
/// A message must be hidden again before its time is over.
const VISIBILITY_MIN: TimeSpan = TimeSpan::seconds(2);
/// The least and the most that a queue can keep messages for, with a day on top.
const REMEMBER_MIN: TimeSpan = TimeSpan::seconds(60);

impl Rules<'_> {
    /// The objects, and that nothing but what they hold stands beside them.
    pub(super) fn s3_source(&mut self, s3: &S3Source, source: &Source) {
        if cfg!(not(feature = "s3-source")) {
            let message = "this program was built without the feature `s3-source`";
            self.find("one-of", POINTER, message);
        }
        self.aws(s3.aws(), POINTER);
        if let Some(endpoint) = &s3.queue_endpoint {
            self.endpoint(endpoint, &step(POINTER, "queue_endpoint"));
        }
        self.bucket_name(&s3.bucket, POINTER);
        let queue = s3.queue.as_str();
        let pointer = &step(POINTER, "queue");
        if queue.is_empty() {
            self.find("missing-key", POINTER, "`queue` is the queue's URL");
        } else if !is_url(queue) {
            let message = format!(
                "`{queue}` is not a queue's URL: \
                 `https://sqs.eu-west-1.amazonaws.com/111122223333/inbox`"
            );
            self.find("invalid-value", pointer, message);
        } else if queue.ends_with(".fifo") {
            let message = "a FIFO queue holds back what comes behind an object that is not done: a \
                           standard queue is wanted";
            self.find("unsupported", pointer, message);
        }
        if !(VISIBILITY_MIN..=VISIBILITY_MAX).contains(&s3.visibility) {
            let message = "SQS hides a message for up to 12 hours: from `2s` to `12h`";
            self.find("out-of-range", &step(POINTER, "visibility"), message);
        }
        if s3.remember < REMEMBER_MIN {
            let message = "a queue keeps messages for at least a minute: no less";
            self.find("out-of-range", &step(POINTER, "remember"), message);
        }
        if !(ByteSize::mib(1)..=ByteSize::mib(512)).contains(&s3.chunk_size) {
            let message = "from 1 MiB to 512 MiB";
            self.find("out-of-range", &step(POINTER, "chunk_size"), message);
        }
        self.holds(source);
    }

    /// What the objects hold: without paths, and not followed.
    fn holds(&mut self, source: &Source) {
        let formats = [
            ("ndjson", source.ndjson.as_ref().map(|it| (&it.paths, it.follow, it.on_lost))),
            ("csv", source.csv.as_ref().map(|it| (&it.paths, it.follow, it.on_lost))),
            ("parquet", source.parquet.as_ref().map(|it| (&it.paths, false, OnLost::Stop))),
            ("avro", source.avro.as_ref().map(|it| (&it.paths, false, OnLost::Stop))),
            ("protobuf", source.protobuf.as_ref().map(|it| (&it.paths, false, OnLost::Stop))),
            ("text", source.text.as_ref().map(|it| (&it.paths, it.follow, it.on_lost))),
            ("whole_file", source.whole_file.as_ref().map(|it| (&it.paths, false, OnLost::Stop))),
        ];
        let given: Vec<&str> =
            formats.iter().filter(|it| it.1.is_some()).map(|(name, _)| *name).collect();
        if given.len() > 1 {
            let message = format!(
                "objects hold one thing, and these are {}: leave all but one out",
                given.len()
            );
            self.find("one-of", "/source", message);
        }
        for (name, given) in formats {
            let Some((paths, follow, on_lost)) = given else { continue };
            let pointer = step("/source", name);
            if !paths.is_empty() {
                let message = "the queue tells which objects there are: leave `paths` out, or `s3`";
                self.find("one-of", &step(&pointer, "paths"), message);
            }
            if follow {
                let message = "an object never grows: leave it out";
                self.find("one-of", &step(&pointer, "follow"), message);
            }
            if on_lost != OnLost::Stop {
                let message = "it is for files that are followed; for objects there is `on_gone`";
                self.find("one-of", &step(&pointer, "on_lost"), message);
            }
        }
        let others = [
            ("stdin", source.stdin.is_some()),
            ("kinesis", source.kinesis.is_some()),
            ("generator", source.generator.is_some()),
        ];
        for (name, _) in others.iter().filter(|it| it.1) {
            let message = format!("`{name}` is no format of objects: leave it or `s3` out");
            self.find("one-of", &step("/source", name), message);
        }
    }
}
