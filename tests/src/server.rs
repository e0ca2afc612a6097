//! Servers of other makes, as processes that end with their test.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{program::Program, python::python};

/// Some of them read programs of many megabytes first.
const START_MAX: Duration = Duration::from_secs(90);

/// A server's process.
#[derive(Debug)]
pub struct ServerProcess(Child);

impl ServerProcess {
    /// Starts one, and waits until it takes connections at an address.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(command: &mut Command, address: SocketAddr) -> Self {
        ServerProcess::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()), address)
    }

    /// The same, of one whose output is of interest.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start_logged(command: &mut Command, address: SocketAddr, log: File) -> Self {
        let errors = log.try_clone().expect("a file can be opened twice");
        ServerProcess::spawn(command.stdout(log).stderr(errors), address)
    }

    fn spawn(command: &mut Command, address: SocketAddr) -> Self {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // From here on it ends with this, whatever happens.
        let process = ServerProcess(child);
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < START_MAX, "{command:?} does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        process
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts ministack, which stands for several services of AWS, where Python is to be had. A test that
/// can't have it says so.
pub fn ministack(test: &str) -> Option<(ServerProcess, SocketAddr)> {
    let python = python(test, "TIDEGATE_MINISTACK")?;
    let address = free_address();
    let mut ministack = Command::new(python);
    ministack
        .args(["-m", "ministack"])
        .env("GATEWAY_PORT", address.port().to_string())
        .env("BIND_HOST", "127.0.0.1");
    Some((ServerProcess::start(&mut ministack, address), address))
}

/// An address of this machine that nobody listens at.
///
/// # Panics
/// Where no port is free.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

/// The credentials that any server here takes.
pub fn with_credentials(program: Program) -> Program {
    program
        .with("AWS_ACCESS_KEY_ID", "test")
        .with("AWS_SECRET_ACCESS_KEY", "test")
        .with("AWS_EC2_METADATA_DISABLED", "true")
}
