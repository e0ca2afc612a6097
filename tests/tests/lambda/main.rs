//! The program as a function of AWS Lambda: invoked by AWS's own emulator of the Runtime API, with what
//! Firehose and event source mappings send.

mod event;
mod firehose;
mod function;
mod kinesis;
mod package;
mod refusals;

use tidegate_tests::sqs::{self as server, proxy};
