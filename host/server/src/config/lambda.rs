//! AWS Lambda as a place to run in, as an operator writes it: what comes with an invocation, and what
//! goes into its answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{firehose::Delimiter, kinesis::PayloadCompression, sink::Level};

/// The records that an AWS Lambda function is invoked with, of Amazon Kinesis or of Amazon Data
/// Firehose: for `tidegate lambda` alone. What else a pipeline says of its source is of no use there,
/// and a pipeline for a server runs in a function as well. `docs/lambda.md` says what is guaranteed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lambda {
    /// Who invokes the function. Left out, each event tells by its shape; written, what can't work
    /// is refused at the start, and an event of the other kind is an error.
    pub contract: Option<Contract>,
    /// How producers compress the payload of each record. What expands to more than
    /// `record_bytes_max` is a dead letter, `record-too-large`, and what can't be decompressed is
    /// one too, `not-decompressible`.
    pub compression: PayloadCompression,
}

/// Who invokes the function, and so what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Contract {
    /// Amazon Data Firehose transforms records: it gets each one back, with what became of it.
    Firehose,
    /// Lambda's event source mapping for Amazon Kinesis: records go to the sinks, and the answer says
    /// from which one on they are to be handed over again (`ReportBatchItemFailures`).
    Kinesis,
}

/// What Firehose gets back from `tidegate lambda`. Each record is one JSON line.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Reply {
    /// What ends each record: Firehose puts one behind the other.
    pub delimiter: Delimiter,
    /// The keys for Firehose's dynamic partitioning, such as `event_type` and `year`: in the stream's
    /// prefix, `!{partitionKeyFromLambda:event_type}` is the value. A record without the value has
    /// `__missing__`.
    pub tree: Vec<Level>,
}
