//! kinesis-local, a server of another make, where Node is to be had.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tidegate_tests::program::root;
use tokio::runtime::Runtime;

use super::server::Kinesis;

/// Node reads a program of some megabytes first.
const START_MAX: Duration = Duration::from_secs(60);

/// A server and its process.
pub(crate) struct KinesisLocal {
    pub(crate) kinesis: Kinesis,
    _process: Process,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl KinesisLocal {
    /// Starts one with a stream of some shards. A test that can't have it says so.
    pub(crate) fn start(test: &str, shards: i32) -> Option<KinesisLocal> {
        let Some(folder) = std::env::var_os("TIDEGATE_KINESIS_LOCAL").map(PathBuf::from) else {
            println!("SKIPPED: {test}: kinesis-local is absent, which needs Node and npm");
            return None;
        };
        let address = free_address();
        let process = Process(spawn(&folder, address));
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < START_MAX, "kinesis-local does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        let runtime = Runtime::new().expect("threads can be started");
        Some(KinesisLocal { kinesis: Kinesis::before(runtime, address, shards), _process: process })
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

fn spawn(folder: &Path, address: SocketAddr) -> Child {
    Command::new("node")
        .arg("--require")
        .arg(root().join("tests/tests/kinesis/loopback.cjs"))
        .arg(folder.join("main.js"))
        .current_dir(folder)
        .env("KINESIS_MOCK_CERT_PATH", folder.join("server.json"))
        .env("KINESIS_MOCK_PLAIN_PORT", address.port().to_string())
        // The one with TLS takes any port that is free.
        .env("KINESIS_MOCK_TLS_PORT", free_address().port().to_string())
        .env("LOG_LEVEL", "ERROR")
        .env("SHARD_LIMIT", "200")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("node can be started")
}
