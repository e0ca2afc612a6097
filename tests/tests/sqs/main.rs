//! Copies of dead letters in an SQS queue: the sink alone, and in stories of the whole program,
//! against a real server.

mod sink;
mod stories;

use tidegate_tests::sqs::{self as server, proxy};
