//! The S3 sink: alone, and in stories of the whole program, against real servers.

mod ministack;
mod probe;
mod proxy;
mod server;
mod sink;
mod stories;
