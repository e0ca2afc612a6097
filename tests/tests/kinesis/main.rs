//! The Kinesis source and the Kinesis sink: alone, and in stories of the whole program, against real
//! servers; the leases by which a fleet shares a stream, and the ledger of ranges.

mod aggregates;
mod dynamodb;
mod encryption;
mod encryption_stories;
mod fleet;
mod kcl;
mod kills;
mod leases;
mod ledger;
mod local;
mod offsets;
mod sink;
mod sink_stories;
mod source;
mod stories;

use tidegate_tests::kinesis::{self as server, proxy};
