//! DynamoDB on this machine: Amazon's own, where Java is to be had.

use std::{net::SocketAddr, path::Path, process::Command};

use crate::server::{ServerProcess, free_address};

/// Starts it with the jars of a folder; it keeps everything in memory. Its first answer takes some
/// seconds.
pub fn start(folder: &Path) -> (SocketAddr, ServerProcess) {
    let address = free_address();
    let mut java = Command::new("java");
    java.current_dir(folder)
        .args(["-Xmx256m", "-Djava.library.path=.", "-cp", "*"])
        .arg("com.amazonaws.services.dynamodbv2.local.main.ServerRunner")
        .args(["-inMemory", "-sharedDb", "-disableTelemetry", "-port"])
        .arg(address.port().to_string());
    (address, ServerProcess::start(&mut java, address))
}
