//! The program as a function of AWS Lambda: invoked by AWS's own emulator of the Runtime API, with what
//! Firehose and event source mappings send.

mod event;
mod firehose;
mod function;
mod kinesis;
mod package;
#[allow(dead_code, reason = "what this story does not need, the queue's own does")]
#[path = "../sqs/proxy.rs"]
mod proxy;
mod refusals;
#[allow(dead_code, reason = "what this story does not need, the queue's own does")]
#[path = "../sqs/server.rs"]
mod server;
