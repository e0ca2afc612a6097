//! Copies of dead letters in an SQS queue: the sink alone, and in stories of the whole program,
//! against a real server.

mod proxy;
mod server;
mod sink;
mod stories;
