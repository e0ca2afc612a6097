//! Calls to Kinesis, by AWS's own library, and what their failures mean.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use aws_sdk_kinesis::{
    Client,
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::BeforeDeserializationInterceptorContextRef,
    },
    error::{BoxError, ProvideErrorMetadata, SdkError},
    primitives::{DateTime, DateTimeFormat},
};
use tidegate_core::{
    Timestamp,
    source::{SourceError, SourceErrorKind},
};
use tokio::sync::OnceCell;

use super::KinesisConfig;
use crate::aws::{self, Io};

/// An answer of ten megabytes over a slow line takes some seconds.
const CALL_MAX: Duration = Duration::from_secs(30);

/// What Kinesis says when it is asked too often, by shard, by account or of its keys.
const THROTTLED: [&str; 6] = [
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "KMSThrottlingException",
    "ThrottlingException",
    "Throttling",
    "RequestLimitExceeded",
];

/// What passes by itself.
const PASSING: [&str; 6] = [
    "ExpiredTokenException",
    "ExpiredToken",
    "RequestExpired",
    "ExpiredNextTokenException",
    "InternalFailure",
    // The stream is being made.
    "ResourceInUseException",
];

/// Makes calls.
pub(super) struct Caller {
    config: Arc<KinesisConfig>,
    client: OnceCell<Client>,
    io: Io,
    clock: Arc<ServerClock>,
}

impl Caller {
    pub(super) fn new(config: Arc<KinesisConfig>) -> Self {
        let (client, io, clock) = (OnceCell::new(), Io::default(), Arc::default());
        Caller { config, client, io, clock }
    }

    /// Does some work with the client, where I/O is done. Dropping the future ends the work.
    pub(super) async fn call<T, F>(
        &self,
        work: impl FnOnce(Client) -> F + Send + 'static,
    ) -> Result<T, SourceError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, SourceError>> + Send + 'static,
    {
        let client = self.client.get_or_init(|| self.connect()).await.clone();
        self.io.run(work(client)).await.unwrap_or_else(|error| {
            let message = "a call to Kinesis was not finished";
            Err(SourceError::new(SourceErrorKind::Unavailable, message, error))
        })
    }

    /// The server's time; this machine's until a server has told its own.
    pub(super) fn server_time(&self) -> Timestamp {
        self.clock.now()
    }

    /// A client, which has made no call yet.
    pub(super) async fn connect(&self) -> Client {
        let config = aws::service_config!(aws_sdk_kinesis, &self.config.aws, CALL_MAX)
            .interceptor(Listener(self.clock.clone()));
        Client::from_conf(config.build())
    }
}

/// The server's clock, as far as its answers tell: to the second, and never ahead of it.
#[derive(Debug, Default)]
struct ServerClock {
    /// Microseconds that it is ahead of this machine's.
    ahead: AtomicI64,
}

impl ServerClock {
    fn now(&self) -> Timestamp {
        let here = jiff::Timestamp::now().as_microsecond();
        Timestamp(here + self.ahead.load(Ordering::Relaxed))
    }

    fn told(&self, time: Timestamp) {
        let here = jiff::Timestamp::now().as_microsecond();
        self.ahead.store(time.0 - here, Ordering::Relaxed);
    }
}

/// Reads the `Date` of each answer.
#[derive(Debug)]
struct Listener(Arc<ServerClock>);

impl Intercept for Listener {
    fn name(&self) -> &'static str {
        "server-clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|it| DateTime::from_str(it, DateTimeFormat::HttpDate).ok());
        if let Some(date) = date {
            self.0.told(timestamp(&date));
        }
        Ok(())
    }
}

/// A time of the library's.
pub(super) fn timestamp(time: &DateTime) -> Timestamp {
    Timestamp(time.secs() * 1_000_000 + i64::from(time.subsec_nanos()) / 1_000)
}

/// A time for the library.
pub(super) fn date_time(time: Timestamp) -> DateTime {
    let nanoseconds = time.0.rem_euclid(1_000_000) * 1_000;
    DateTime::from_secs_and_nanos(time.0.div_euclid(1_000_000), nanoseconds as u32)
}

/// Whether a call was refused for want of throughput.
pub(super) fn is_throttled<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.code().is_some_and(|code| THROTTLED.contains(&code))
}

/// What a failed call means for the source.
pub(super) fn failed<E>(what: impl Into<String>, error: SdkError<E>) -> SourceError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let code = error.code().unwrap_or_default();
    let passes = THROTTLED.contains(&code) || PASSING.contains(&code);
    let kind = match &error {
        SdkError::ServiceError(refused) => {
            let status = refused.raw().status().as_u16();
            match passes || status >= 500 || status == 429 {
                true => SourceErrorKind::Unavailable,
                false => SourceErrorKind::Broken,
            }
        }
        // The config is such that no request can be made of it: no region.
        SdkError::ConstructionFailure(_) => SourceErrorKind::Broken,
        _ => SourceErrorKind::Unavailable,
    };
    SourceError::new(kind, what, error)
}
