//! The Kinesis source and the Kinesis sink: alone, and in stories of the whole program, against real
//! servers.

mod local;
mod proxy;
mod server;
mod sink;
mod sink_stories;
mod source;
mod stories;
