//! ministack, a server of another make, where Python is to be had.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tidegate_tests::python::python;
use tokio::runtime::Runtime;

use super::server::S3;

/// It reads some hundred modules first.
const START_MAX: Duration = Duration::from_secs(90);

/// A server and its process.
pub(crate) struct Ministack {
    pub(crate) s3: S3,
    _process: Process,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Ministack {
    /// Starts one. A test that can't have it says so.
    pub(crate) fn start(test: &str) -> Option<Ministack> {
        let python = python(test, "TIDEGATE_MINISTACK")?;
        let address = free_address();
        let process = Command::new(python)
            .args(["-m", "ministack"])
            .env("GATEWAY_PORT", address.port().to_string())
            .env("BIND_HOST", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python can be started");
        let process = Process(process);
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < START_MAX, "ministack does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        let runtime = Runtime::new().expect("threads can be started");
        Some(Ministack { s3: S3::before(runtime, address, true), _process: process })
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}
