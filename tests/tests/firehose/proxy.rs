//! A proxy before a Firehose server: it holds requests to Firehose's limits, withholds records of
//! them from the server, and makes trouble.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, header};
use serde_json::{Value, json};
use tidegate_tests::proxy::{forward, serve};
use tokio::net::TcpListener;

/// What Firehose takes at once.
const RECORDS_MAX: usize = 500;
const BYTES_MAX: usize = 4 << 20;

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It is refused as a whole.
    Refused(u16, &'static str),
    /// Records at these places are not taken.
    Withheld(Vec<usize>),
    /// The connection is closed before the server hears of it.
    Reset,
    /// It is done, and the connection is closed before the answer.
    LostResponse,
    /// It is done, and the answer is about fewer records.
    ShortResponse,
}

/// Trouble to come, and what was seen.
#[derive(Debug, Default)]
struct State {
    faults: VecDeque<Fault>,
    /// How many of a thousand records are withheld, and where the randomness is.
    withheld: (u64, u64),
    withheld_records: usize,
    /// The records of each request.
    requests: Vec<Vec<Vec<u8>>>,
}

/// The proxy. It lives as long as the runtime that it was started on.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    upstream: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    pub(crate) async fn start(upstream: SocketAddr) -> io::Result<Proxy> {
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

    /// The next requests go wrong.
    pub(crate) fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// From now on so many of a thousand records are not taken, the same for the same seed.
    pub(crate) fn withhold(&self, per_mille: u64, seed: u64) {
        self.state().withheld = (per_mille, seed);
    }

    /// How many records were not taken.
    pub(crate) fn withheld(&self) -> usize {
        self.state().withheld_records
    }

    /// How many faults are still to come.
    pub(crate) fn faults_left(&self) -> usize {
        self.state().faults.len()
    }

    /// The records of each request since this was last asked.
    pub(crate) fn take_requests(&self) -> Vec<Vec<Vec<u8>>> {
        std::mem::take(&mut self.state().requests)
    }

    async fn handle(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let target = parts.headers.get("x-amz-target").and_then(|it| it.to_str().ok());
        assert_eq!(target, Some("Firehose_20150804.PutRecordBatch"), "the sink asks nothing else");
        let mut asked: Value = serde_json::from_slice(&body)?;
        let records = asked["Records"].as_array().cloned().unwrap_or_default();
        let data = |record: &Value| STANDARD.decode(record["Data"].as_str().unwrap_or_default());
        let decoded: Result<Vec<Vec<u8>>, _> = records.iter().map(data).collect();
        let decoded = decoded.map_err(io::Error::other)?;
        let bytes: usize = decoded.iter().map(Vec::len).sum();
        let fault = {
            let mut state = self.state();
            state.requests.push(decoded);
            state.faults.pop_front()
        };
        if records.len() > RECORDS_MAX || bytes > BYTES_MAX {
            return Ok(refusal(400, "InvalidArgumentException"));
        }
        match fault {
            Some(Fault::Refused(status, code)) => return Ok(refusal(status, code)),
            Some(Fault::Reset) => return Err(io::Error::other("reset")),
            _ => {}
        }
        let withheld = self.choose(records.len(), fault.as_ref());
        let passed = records.iter().zip(&withheld).filter(|(_, withheld)| !**withheld);
        let passed: Vec<Value> = passed.map(|(record, _)| record.clone()).collect();
        let mut answers = Vec::new().into_iter();
        if !passed.is_empty() {
            asked["Records"] = passed.into();
            parts.headers.remove(header::CONTENT_LENGTH);
            let body = Full::new(Bytes::from(asked.to_string()));
            let answer = forward(self.upstream, Request::from_parts(parts, body)).await?;
            let (status, answer) = (answer.status(), answer.into_body());
            let answered: Value = serde_json::from_slice(&answer)?;
            let Some(entries) = answered["RequestResponses"].as_array() else {
                return Ok(response(status, answer));
            };
            assert_eq!(answered["FailedPutCount"], 0, "the server takes what it gets");
            answers = entries.clone().into_iter();
        }
        if matches!(fault, Some(Fault::LostResponse)) {
            return Err(io::Error::other("lost"));
        }
        let refused =
            json!({ "ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down." });
        let mut entries = Vec::new();
        for withheld in &withheld {
            let entry = if *withheld { Some(refused.clone()) } else { answers.next() };
            entries.push(entry.ok_or_else(|| io::Error::other("an answer for each record"))?);
        }
        if matches!(fault, Some(Fault::ShortResponse)) {
            entries.pop();
        }
        let count = withheld.iter().filter(|it| **it).count();
        let answer =
            json!({ "FailedPutCount": count, "Encrypted": false, "RequestResponses": entries });
        Ok(response(StatusCode::OK, answer.to_string().into()))
    }

    /// Which records of a request are not taken.
    fn choose(&self, records: usize, fault: Option<&Fault>) -> Vec<bool> {
        let mut state = self.state();
        let mut chosen = Vec::new();
        for place in 0..records {
            let (per_mille, seed) = &mut state.withheld;
            // A plain linear congruential generator, so that a seed gives the same again.
            *seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let by_chance = (*seed >> 33) % 1_000 < *per_mille;
            let by_name = matches!(fault, Some(Fault::Withheld(places)) if places.contains(&place));
            chosen.push(by_chance || by_name);
        }
        state.withheld_records += chosen.iter().filter(|it| **it).count();
        chosen
    }
}

fn refusal(status: u16, code: &str) -> Response<Full<Bytes>> {
    let body = json!({ "__type": code, "message": "by order of the test" }).to_string();
    response(StatusCode::from_u16(status).expect("a status"), body.into())
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let json = "application/x-amz-json-1.1".parse().expect("a header");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
