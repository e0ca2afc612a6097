//! The S3 sink: alone, and in stories of the whole program, against real servers.

mod ministack;
mod probe;
mod sink;
mod stories;

use tidegate_tests::s3::{self as server, proxy};
