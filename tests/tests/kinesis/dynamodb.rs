//! DynamoDB on this machine: Amazon's own, where Java is to be had, behind the proxy.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    types::AttributeValue,
};
use tidegate_connectors::{
    aws::AwsConfig,
    leases::{LeaseConfig, LeaseStore},
    objects::SharedDirectory,
};
use tidegate_tests::{dynamodb, server::ServerProcess};

use super::{proxy::Proxy, server::REGION};

/// One process for all tests that run at a time.
static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());

struct Server {
    address: std::net::SocketAddr,
    _process: ServerProcess,
}

/// A server with a table of the test's own.
pub(crate) struct DynamoDb {
    pub(crate) proxy: Proxy,
    pub(crate) client: Client,
    pub(crate) table: String,
    objects: tempfile::TempDir,
    _server: Arc<Server>,
}

/// A row's attributes.
pub(crate) type Item = HashMap<String, AttributeValue>;

impl DynamoDb {
    /// A test that can't have it says so.
    pub(crate) async fn start(test: &str) -> Option<DynamoDb> {
        let Some(folder) = std::env::var_os("TIDEGATE_DYNAMODB_LOCAL").map(PathBuf::from) else {
            println!("SKIPPED: {test}: DynamoDB Local is absent, which needs Java and Maven");
            return None;
        };
        let server = tokio::task::spawn_blocking(move || server(&folder)).await;
        let server = server.expect("DynamoDB Local starts");
        let proxy = Proxy::start(server.address).await.expect("a free port");
        let client = Client::from_conf(
            aws_sdk_dynamodb::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(REGION))
                .credentials_provider(credentials())
                .endpoint_url(format!("http://{}", server.address))
                .build(),
        );
        // Its first answer takes some seconds.
        client.list_tables().send().await.expect("the server answers");
        let objects = tempfile::tempdir().expect("a temporary folder");
        Some(DynamoDb { proxy, client, table: test.to_owned(), objects, _server: server })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.proxy.address)
    }

    /// How a host uses it.
    pub(crate) async fn config(&self) -> LeaseConfig {
        let aws = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(credentials());
        LeaseConfig {
            aws: AwsConfig {
                endpoint: Some(self.endpoint()),
                given: Some(aws.load().await),
                ..AwsConfig::default()
            },
            create_table: true,
            ..LeaseConfig::new(&self.table)
        }
    }

    /// The store as another host has it.
    pub(crate) async fn store(&self) -> LeaseStore {
        self.store_with(self.config().await).await
    }

    pub(crate) async fn store_with(&self, config: LeaseConfig) -> LeaseStore {
        let objects = Arc::new(SharedDirectory::new(self.objects.path(), "host"));
        LeaseStore::open(config, objects).await.expect("the table is there")
    }

    /// The names of objects below a folder.
    pub(crate) fn objects(&self, folder: &str) -> Vec<String> {
        let files = tidegate_tests::program::tree(&self.objects.path().join(folder));
        files.into_keys().collect()
    }

    /// A row, as any client sees it.
    pub(crate) async fn row(&self, key: &str) -> Item {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let got = get.key("leaseKey", AttributeValue::S(key.to_owned())).send().await;
        got.expect("the server answers").item.expect("there is such a row")
    }

    /// Changes a row as another application would.
    pub(crate) async fn change(&self, key: &str, update: &str, values: &[(&str, AttributeValue)]) {
        let change = self.client.update_item().table_name(&self.table);
        let change = change.key("leaseKey", AttributeValue::S(key.to_owned()));
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let values: HashMap<_, _> = values.collect();
        let change = change.update_expression(update);
        let change = change.set_expression_attribute_values((!values.is_empty()).then_some(values));
        change.send().await.expect("the server does as it is told");
    }
}

fn credentials() -> Credentials {
    Credentials::new("test", "test", None, None, "test")
}

fn server(folder: &std::path::Path) -> Arc<Server> {
    let mut running = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = running.upgrade() {
        return server;
    }
    let (address, process) = dynamodb::start(folder);
    let server = Arc::new(Server { address, _process: process });
    *running = Arc::downgrade(&server);
    server
}
