//! The Kinesis source: alone, and in stories of the whole program, against real servers; and the
//! leases by which a fleet shares a stream.

mod dynamodb;
mod fleet;
mod leases;
mod local;
mod proxy;
mod server;
mod source;
mod stories;
