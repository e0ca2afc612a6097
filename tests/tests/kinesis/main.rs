//! The Kinesis source: alone, and in stories of the whole program, against real servers.

mod local;
mod proxy;
mod server;
mod source;
mod stories;
