//! ministack, a server of another make, where Python is to be had.

use std::process::Command;

use tidegate_tests::{
    python::python,
    server::{ServerProcess, free_address},
};
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
        let python = python(test, "TIDEGATE_MINISTACK")?;
        let address = free_address();
        let mut ministack = Command::new(python);
        ministack
            .args(["-m", "ministack"])
            .env("GATEWAY_PORT", address.port().to_string())
            .env("BIND_HOST", "127.0.0.1");
        let process = ServerProcess::start(&mut ministack, address);
        let runtime = Runtime::new().expect("threads can be started");
        Some(Ministack { s3: S3::before(runtime, address, true), _process: process })
    }
}
