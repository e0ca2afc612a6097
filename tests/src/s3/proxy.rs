//! A proxy before an S3 server: it puts the requests for a key in order, keeps account of uploads in
//! parts, and makes trouble.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use crate::proxy::{forward, serve};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, http::request::Parts};
use tokio::net::TcpListener;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `503 SlowDown`, and to come again in a second.
    SlowDown,
    /// `500 InternalError`
    Internal,
    /// `409 ConditionalRequestConflict`
    Conflict,
    /// `403 AccessDenied`
    Denied,
    /// The connection is closed before the server hears of it.
    Reset,
    /// It is done, and the connection is closed before the answer.
    LostResponse,
    /// A byte of the content is another when it arrives.
    Damaged,
}

/// Each of these ends without an answer that could be relied on, or asks to come again.
pub const PASSING: [Fault; 5] =
    [Fault::SlowDown, Fault::Internal, Fault::Conflict, Fault::Reset, Fault::LostResponse];

#[derive(Debug, Default)]
struct State {
    /// For an operation, the faults of the next requests, in order.
    faults: HashMap<&'static str, Vec<Fault>>,
    /// One in so many requests goes wrong, by a generator with this state.
    unruly: Option<(u64, u64)>,
    made: u64,
    calls: HashMap<&'static str, u64>,
    /// Uploads that are neither completed nor aborted: ids, and their keys.
    uploads: BTreeMap<String, String>,
    /// Requests with content that are under way, and the most that ever were.
    uploading: (usize, usize),
    /// The same of reads.
    reading: (usize, usize),
    delay: Duration,
    overwrites: bool,
}

/// The proxy. It lives as long as the runtime that it was started on.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    upstream: SocketAddr,
    state: Arc<Mutex<State>>,
    /// The embedded server looks and then writes: one request for a key at a time.
    keys: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
    /// Whether the server can list uploads itself.
    lists_uploads: bool,
}

impl Proxy {
    /// Starts one before a server.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn start(upstream: SocketAddr, lists_uploads: bool) -> io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (state, keys) = (Arc::default(), Arc::default());
        let proxy = Proxy { address, upstream, state, keys, lists_uploads };
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

    /// The next requests of an operation go wrong.
    pub fn fail_next(&self, operation: &'static str, faults: &[Fault]) {
        self.state().faults.entry(operation).or_default().extend(faults);
    }

    /// From now on one in so many requests goes wrong, in some way that passes.
    pub fn unruly(&self, one_in: u64, seed: u64) {
        self.state().unruly = Some((one_in, seed));
    }

    /// No further request goes wrong. Says how many did.
    pub fn calm(&self) -> u64 {
        let mut state = self.state();
        state.unruly = None;
        std::mem::take(&mut state.made)
    }

