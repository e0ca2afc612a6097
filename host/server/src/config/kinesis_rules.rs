//! What must hold for Kinesis streams, to read from and to write to.

use tidegate_core::{Origin, description::HostValue};

use super::{
    Compression, KinesisSink, Sink, rules::Rules, source::Source, tree::step, units::ByteSize,
};

impl Rules<'_> {
    /// A stream by its name or its ARN.
    pub(super) fn kinesis_stream(&mut self, stream: &str, pointer: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let is_name = (1..=128).contains(&stream.len()) && stream.chars().all(plain);
        let is_arn = stream.starts_with("arn:") && stream.contains(":stream/");
        if stream.is_empty() {
            self.find("missing-key", pointer, "`stream` names the stream");
        } else if !is_name && !is_arn {
            let message = format!(
                "`{stream}` is neither a stream's name (letters, digits, `_`, `-` and `.`, at most \
                 128) nor its ARN (`arn:aws:kinesis:…:stream/…`)"
            );
            self.find("invalid-value", &step(pointer, "stream"), message);
        }
    }

    pub(super) fn kinesis_sink(
        &mut self,
        kinesis: &KinesisSink,
        sink: &Sink,
        source: &Source,
        sink_pointer: &str,
    ) {
        let pointer = &step(sink_pointer, "kinesis");
        if cfg!(not(feature = "kinesis")) {
            let message = "this program was built without the feature `kinesis`";
            self.find("one-of", pointer, message);
        }
        self.aws(kinesis.aws(), pointer);
        self.kinesis_stream(&kinesis.stream, pointer);
        self.sink_partition_key(kinesis, source, pointer);
        let sizes = ByteSize::mib(1)..=ByteSize::mib(10);
        for (name, size) in
            [("record_size", kinesis.record_size), ("request_size", kinesis.request_size)]
        {
            if !sizes.contains(&size) {
                let message = "Kinesis takes up to 10 MiB: from 1 MiB to 10 MiB";
                self.find("out-of-range", &step(pointer, name), message);
            }
        }
        if kinesis.request_size < kinesis.record_size {
            let message = "one record must fit: at least `record_size`";
            self.find("out-of-range", &step(pointer, "request_size"), message);
        }
        if sink.compression != Compression::None {
            let message = "Kinesis takes records and not files: leave it out";
            self.find("one-of", &step(sink_pointer, "compression"), message);
        }
    }

    fn sink_partition_key(&mut self, kinesis: &KinesisSink, source: &Source, pointer: &str) {
        let written = &kinesis.partition_key;
        match kinesis.partition_key() {
            None => {
                let message = format!(
                    "`{written}` is nothing to partition by: a field, such as `user.id`, or one of \
                     `@partition-key`, `@record-id`, `@partition` and `@source`"
                );
                self.find("invalid-value", &step(pointer, "partition_key"), message);
            }
            Some(Origin::Host(HostValue::PartitionKey))
                if source.kinesis.is_none()
                    && source.lambda.is_none()
                    && source.partition_key().is_none() =>
            {
                let message = "records of this source have no partition key of their own: \
                               `partition_key` names a field, or says `@record-id` where no two \
                               records need an order";
                self.find("missing-key", pointer, message);
            }
            Some(_) => {}
        }
    }
}
