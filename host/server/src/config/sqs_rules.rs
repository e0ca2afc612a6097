//! What must hold for queues that get copies of dead letters.

use super::{CopyTo, Sqs, rules::Rules, tree::step, units::ByteSize};

/// Less than this is not sure to hold what is left of a letter whose payload lies elsewhere.
const MESSAGE_MIN: ByteSize = ByteSize(32 << 10);

impl Rules<'_> {
    pub(super) fn copy_to(&mut self, copy_to: &CopyTo, pointer: &str) {
        let CopyTo::Sqs(sqs) = copy_to;
        self.sqs(sqs, &step(pointer, "sqs"));
    }

    fn sqs(&mut self, sqs: &Sqs, pointer: &str) {
        if cfg!(not(feature = "sqs")) {
            let message = "this program was built without the feature `sqs`";
            self.find("one-of", pointer, message);
        }
        self.aws(sqs.aws(), pointer);
        let queue = sqs.queue.as_str();
        if queue.is_empty() {
            self.find("missing-key", pointer, "`queue` is the queue's URL");
        } else if !is_url(queue) {
            let message = format!(
                "`{queue}` is not a queue's URL: \
                 `https://sqs.eu-west-1.amazonaws.com/111122223333/dead-letters`"
            );
            self.find("invalid-value", &step(pointer, "queue"), message);
        } else if queue.ends_with(".fifo") {
            let message = "copies of dead letters have no order: a standard queue takes them, and a \
                           FIFO queue does not";
            self.find("unsupported", &step(pointer, "queue"), message);
        }
        if !(MESSAGE_MIN..=ByteSize::mib(1)).contains(&sqs.message_size) {
            let message = "SQS takes messages of up to 1 MiB, and less than 32 KiB may not hold what \
                           a letter says besides its record";
            self.find("out-of-range", &step(pointer, "message_size"), message);
        }
        let Some(offload) = &sqs.offload else {
            let message = "a letter holds a whole record, and may be larger than a message: `offload` \
                           names a place in a bucket for those";
            return self.find("missing-key", pointer, message);
        };
        let pointer = &step(pointer, "offload");
        self.s3(offload, pointer);
        if !offload.tree.is_empty() {
            let message = "these letters lie side by side: leave it out";
            self.find("unsupported", &step(pointer, "tree"), message);
        }
    }
}

/// Whether it is the address of something: with a server and a path.
pub(super) fn is_url(text: &str) -> bool {
    text.parse::<axum::http::Uri>().is_ok_and(|uri| {
        let scheme = uri.scheme_str();
        let is_web = scheme == Some("https") || scheme == Some("http");
        is_web && uri.host().is_some() && uri.path().len() > 1
    })
}
