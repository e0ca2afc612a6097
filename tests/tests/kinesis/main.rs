//! The Kinesis source: alone, and in stories of the whole program, against real servers.

mod local;
mod source;
mod stories;

use tidegate_tests::kinesis::{self as server, proxy};
