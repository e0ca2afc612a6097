//! What must hold for Firehose streams.

use super::{Compression, Firehose, Sink, rules::Rules, tree::step};

impl Rules<'_> {
    pub(super) fn firehose(&mut self, firehose: &Firehose, sink: &Sink, pointer: &str) {
        if cfg!(not(feature = "firehose")) {
            let message = "this program was built without the feature `firehose`";
            self.find("one-of", &step(pointer, "firehose"), message);
        }
        self.aws(firehose.aws(), &step(pointer, "firehose"));
        let stream = firehose.stream.as_str();
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if stream.is_empty() {
            self.find("missing-key", &step(pointer, "firehose"), "`stream` names the stream");
        } else if stream.len() > 64 || !stream.chars().all(plain) {
            let message = format!(
                "`{stream}` is not a stream's name: 1 to 64 letters, digits, `_`, `.` and `-`"
            );
            self.find("invalid-value", &format!("{pointer}/firehose/stream"), message);
        }
        if sink.compression != Compression::None {
            let message = "Firehose takes records and not files: let the stream compress them";
            self.find("one-of", &step(pointer, "compression"), message);
        }
    }
}
