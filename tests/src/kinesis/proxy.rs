//! A proxy before a Kinesis server: it puts writes to a stream in order, and makes trouble.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use crate::proxy::forward;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused for want of throughput, and not done.
    Throttled,
    /// It is refused for what it asks.
    InvalidArgument,
    /// The server says that it failed.
    Internal,
    /// The connection is closed before the server hears of it.
    Reset,
    /// It is done, and the connection is closed before the answer.
    LostResponse,
}

/// Trouble to come, and what was seen.
#[derive(Debug, Default)]
struct State {
    /// For an operation, the faults of the next calls, in order.
    faults: HashMap<String, Vec<Fault>>,
    /// Records up to this sequence number are gone.
    trimmed: Option<String>,
    calls: HashMap<String, u64>,
    limits: Vec<u64>,
}

/// The proxy. It lives as long as the runtime that it was started on.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    upstream: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Sequence numbers must become visible in order, which the embedded server alone does not see
    /// to: one write to a stream at a time.
    writing: Arc<tokio::sync::Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

/// These change what a stream holds.
const WRITES: [&str; 5] =
    ["PutRecord", "PutRecords", "SplitShard", "MergeShards", "UpdateShardCount"];

impl Proxy {
    /// Starts one before a server.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn start(upstream: SocketAddr) -> io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let proxy = Proxy { address, upstream, state: Arc::default(), writing: Arc::default() };
        let served = proxy.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let proxy = served.clone();
                let service = service_fn(move |request| {
                    let proxy = proxy.clone();
                    async move { proxy.handle(request).await }
                });
                let io = TokioIo::new(connection);
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(io, service),
                );
            }
        });
        Ok(proxy)
    }

    /// The next calls of an operation go wrong.
    pub fn fail_next(&self, operation: &str, faults: &[Fault]) {
        let mut state = self.state.lock().expect("nobody panics with it");
        state.faults.entry(operation.to_owned()).or_default().extend(faults);
    }

    /// The stream holds nothing up to a record any more.
    pub fn trim(&self, sequence: &str) {
        self.state.lock().expect("nobody panics with it").trimmed = Some(sequence.to_owned());
    }

    /// How often an operation was called.
    pub fn calls(&self, operation: &str) -> u64 {
        let state = self.state.lock().expect("nobody panics with it");
        state.calls.get(operation).copied().unwrap_or_default()
    }

    /// How many faults are still to come.
    pub fn faults_left(&self) -> usize {
        let state = self.state.lock().expect("nobody panics with it");
        state.faults.values().map(Vec::len).sum()
    }

    /// How many records were asked for, call by call.
    pub fn limits(&self) -> Vec<u64> {
        self.state.lock().expect("nobody panics with it").limits.clone()
    }

    async fn handle(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let target = parts.headers.get("x-amz-target").and_then(|it| it.to_str().ok());
        let operation = target.and_then(|it| it.rsplit('.').next()).unwrap_or_default().to_owned();
        let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (fault, trimmed) = {
            let mut state = self.state.lock().expect("nobody panics with it");
            *state.calls.entry(operation.clone()).or_default() += 1;
            if let Some(limit) = asked["Limit"].as_u64() {
                state.limits.push(limit);
            }
            let faults = state.faults.get_mut(&operation).filter(|faults| !faults.is_empty());
            (faults.map(|faults| faults.remove(0)), state.trimmed.clone())
        };
        match fault {
            Some(Fault::Throttled) => {
                return Ok(refusal(400, "ProvisionedThroughputExceededException"));
            }
            Some(Fault::InvalidArgument) => return Ok(refusal(400, "InvalidArgumentException")),
            Some(Fault::Internal) => return Ok(refusal(500, "InternalFailure")),
            Some(Fault::Reset) => return Err(io::Error::other("reset")),
            Some(Fault::LostResponse) | None => {}
        }
        let in_order = match WRITES.contains(&operation.as_str()) {
            true => {
                let stream = asked["StreamName"].as_str().or(asked["StreamARN"].as_str());
                let mut writing = self.writing.lock().await;
                let lock = writing.entry(stream.unwrap_or_default().to_owned()).or_default();
                Some(lock.clone())
            }
            false => None,
        };
        let _in_order = match &in_order {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        let request = Request::from_parts(parts, Full::new(body));
        let (parts, answer) = forward(self.upstream, request).await?.into_parts();
        if fault == Some(Fault::LostResponse) {
            return Err(io::Error::other("lost"));
        }
        let answer = match trimmed {
            Some(trimmed) if operation == "GetRecords" => without(&answer, &trimmed),
            _ => answer,
        };
        let mut response = Response::builder().status(parts.status);
        for (name, value) in &parts.headers {
            if name != "content-length" && name != "transfer-encoding" {
                response = response.header(name, value);
            }
        }
        response.body(Full::new(answer)).map_err(io::Error::other)
    }
}

fn refusal(status: u16, code: &str) -> Response<Full<Bytes>> {
    let body = json!({ "__type": code, "message": "by order of the test" }).to_string();
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    let json = "application/x-amz-json-1.1".parse().expect("a header");
    response.headers_mut().insert("content-type", json);
    response
}

/// An answer without the records that are gone.
fn without(answer: &Bytes, trimmed: &str) -> Bytes {
    let Ok(mut answer) = serde_json::from_slice::<Value>(answer) else { return answer.clone() };
    let gone = |record: &Value| {
        let sequence = record["SequenceNumber"].as_str().unwrap_or_default();
        (sequence.len(), sequence) <= (trimmed.len(), trimmed)
    };
    if let Some(records) = answer["Records"].as_array_mut() {
        records.retain(|record| !gone(record));
    }
    answer.to_string().into()
}
