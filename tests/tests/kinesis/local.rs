//! kinesis-local, a server of another make, where Node is to be had.

use std::{net::SocketAddr, path::PathBuf, process::Command};

use tidegate_tests::{
    program::root,
    server::{ServerProcess, free_address},
};
use tokio::runtime::Runtime;

use super::server::Kinesis;

/// A server and its process.
pub(crate) struct KinesisLocal {
    pub(crate) kinesis: Kinesis,
    /// Where it is itself, for clients who ask in CBOR, which the proxy does not read.
    pub(crate) address: SocketAddr,
    pub(crate) process: ServerProcess,
}

impl KinesisLocal {
    /// Starts one with a stream of some shards. A test that can't have it says so.
    pub(crate) fn start(test: &str, shards: i32) -> Option<KinesisLocal> {
        let Some(folder) = std::env::var_os("TIDEGATE_KINESIS_LOCAL").map(PathBuf::from) else {
            println!("SKIPPED: {test}: kinesis-local is absent, which needs Node and npm");
            return None;
        };
        let address = free_address();
        let mut node = Command::new("node");
        node.arg("--require")
            .arg(root().join("tests/tests/kinesis/loopback.cjs"))
            .arg(folder.join("main.js"))
            .current_dir(&folder)
            .env("KINESIS_MOCK_CERT_PATH", folder.join("server.json"))
            .env("KINESIS_MOCK_PLAIN_PORT", address.port().to_string())
            // The one with TLS takes any port that is free.
            .env("KINESIS_MOCK_TLS_PORT", free_address().port().to_string())
            .env("LOG_LEVEL", "ERROR")
            .env("SHARD_LIMIT", "200");
        let process = ServerProcess::start(&mut node, address);
        let runtime = Runtime::new().expect("threads can be started");
        let kinesis = Kinesis::before(runtime, address, shards);
        Some(KinesisLocal { kinesis, address, process })
    }
}
