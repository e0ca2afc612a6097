//! Leases and the ledger of ranges, on a DynamoDB of this machine.

use std::{fmt::Write as _, fs, net::SocketAddr, path::Path};

use anyhow::Context;
use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    types::AttributeValue,
};
use tidegate_tests::{dynamodb, kinesis::REGION, server::ServerProcess};
use tokio::runtime::Runtime;

const LEDGER: &str = "road-ledger";

/// The server, and how it is asked.
pub(super) struct Tables {
    address: SocketAddr,
    client: Client,
    runtime: Runtime,
    _process: ServerProcess,
}

impl Tables {
    /// Starts the server; none where there is none to be had.
    pub(super) fn start() -> anyhow::Result<Option<Tables>> {
        let Some(folder) = std::env::var_os("TIDEGATE_DYNAMODB_LOCAL") else { return Ok(None) };
        let (address, process) = dynamodb::start(Path::new(&folder));
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new("test", "test", None, None, "road"))
            .endpoint_url(format!("http://{address}"));
        let client = Client::from_conf(config.build());
        let runtime = Runtime::new().context("start threads")?;
        runtime.block_on(client.list_tables().send()).context("wait for DynamoDB")?;
        Ok(Some(Tables { address, client, runtime, _process: process }))
    }

    /// Has a pipeline use them.
    pub(super) fn add_to(&self, pipeline: &Path) -> anyhow::Result<()> {
        let mut text = fs::read_to_string(pipeline).context("read the pipeline")?;
        let endpoint = format!("region: {REGION}, endpoint: \"http://{}\"", self.address);
        let _ = write!(
            text,
            "\nleases: {{ table: road-leases, directory: leases, failover: 3s, {endpoint} }}\n\
             ledger: {{ table: {LEDGER}, {endpoint} }}\n"
        );
        fs::write(pipeline, text).context("write the pipeline")
    }

    /// How many rows the ledger has, and the sums of what they say was read and failed.
    pub(super) fn sum(&self) -> anyhow::Result<Ledger> {
        let rows = self.client.scan().table_name(LEDGER).into_paginator().items().send();
        let rows = self.runtime.block_on(rows.collect::<Result<Vec<_>, _>>());
        let rows = rows.context("read the ledger")?;
        let sum = |name: &str| -> anyhow::Result<u64> {
            let numbers = rows.iter().map(|row| {
                let number = row.get(name).and_then(|it: &AttributeValue| it.as_n().ok());
                number.and_then(|it| it.parse::<u64>().ok()).context("a number in the ledger")
            });
            numbers.sum()
        };
        Ok(Ledger { ranges: rows.len() as u64, read: sum("total")?, failed: sum("failed")? })
    }
}

/// What the ledger says.
pub(super) struct Ledger {
    pub(super) ranges: u64,
    pub(super) read: u64,
    pub(super) failed: u64,
}
