//! A proxy before an SQS server: it lets a host's calls for some messages fail, and keeps account of
//! them.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, header};
use serde_json::{Value, json};
use tidegate_tests::proxy::{forward, serve};
use tokio::net::TcpListener;

/// How an operation goes wrong, from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trouble {
    #[default]
    None,
    /// Every third entry of its batches is refused, and the one behind it not answered.
    InPart,
    /// It fails as a whole.
    Whole,
}

#[derive(Debug, Default)]
struct State {
    trouble: HashMap<String, Trouble>,
    calls: HashMap<String, usize>,
    /// Entries of batches that were done, by operation and receipt.
    done: HashMap<(String, String), usize>,
    refused: HashMap<String, usize>,
    entries: usize,
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

    /// How an operation goes wrong from now on.
    pub(crate) fn trouble(&self, operation: &str, trouble: Trouble) {
        self.state().trouble.insert(operation.to_owned(), trouble);
    }

    /// How often an operation was asked for.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.state().calls.get(operation).copied().unwrap_or_default()
    }

    /// How many entries of an operation's batches were refused.
    pub(crate) fn refused(&self, operation: &str) -> usize {
        self.state().refused.get(operation).copied().unwrap_or_default()
    }

    /// How often each entry of an operation's batches was done, by receipt.
    pub(crate) fn done(&self, operation: &str) -> Vec<usize> {
        let state = self.state();
        let done = state.done.iter().filter(|((name, _), _)| name == operation);
        done.map(|(_, times)| *times).collect()
    }

    async fn handle(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let target = parts.headers.get("x-amz-target").and_then(|it| it.to_str().ok());
        let operation = target.and_then(|it| it.strip_prefix("AmazonSQS.")).unwrap_or_default();
        let operation = operation.to_owned();
        let trouble = {
            let mut state = self.state();
            *state.calls.entry(operation.clone()).or_default() += 1;
            state.trouble.get(&operation).copied().unwrap_or_default()
        };
        if trouble == Trouble::Whole {
            return Ok(response(
                StatusCode::SERVICE_UNAVAILABLE,
                json!({ "__type": "com.amazonaws.sqs#ServiceUnavailable", "message": "no" }),
            ));
        }
        let mut asked: Value = serde_json::from_slice(&body)?;
        let Some(entries) = asked["Entries"].as_array().cloned() else {
            let request = Request::from_parts(parts, Full::new(body));
            return Ok(forward(self.upstream, request).await?.map(Full::new));
        };
        assert!((1..=10).contains(&entries.len()), "SQS takes ten");
        let places = self.state().places(entries.len());
        // The first is refused, the one behind it is passed over.
        let kind = |place: &usize| match trouble {
            Trouble::InPart => (*place % 3).min(2),
            _ => 2,
        };
        let passed = entries.iter().zip(&places).filter(|(_, place)| kind(place) == 2);
        let passed: Vec<Value> = passed.map(|(entry, _)| entry.clone()).collect();
        let mut answer = json!({ "Successful": [], "Failed": [] });
        if !passed.is_empty() {
            asked["Entries"] = passed.into();
            parts.headers.remove(header::CONTENT_LENGTH);
            let body = Full::new(Bytes::from(asked.to_string()));
            let answered = forward(self.upstream, Request::from_parts(parts, body)).await?;
            answer = serde_json::from_slice(answered.body())?;
        }
        let mut state = self.state();
        for done in answer["Successful"].as_array().cloned().unwrap_or_default() {
            let entry = entries.iter().find(|it| it["Id"] == done["Id"]).expect("it was asked for");
            let receipt = entry["ReceiptHandle"].as_str().unwrap_or_default().to_owned();
            *state.done.entry((operation.clone(), receipt)).or_default() += 1;
        }
        for (entry, place) in entries.iter().zip(&places).filter(|(_, place)| kind(place) < 2) {
            *state.refused.entry(operation.clone()).or_default() += 1;
            if kind(place) == 0 {
                let failed = json!({ "Id": entry["Id"], "Code": "InternalError",
                                     "SenderFault": false, "Message": "by order of the test" });
                match answer["Failed"].as_array_mut() {
                    Some(all) => all.push(failed),
                    None => answer["Failed"] = json!([failed]),
                }
            }
        }
        Ok(response(StatusCode::OK, answer))
    }
}

impl State {
    /// The numbers of entries, counted over all batches.
    fn places(&mut self, entries: usize) -> Vec<usize> {
        let first = self.entries;
        self.entries += entries;
        (first..self.entries).collect()
    }
}

fn response(status: StatusCode, body: Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = status;
    let json = "application/x-amz-json-1.0".parse().expect("a header");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
