//! A proxy before an SQS server: it holds requests to SQS's limits, withholds messages of them from
//! the server, and makes trouble.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::proxy::{forward, serve};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What SQS takes at once, attributes included.
const MESSAGES_MAX: usize = 10;
const BYTES_MAX: usize = 1 << 20;

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is refused as a whole.
    Refused(u16, &'static str),
    /// Messages at these places are not taken.
    Withheld(Vec<usize>),
    /// The message at this place is refused for what it is.
    Blamed(usize, &'static str),
    /// The answer says nothing of the message at this place, which is not taken.
    PassedOver(usize),
    /// The connection is closed before the server hears of it.
    Reset,
    /// It is done, and the connection is closed before the answer.
    LostResponse,
}

/// Trouble to come, and what was seen.
#[derive(Debug, Default)]
struct State {
    faults: VecDeque<Fault>,
    /// How many of a thousand messages are withheld, and where the randomness is.
    withheld: (u64, u64),
    withheld_messages: usize,
    /// How many messages each request had.
    requests: Vec<usize>,
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
    /// Starts one before a server.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn start(upstream: SocketAddr) -> io::Result<Proxy> {
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
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// From now on so many of a thousand messages are not taken, the same for the same seed.
    pub fn withhold(&self, per_mille: u64, seed: u64) {
        self.state().withheld = (per_mille, seed);
    }

    /// How many messages were not taken.
    pub fn withheld(&self) -> usize {
        self.state().withheld_messages
    }

    /// Nothing more goes wrong.
    pub fn forgive(&self) {
        self.state().faults.clear();
    }

    /// How many faults are still to come.
    pub fn faults_left(&self) -> usize {
        self.state().faults.len()
    }

    /// How many messages each request had since this was last asked.
    pub fn take_requests(&self) -> Vec<usize> {
        std::mem::take(&mut self.state().requests)
    }

    async fn handle(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let target = parts.headers.get("x-amz-target").and_then(|it| it.to_str().ok());
        assert_eq!(target, Some("AmazonSQS.SendMessageBatch"), "the sink asks nothing else");
        let mut asked: Value = serde_json::from_slice(&body)?;
        let entries = asked["Entries"].as_array().cloned().unwrap_or_default();
        let fault = {
            let mut state = self.state();
            state.requests.push(entries.len());
            state.faults.pop_front()
        };
        if entries.len() > MESSAGES_MAX {
            return Ok(refusal(400, "TooManyEntriesInBatchRequest"));
        }
        if entries.iter().map(bytes_of).sum::<usize>() > BYTES_MAX {
            return Ok(refusal(400, "BatchRequestTooLong"));
        }
        match fault {
            Some(Fault::Refused(status, code)) => return Ok(refusal(status, code)),
            Some(Fault::Reset) => return Err(io::Error::other("reset")),
            _ => {}
        }
        let withheld = self.choose(entries.len(), fault.as_ref());
        let passed = entries.iter().zip(&withheld).filter(|(_, withheld)| !**withheld);
        let passed: Vec<Value> = passed.map(|(entry, _)| entry.clone()).collect();
        let mut answer = json!({ "Successful": [], "Failed": [] });
        if !passed.is_empty() {
            asked["Entries"] = passed.into();
            parts.headers.remove(header::CONTENT_LENGTH);
            let body = Full::new(Bytes::from(asked.to_string()));
            let answered = forward(self.upstream, Request::from_parts(parts, body)).await?;
            let (status, body) = (answered.status(), answered.into_body());
            answer = serde_json::from_slice(&body)?;
            if answer.get("Successful").is_none() {
                return Ok(response(status, body));
            }
        }
        if matches!(fault, Some(Fault::LostResponse)) {
            return Err(io::Error::other("lost"));
        }
        for (place, entry) in entries.iter().enumerate().filter(|(place, _)| withheld[*place]) {
            let (code, is_sender) = match &fault {
                Some(Fault::PassedOver(it)) if *it == place => continue,
                Some(Fault::Blamed(it, code)) if *it == place => (*code, true),
                _ => ("InternalError", false),
            };
            let failed = json!({ "Id": entry["Id"], "Code": code, "SenderFault": is_sender,
                                 "Message": "by order of the test" });
            match answer["Failed"].as_array_mut() {
                Some(all) => all.push(failed),
                None => answer["Failed"] = json!([failed]),
            }
        }
        Ok(response(StatusCode::OK, answer.to_string().into()))
    }

    /// Which messages of a request are not taken.
    fn choose(&self, messages: usize, fault: Option<&Fault>) -> Vec<bool> {
        let mut state = self.state();
        let mut chosen = Vec::new();
        for place in 0..messages {
            let (per_mille, seed) = &mut state.withheld;
            // A plain linear congruential generator, so that a seed gives the same again.
            *seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let by_chance = (*seed >> 33) % 1_000 < *per_mille;
            let by_name = match fault {
                Some(Fault::Withheld(places)) => places.contains(&place),
                Some(Fault::Blamed(it, _) | Fault::PassedOver(it)) => *it == place,
                _ => false,
            };
            chosen.push(by_chance || by_name);
        }
        state.withheld_messages += chosen.iter().filter(|it| **it).count();
        chosen
    }
}

/// What a message counts for.
fn bytes_of(entry: &Value) -> usize {
    let text = |value: &Value| value.as_str().map_or(0, str::len);
    let attributes = entry["MessageAttributes"].as_object();
    let attributes = attributes
        .into_iter()
        .flatten()
        .map(|(name, value)| name.len() + text(&value["DataType"]) + text(&value["StringValue"]));
    text(&entry["MessageBody"]) + attributes.sum::<usize>()
}

fn refusal(status: u16, code: &str) -> Response<Full<Bytes>> {
    let code = format!("com.amazonaws.sqs#{code}");
    let body = json!({ "__type": code, "message": "by order of the test" }).to_string();
    response(StatusCode::from_u16(status).expect("a status"), body.into())
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let json = "application/x-amz-json-1.0".parse().expect("a header");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
