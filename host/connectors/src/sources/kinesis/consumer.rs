//! By which consumer a stream is read, if by one. It may be another from one read to the next.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_kinesis::{Client, types::ConsumerStatus};
use tidegate_core::source::{SourceError, SourceErrorKind};
use tokio::{sync::OnceCell, time::Instant};

use super::client::{Caller, failed};

/// Whether a consumer that is being registered can be had by now is asked once in this time, for all
/// shards together: an account may ask twenty times a second.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The consumer of a stream.
#[derive(Debug)]
pub(super) struct Consumer(Mutex<Arc<Found>>);

/// A consumer, by name or by ARN, or none: shards are polled.
#[derive(Debug)]
pub(super) struct Found {
    named: Option<String>,
    /// Its ARN, once it can be subscribed with.
    arn: OnceCell<String>,
    /// It is being registered, and is asked for again then.
    ask_at: Mutex<Option<Instant>>,
}

/// Why there is no ARN.
enum NoArn {
    /// The consumer is being registered, or nobody says for now.
    NotYet,
    Failed(SourceError),
}

impl Found {
    fn new(named: Option<String>) -> Self {
        Found { named, arn: OnceCell::new(), ask_at: Mutex::new(None) }
    }

    /// Looks a consumer up, and registers one that is not there.
    pub(super) async fn look_up(
        caller: &Caller,
        stream: &str,
        named: Option<String>,
    ) -> Result<Self, SourceError> {
        let found = Found::new(named);
        found.arn(caller, stream).await?;
        Ok(found)
    }

    async fn arn(&self, caller: &Caller, stream: &str) -> Result<Option<String>, SourceError> {
        let Some(named) = &self.named else { return Ok(None) };
        // Shards that begin together wait for one answer.
        let arn = self.arn.get_or_try_init(|| async {
            if unpoisoned(&self.ask_at).is_some_and(|at| Instant::now() < at) {
                return Err(NoArn::NotYet);
            }
            let found = look_up(caller, stream, named).await;
            if !matches!(found, Ok(Some(_))) {
                *unpoisoned(&self.ask_at) = Some(Instant::now() + ASK_EVERY);
            }
            match found {
                Ok(arn) => arn.ok_or(NoArn::NotYet),
                // What there is to read is read meanwhile.
                Err(error) if error.kind == SourceErrorKind::Unavailable => Err(NoArn::NotYet),
                Err(error) => Err(NoArn::Failed(error)),
            }
        });
        match arn.await {
            Ok(arn) => Ok(Some(arn.clone())),
            Err(NoArn::NotYet) => Ok(None),
            Err(NoArn::Failed(error)) => Err(error),
        }
    }
}

impl Consumer {
    pub(super) fn new(named: Option<String>) -> Self {
        Consumer(Mutex::new(Arc::new(Found::new(named))))
    }

    /// What it was named, by name or by ARN; none where shards are polled.
    pub(super) fn named(&self) -> Option<String> {
        self.found().named.clone()
    }

    /// Whom to subscribe as now. Nobody, where shards are polled: also as long as the consumer is
    /// being registered, or can't be looked up for a failure that passes.
    pub(super) async fn arn(
        &self,
        caller: &Caller,
        stream: &str,
    ) -> Result<Option<String>, SourceError> {
        let found = self.found();
        found.arn(caller, stream).await
    }

    /// Reads by another one from now on, or by none.
    pub(super) fn change(&self, to: Found) {
        *unpoisoned(&self.0) = Arc::new(to);
    }

    fn found(&self) -> Arc<Found> {
        unpoisoned(&self.0).clone()
    }
}

/// Nothing that is locked here is ever half changed.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A consumer's ARN; none while it is being registered. One that is not there is registered.
async fn look_up(
    caller: &Caller,
    stream: &str,
    named: &str,
) -> Result<Option<String>, SourceError> {
    if named.starts_with("arn:") {
        // Another stream has shards of the same names.
        if !named.starts_with(&format!("{stream}/consumer/")) {
            let message = format!("`{named}` is no consumer of the stream `{stream}`");
            return Err(SourceError::plain(SourceErrorKind::Broken, message));
        }
        return Ok(Some(named.to_owned()));
    }
    let (stream, named) = (stream.to_owned(), named.to_owned());
    caller.call(|client| describe_or_register(client, stream, named)).await
}

async fn describe_or_register(
    client: Client,
    stream: String,
    name: String,
) -> Result<Option<String>, SourceError> {
    let call = client.describe_stream_consumer().stream_arn(&stream).consumer_name(&name);
    let error = match call.send().await {
        Ok(answer) => {
            let active = answer.consumer_description;
            let active = active.filter(|it| it.consumer_status == ConsumerStatus::Active);
            return Ok(active.map(|it| it.consumer_arn));
        }
        Err(error) => error,
    };
    if !error.as_service_error().is_some_and(|it| it.is_resource_not_found_exception()) {
        return Err(failed(format!("failed to look up the consumer `{name}`"), error));
    }
    let call = client.register_stream_consumer().stream_arn(stream).consumer_name(&name);
    match call.send().await {
        Ok(_) => Ok(None),
        // Another host was first.
        Err(error)
            if error.as_service_error().is_some_and(|it| it.is_resource_in_use_exception()) =>
        {
            Ok(None)
        }
        Err(error) => Err(failed(format!("failed to register the consumer `{name}`"), error)),
    }
}
