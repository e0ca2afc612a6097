//! AWS KMS on this machine: ministack, where Python is to be had, behind a proxy that counts and makes
//! trouble. And producers that encrypt what they send, as
//! `docs/kinesis.md` shows it, with AWS's library for Python and one for ciphers.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use aws_sdk_kms::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::{
    proxy::{forward, serve},
    python::python,
    server::{ServerProcess, ministack},
};

/// Where the server pretends to be.
pub const REGION: &str = "us-east-1";

/// A server, its process and the proxy before it.
pub struct Kms {
    runtime: Runtime,
    client: Client,
    server: String,
    /// What stands before it.
    pub proxy: Proxy,
    _process: ServerProcess,
}

impl Kms {
    /// Starts one. A test that can't have it says so.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(test: &str) -> Option<Kms> {
        let (process, address) = ministack(test)?;
        let runtime = Runtime::new().expect("threads can be started");
        let proxy = runtime.block_on(Proxy::start(address)).expect("a free port");
        let server = format!("http://{address}");
        let client = Client::from_conf(
            aws_sdk_kms::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(REGION))
                .credentials_provider(Credentials::new("test", "test", None, None, "test"))
                .endpoint_url(&server)
                .build(),
        );
        Some(Kms { runtime, client, server, proxy, _process: process })
    }

    /// Where a program finds it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.proxy.address)
    }

    /// Makes a key, and gives its ARN.
    ///
    /// # Panics
    /// Where the server does not do as it is told.
    pub fn create_key(&self) -> String {
        let created = self.runtime.block_on(self.client.create_key().send());
        let key = created.expect("a fresh server").key_metadata.expect("it is described");
        key.arn.expect("it has one")
    }

    /// Makes a key unusable.
    ///
    /// # Panics
    /// Where the server does not do as it is told.
    pub fn disable(&self, key: &str) {
        let disabled = self.runtime.block_on(self.client.disable_key().key_id(key).send());
        disabled.expect("it does as it is told");
    }

    /// Makes a key usable again.
    ///
    /// # Panics
    /// Where the server does not do as it is told.
    pub fn enable(&self, key: &str) {
        let enabled = self.runtime.block_on(self.client.enable_key().key_id(key).send());
        enabled.expect("it does as it is told");
    }

    /// A producer. A test that can't have it says so.
    pub fn producer(&self, test: &str) -> Option<Producer> {
        let python = python(test, "TIDEGATE_ENVELOPES")?;
        Some(Producer { python, server: self.server.clone() })
    }
}

/// What a payload is encrypted by.
#[derive(Clone, Debug)]
pub struct Encrypted<'a> {
    /// The key that the data key is encrypted under.
    pub key: &'a str,
    /// The encryption context.
    pub context: Value,
    /// It has a data key that no other payload has.
    pub own_data_key: bool,
    /// What is encrypted.
    pub payload: Vec<u8>,
}

/// What `docs/kinesis.md` shows producers.
pub const ENVELOPE: &str = include_str!("envelope.py");

const ENCRYPT: &str = r"
import json, sys
producers = {}
made = []
for it in json.load(open(sys.argv[1])):
    name = (it['key'], json.dumps(it['context'], sort_keys=True))
    if it['own_data_key'] or name not in producers:
        producers[name] = Envelopes(it['key'], it['context'])
    made.append(base64.b64encode(producers[name].seal(base64.b64decode(it['payload']))).decode())
print(json.dumps(made))
";

/// Encrypts payloads as a producer would, each with a data key that it has of KMS.
#[derive(Debug)]
pub struct Producer {
    python: PathBuf,
    server: String,
}

impl Producer {
    /// Encrypts some payloads. Those that have key and context in common have one data key, unless they
    /// are to have their own.
    ///
    /// # Panics
    /// Where a library does not do as it is told.
    pub fn encrypt(&self, payloads: &[Encrypted<'_>]) -> Vec<Vec<u8>> {
        let asked = payloads.iter().map(|it| {
            json!({ "key": it.key, "context": it.context, "own_data_key": it.own_data_key,
                    "payload": STANDARD.encode(&it.payload) })
        });
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let asked = Value::Array(asked.collect());
        std::fs::write(file.path(), asked.to_string()).expect("there is room");
        let output = Command::new(&self.python)
            .args(["-c", &format!("{ENVELOPE}{ENCRYPT}")])
            .arg(file.path())
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_ENDPOINT_URL_KMS", &self.server)
            .output()
            .expect("Python can be started");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let made: Vec<String> = serde_json::from_slice(&output.stdout).expect("it prints JSON");
        made.iter().map(|it| STANDARD.decode(it).expect("it is base64")).collect()
    }
}

/// What goes wrong with each request, until it is forgiven.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It is refused with this code.
    Refused(u16, &'static str),
    /// The connection is closed before the server hears of it.
    Reset,
}

#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    delay: Duration,
    calls: usize,
    /// Requests that are under way, and the most there were.
    under_way: usize,
    most_at_once: usize,
    faults: usize,
    keys: Vec<String>,
}

/// The proxy. It lives as long as the runtime that it was started on.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    upstream: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    async fn start(upstream: SocketAddr) -> io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let proxy = Proxy { address, upstream, state: Arc::default() };
        let served = proxy.clone();
        serve(listener, move |request| {
            let proxy = served.clone();
            async move { proxy.handle(request).await }
        });
        Ok(proxy)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    /// From now on each request goes wrong.
    pub fn fail(&self, fault: Fault) {
        self.state().fault = Some(fault);
    }

    /// Nothing more goes wrong.
    pub fn forgive(&self) {
        self.state().fault = None;
    }

    /// From now on each request takes as long.
    pub fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// How many requests there were.
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// How many of them were under way at a time, at most.
    pub fn most_at_once(&self) -> usize {
        self.state().most_at_once
    }

    /// How many of them went wrong here.
    pub fn faults(&self) -> usize {
        self.state().faults
    }

    /// The keys that were asked, in order.
    pub fn keys(&self) -> Vec<String> {
        self.state().keys.clone()
    }

    async fn handle(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (fault, delay) = {
            let mut state = self.state();
            state.calls += 1;
            state.under_way += 1;
            state.most_at_once = state.most_at_once.max(state.under_way);
            state.keys.push(asked["KeyId"].as_str().unwrap_or_default().to_owned());
            let fault = state.fault;
            state.faults += usize::from(fault.is_some());
            (fault, state.delay)
        };
        tokio::time::sleep(delay).await;
        self.state().under_way -= 1;
        match fault {
            Some(Fault::Reset) => Err(io::Error::other("the connection is closed")),
            Some(Fault::Refused(status, code)) => {
                let said = json!({ "__type": code, "message": "as the test wants it" });
                let answer = Response::builder().status(status);
                let answer = answer.header("content-type", "application/x-amz-json-1.1");
                answer.body(Full::new(said.to_string().into())).map_err(io::Error::other)
            }
            None => {
                let request = Request::from_parts(parts, Full::new(body));
                Ok(forward(self.upstream, request).await?.map(Full::new))
            }
        }
    }
}