    /// Each request with content takes at least this long, and each read.
    pub fn slow(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Whether a second object under a key is said to be taken, whatever its request says, as servers do
    /// that know no conditions.
    pub fn overwrite(&self, overwrites: bool) {
        self.state().overwrites = overwrites;
    }

    /// How often an operation was asked for.
    pub fn calls(&self, operation: &str) -> u64 {
        self.state().calls.get(operation).copied().unwrap_or_default()
    }

    /// The most requests with content that were under way at once.
    pub fn uploading_most(&self) -> usize {
        self.state().uploading.1
    }

    /// The most reads that were under way at once.
    pub fn reading_most(&self) -> usize {
        self.state().reading.1
    }

    /// Uploads that are neither completed nor aborted.
    pub fn uploads(&self) -> usize {
        self.state().uploads.len()
    }

    async fn handle(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        // What the server has heard of it does, though whoever asked is gone.
        let proxy = self.clone();
        let answered = tokio::spawn(async move { proxy.answer(parts, body).await });
        answered.await.map_err(io::Error::other)?
    }

    async fn answer(&self, parts: Parts, mut body: Bytes) -> io::Result<Response<Full<Bytes>>> {
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let operation = operation(&parts.method, &query);
        let path = parts.uri.path().to_owned();
        let fault = self.state().next_fault(operation);
        match fault {
            Some(Fault::SlowDown) => return Ok(refusal(503, "SlowDown")),
            Some(Fault::Internal) => return Ok(refusal(500, "InternalError")),
            Some(Fault::Conflict) => return Ok(refusal(409, "ConditionalRequestConflict")),
            Some(Fault::Denied) => return Ok(refusal(403, "AccessDenied")),
            Some(Fault::Reset) => return Err(io::Error::other("reset")),
            Some(Fault::Damaged) => body = damaged(&body),
            Some(Fault::LostResponse) | None => {}
        }
        if operation == "ListMultipartUploads" && !self.lists_uploads {
            return Ok(self.list_uploads(&query));
        }
        let lock = {
            let mut keys = self.keys.lock().expect("nobody panics with it");
            keys.entry(path.clone()).or_default().clone()
        };
        let has_content = matches!(operation, "PutObject" | "UploadPart");
        let reads = operation == "GetObject";
        let delay = self.state().begin(has_content, reads);
        if !delay.is_zero() && (has_content || reads) {
            tokio::time::sleep(delay).await;
        }
        // The parts of one upload arrive side by side, and reads are answered so.
        let in_order = match operation {
            "UploadPart" | "GetObject" => None,
            _ => Some(lock.lock().await),
        };
        let answer = forward(self.upstream, Request::from_parts(parts, Full::new(body))).await;
        drop(in_order);
        self.state().end(has_content, reads);
        let (parts, answer) = answer?.into_parts();
        self.state().note(operation, &path, &query, parts.status, &answer);
        if fault == Some(Fault::LostResponse) {
            return Err(io::Error::other("lost"));
        }
        let is_refused =
            operation == "PutObject" && parts.status == StatusCode::PRECONDITION_FAILED;
        if is_refused && self.state().overwrites {
            return Ok(Response::new(Full::default()));
        }
        let mut response = Response::builder().status(parts.status);
        for (name, value) in &parts.headers {
            let head = operation == "HeadObject";
            if name != "transfer-encoding" && (head || name != "content-length") {
                response = response.header(name, value);
            }
        }
        response.body(Full::new(answer)).map_err(io::Error::other)
    }

    /// What the embedded server can't say: which uploads there are below a prefix.
    fn list_uploads(&self, query: &str) -> Response<Full<Bytes>> {
        let prefix = query.split('&').find_map(|it| it.strip_prefix("prefix="));
        let prefix = prefix.unwrap_or_default().replace("%2F", "/");
        let state = self.state();
        let uploads = state.uploads.iter().filter(|(_, key)| key.starts_with(&prefix));
        let uploads: String = uploads
            .map(|(id, key)| format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>"))
            .collect();
        let body = format!(
            "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{uploads}\
             </ListMultipartUploadsResult>"
        );
        Response::new(Full::new(body.into()))
    }
}

impl State {
    fn next_fault(&mut self, operation: &'static str) -> Option<Fault> {
        *self.calls.entry(operation).or_default() += 1;
        let planned = self.faults.get_mut(operation).filter(|faults| !faults.is_empty());
        let fault = match planned {
            Some(faults) => Some(faults.remove(0)),
            None => self.unruly.as_mut().and_then(|(one_in, seed)| {
                *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let random = *seed >> 33;
                let is_due = random.is_multiple_of(*one_in);
                is_due.then(|| PASSING[(random / *one_in) as usize % PASSING.len()])
            }),
        };
        self.made += u64::from(fault.is_some());
        fault
    }

    fn begin(&mut self, has_content: bool, reads: bool) -> Duration {
        self.reading.0 += usize::from(reads);
        self.reading.1 = self.reading.1.max(self.reading.0);
        self.uploading.0 += usize::from(has_content);
        self.uploading.1 = self.uploading.1.max(self.uploading.0);
        self.delay
    }

    fn end(&mut self, has_content: bool, reads: bool) {
        self.reading.0 -= usize::from(reads);
        self.uploading.0 -= usize::from(has_content);
    }

    fn note(&mut self, operation: &str, path: &str, query: &str, status: StatusCode, body: &[u8]) {
        if !status.is_success() {
            return;
        }
        let id = query.split('&').find_map(|it| it.strip_prefix("uploadId="));
        match operation {
            "CreateMultipartUpload" => {
                let body = String::from_utf8_lossy(body);
                let id = body.split("<UploadId>").nth(1).and_then(|it| it.split('<').next());
                let key = path.splitn(3, '/').nth(2).unwrap_or_default();
                let id = id.expect("an upload has an id").to_owned();
                self.uploads.insert(id, key.to_owned());
            }
            // A failure may still come as an answer that began well.
            "CompleteMultipartUpload" if body.windows(6).any(|it| it == b"<Error") => {}
            "CompleteMultipartUpload" | "AbortMultipartUpload" => {
                self.uploads.remove(id.unwrap_or_default());
            }
            _ => {}
        }
    }
}

fn operation(method: &Method, query: &str) -> &'static str {
    let asks = |name: &str| {
        query
            .split('&')
            .any(|it| it == name || it.strip_prefix(name).is_some_and(|it| it.starts_with('=')))
    };
    match *method {
        Method::PUT if asks("uploadId") => "UploadPart",
        Method::PUT => "PutObject",
        Method::POST if asks("uploads") => "CreateMultipartUpload",
        Method::POST if asks("uploadId") => "CompleteMultipartUpload",
        Method::DELETE if asks("uploadId") => "AbortMultipartUpload",
        Method::DELETE => "DeleteObject",
        Method::HEAD => "HeadObject",
        Method::GET if asks("list-type") => "ListObjectsV2",
        Method::GET if asks("uploads") => "ListMultipartUploads",
        Method::GET => "GetObject",
        _ => "another",
    }
}

fn refusal(status: u16, code: &str) -> Response<Full<Bytes>> {
    let body = format!("<Error><Code>{code}</Code><Message>by order of the test</Message></Error>");
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    if code == "SlowDown" {
        response.headers_mut().insert("retry-after", "1".parse().expect("a header"));
    }
    response
}

/// The same but for one byte in the middle.
fn damaged(body: &Bytes) -> Bytes {
    let mut body = body.to_vec();
    let middle = body.len() / 2;
    if let Some(byte) = body.get_mut(middle) {
        *byte ^= 1;
    }
    body.into()
}
