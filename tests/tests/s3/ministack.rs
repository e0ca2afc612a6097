//! ministack, a server of another make, where Python is to be had.

use tidegate_tests::server::{ServerProcess, ministack};
use tokio::runtime::Runtime;

use super::server::S3;

/// A server and its process.
pub(crate) struct Ministack {
    pub(crate) s3: S3,
    _process: ServerProcess,
}

impl Ministack {
    /// Starts one. A test that can't have it says so.
    pub(crate) fn start(test: &str) -> Option<Ministack> {
        let (process, address) = ministack(test)?;
        let runtime = Runtime::new().expect("threads can be started");
        Some(Ministack { s3: S3::before(runtime, address, true), _process: process })
    }
}
