//! A proxy before a server that is asked in JSON: DynamoDB, SQS, Firehose. It refuses what a policy
//! would refuse, and takes conditions out of requests.

use std::{
    collections::{BTreeMap, BTreeSet},
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

#[derive(Debug, Default)]
struct State {
    denied: BTreeSet<String>,
    drops_conditions: bool,
    calls: BTreeMap<String, usize>,
}

/// The proxy. It lives as long as the runtime that it was started on.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    address: SocketAddr,
    upstream: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Gate {
    pub(crate) async fn start(upstream: SocketAddr) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let gate = Gate { address, upstream, state: Arc::default() };
        let served = gate.clone();
        serve(listener, move |request| {
            let gate = served.clone();
            async move { gate.handle(request).await }
        });
        gate
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    /// From now on the credentials may not do these, and all else.
    pub(crate) fn deny(&self, operations: &[&str]) {
        self.state().denied = operations.iter().map(|it| (*it).to_owned()).collect();
    }

    /// From now on the server knows no conditions.
    pub(crate) fn drop_conditions(&self, drops: bool) {
        self.state().drops_conditions = drops;
    }

    /// How often an operation was asked for.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.state().calls.get(operation).copied().unwrap_or_default()
    }

    async fn handle(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (mut parts, body) = request.into_parts();
        let mut body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let target = parts.headers.get("x-amz-target").and_then(|it| it.to_str().ok());
        let operation = target.and_then(|it| it.rsplit('.').next()).unwrap_or_default().to_owned();
        let (is_denied, drops) = {
            let mut state = self.state();
            *state.calls.entry(operation.clone()).or_default() += 1;
            (state.denied.contains(&operation), state.drops_conditions)
        };
        if is_denied {
            let code = "com.amazonaws#AccessDeniedException";
            let refusal = json!({ "__type": code, "message": "by order of the test" });
            let mut response = Response::new(Full::new(Bytes::from(refusal.to_string())));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            let kind = "application/x-amz-json-1.0".parse().expect("a header");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            return Ok(response);
        }
        if drops {
            body = without_condition(&body)?;
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        let answer = forward(self.upstream, Request::from_parts(parts, Full::new(body))).await?;
        Ok(answer.map(Full::new))
    }
}

fn without_condition(body: &[u8]) -> io::Result<Bytes> {
    let mut asked: Value = serde_json::from_slice(body)?;
    if let Some(asked) = asked.as_object_mut()
        && asked.remove("ConditionExpression").is_some()
    {
        // A name that nothing uses is refused.
        let names = asked.get_mut("ExpressionAttributeNames").and_then(Value::as_object_mut);
        let is_empty = names.is_some_and(|names| {
            names.remove("#key");
            names.is_empty()
        });
        if is_empty {
            asked.remove("ExpressionAttributeNames");
        }
    }
    Ok(asked.to_string().into())
}
