//! A proxy before a Kinesis server: it puts writes to a stream in order, and makes trouble.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    header,
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    time::{Sleep, sleep},
};

use crate::proxy::{forward, forward_stream, serve};

type Body = BoxBody<Bytes, hyper::Error>;

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
    /// It is done, and the answer is about fewer records.
    ShortResponse,
    /// It is refused with a code of one's own.
    Refused(u16, &'static str),
}

/// A record that somebody asked to put: its key and its payload.
pub type Put = (String, Vec<u8>);

/// Trouble to come, and what was seen.
#[derive(Debug, Default)]
struct State {
    /// For an operation, the faults of the next calls, in order; none where a call goes well.
    faults: HashMap<String, Vec<Option<Fault>>>,
    /// Records up to this sequence number are gone.
    trimmed: Option<String>,
    calls: HashMap<String, u64>,
    limits: Vec<u64>,
    /// Which records the next PutRecords do not take.
    withhold_next: VecDeque<Vec<usize>>,
    /// How many of a thousand records they do not take, and where the randomness is.
    withheld: (u64, u64),
    withheld_records: usize,
    /// Subscriptions end after so long.
    subscription_max: Option<Duration>,
    /// What each PutRecords asked for, once somebody watches.
    puts: Option<Vec<Vec<Put>>>,
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
        serve(listener, move |request| {
            let proxy = served.clone();
            async move { proxy.handle(request).await }
        });
        Ok(proxy)
    }

    /// The next calls of an operation go wrong.
    pub fn fail_next(&self, operation: &str, faults: &[Fault]) {
        let mut state = self.state.lock().expect("nobody panics with it");
        let faults = faults.iter().copied().map(Some);
        state.faults.entry(operation.to_owned()).or_default().extend(faults);
    }

    /// Nothing more goes wrong.
    pub fn forgive(&self) {
        self.state.lock().expect("nobody panics with it").faults.clear();
    }

    /// The next calls of an operation go well, so many of them, and then one goes wrong.
    pub fn fail_next_but(&self, operation: &str, well: usize, fault: Fault) {
        let mut state = self.state.lock().expect("nobody panics with it");
        let faults = std::iter::repeat_n(None, well).chain([Some(fault)]);
        state.faults.entry(operation.to_owned()).or_default().extend(faults);
    }

    /// The stream holds nothing up to a record any more.
    pub fn trim(&self, sequence: &str) {
        self.state.lock().expect("nobody panics with it").trimmed = Some(sequence.to_owned());
    }

    /// The next calls of PutRecords do not take the records at these places.
    pub fn withhold_next(&self, places: impl IntoIterator<Item = Vec<usize>>) {
        let mut state = self.state.lock().expect("nobody panics with it");
        state.withhold_next.extend(places);
    }

    /// From now on PutRecords does not take so many of a thousand records, the same for the same
    /// seed.
    pub fn withhold(&self, per_mille: u64, seed: u64) {
        self.state.lock().expect("nobody panics with it").withheld = (per_mille, seed);
    }

    /// How many records PutRecords did not take.
    pub fn withheld(&self) -> usize {
        self.state.lock().expect("nobody panics with it").withheld_records
    }

    /// What each PutRecords has asked for since this was last called, for the first time or again.
    pub fn take_puts(&self) -> Vec<Vec<Put>> {
        let mut state = self.state.lock().expect("nobody panics with it");
        state.puts.replace(Vec::new()).unwrap_or_default()
    }

    /// Subscriptions end after so long, wherever they are.
    pub fn cut_subscriptions(&self, after: Duration) {
        self.state.lock().expect("nobody panics with it").subscription_max = Some(after);
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

    async fn handle(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let target = parts.headers.get("x-amz-target").and_then(|it| it.to_str().ok());
        let operation = target.and_then(|it| it.rsplit('.').next()).unwrap_or_default().to_owned();
        let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        let fault = {
            let mut state = self.state.lock().expect("nobody panics with it");
            *state.calls.entry(operation.clone()).or_default() += 1;
            if let Some(limit) = asked["Limit"].as_u64() {
                state.limits.push(limit);
            }
            let faults = state.faults.get_mut(&operation).filter(|faults| !faults.is_empty());
            faults.and_then(|faults| faults.remove(0))
        };
        let refused = match fault {
            Some(Fault::Throttled) => (400, "ProvisionedThroughputExceededException"),
            Some(Fault::InvalidArgument) => (400, "InvalidArgumentException"),
            Some(Fault::Internal) => (500, "InternalFailure"),
            Some(Fault::Refused(status, code)) => (status, code),
            Some(Fault::Reset) => return Err(io::Error::other("reset")),
            Some(Fault::LostResponse | Fault::ShortResponse) | None => {
                let request = Request::from_parts(parts, body);
                if operation == "SubscribeToShard" {
                    return self.subscribe(request, fault).await;
                }
                let answer = self.answer(&operation, request, asked, fault).await?;
                return Ok(answer.map(whole));
            }
        };
        Ok(refusal(refused.0, refused.1).map(whole))
    }

    /// An answer that is a stream, which ends when it is over.
    async fn subscribe(
        &self,
        request: Request<Bytes>,
        fault: Option<Fault>,
    ) -> io::Result<Response<Body>> {
        let max = self.state.lock().expect("nobody panics with it").subscription_max;
        let answer = forward_stream(self.upstream, request.map(Full::new)).await?;
        match fault {
            Some(_) => Err(io::Error::other("lost")),
            None => Ok(answer.map(|body| match max {
                Some(max) => BoxBody::new(Cut { body, ends: Box::pin(sleep(max)) }),
                None => BoxBody::new(body),
            })),
        }
    }

    async fn answer(
        &self,
        operation: &str,
        request: Request<Bytes>,
        asked: Value,
        fault: Option<Fault>,
    ) -> io::Result<Response<Full<Bytes>>> {
        let in_order = match WRITES.contains(&operation) {
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
        if operation == "PutRecords" {
            return self.put_records(request.into_parts().0, asked, fault).await;
        }
        let trimmed = self.state.lock().expect("nobody panics with it").trimmed.clone();
        let (parts, answer) = forward(self.upstream, request.map(Full::new)).await?.into_parts();
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

impl Proxy {
    /// Withholds records from the server, and answers for them as Kinesis would.
    async fn put_records(
        &self,
        mut parts: hyper::http::request::Parts,
        mut asked: Value,
        fault: Option<Fault>,
    ) -> io::Result<Response<Full<Bytes>>> {
        let records = asked["Records"].as_array().cloned().unwrap_or_default();
        let withheld = self.choose(&records)?;
        let passed = records.iter().zip(&withheld).filter(|(_, withheld)| !**withheld);
        let passed: Vec<Value> = passed.map(|(record, _)| record.clone()).collect();
        let mut answers = Vec::new().into_iter();
        if !passed.is_empty() || records.is_empty() {
            asked["Records"] = passed.into();
            parts.headers.remove(header::CONTENT_LENGTH);
            let body = Full::new(Bytes::from(asked.to_string()));
            let answer = forward(self.upstream, Request::from_parts(parts, body)).await?;
            let (status, answer) = (answer.status(), answer.into_body());
            let answered: Value = serde_json::from_slice(&answer)?;
            let Some(entries) = answered["Records"].as_array() else {
                return Ok(response(status, answer));
            };
            answers = entries.clone().into_iter();
        }
        if fault == Some(Fault::LostResponse) {
            return Err(io::Error::other("lost"));
        }
        let mut entries = Vec::new();
        for (place, withheld) in withheld.iter().enumerate() {
            let code = ["ProvisionedThroughputExceededException", "InternalFailure"][place % 2];
            let refused = json!({ "ErrorCode": code, "ErrorMessage": "by order of the test" });
            let entry = if *withheld { Some(refused) } else { answers.next() };
            entries.push(entry.ok_or_else(|| io::Error::other("an answer for each record"))?);
        }
        if fault == Some(Fault::ShortResponse) {
            entries.pop();
        }
        let failed = entries.iter().filter(|entry| entry.get("ErrorCode").is_some()).count();
        let answer = json!({ "FailedRecordCount": failed, "Records": entries }).to_string();
        Ok(response(StatusCode::OK, answer.into()))
    }

    /// Which records of a request are not taken.
    fn choose(&self, records: &[Value]) -> io::Result<Vec<bool>> {
        let mut state = self.state.lock().expect("nobody panics with it");
        if let Some(puts) = &mut state.puts {
            let put = |record: &Value| {
                let text = |name: &str| record[name].as_str().unwrap_or_default();
                let data = STANDARD.decode(text("Data")).map_err(io::Error::other)?;
                Ok((text("PartitionKey").to_owned(), data))
            };
            puts.push(records.iter().map(put).collect::<io::Result<_>>()?);
        }
        let named = state.withhold_next.pop_front().unwrap_or_default();
        let mut chosen = Vec::new();
        for place in 0..records.len() {
            let (per_mille, seed) = &mut state.withheld;
            // A plain linear congruential generator, so that a seed gives the same again.
            *seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            chosen.push((*seed >> 33) % 1_000 < *per_mille || named.contains(&place));
        }
        state.withheld_records += chosen.iter().filter(|withheld| **withheld).count();
        Ok(chosen)
    }
}

/// An answer that is cut off.
struct Cut {
    body: Incoming,
    ends: Pin<Box<Sleep>>,
}

impl hyper::body::Body for Cut {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.ends.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => Pin::new(&mut self.body).poll_frame(context),
        }
    }
}

fn whole(answer: Full<Bytes>) -> Body {
    answer.map_err(|never| match never {}).boxed()
}

fn refusal(status: u16, code: &str) -> Response<Full<Bytes>> {
    let body = json!({ "__type": code, "message": "by order of the test" }).to_string();
    response(StatusCode::from_u16(status).expect("a status"), body.into())
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
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
