//! Calls to the queue, and what their failures mean.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_sqs::{
    Client,
    types::{
        BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
        DeleteMessageBatchRequestEntry,
    },
};
use tidegate_core::{
    sink::{SinkError, SinkErrorKind},
    source::{SourceError, SourceErrorKind},
};
use tokio::sync::OnceCell;

use super::S3SourceConfig;
use crate::aws::{self, AwsConfig, refusals::Refusals};

/// SQS waits for a message for so long. It could for 20 s; but a call that is broken off may still take
/// messages, which nobody has then, so that a stop waits for it.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// A call of that kind, on a busy line.
const CALL_MAX: Duration = Duration::from_secs(30);

/// What SQS takes at once.
pub(super) const ENTRIES_MAX: usize = 10;

const REFUSALS: Refusals = Refusals {
    passing: aws::sqs::PASSING,
    permission: "`sqs:ReceiveMessage`, `sqs:DeleteMessage` and `sqs:ChangeMessageVisibility` on the \
                 queue",
    advice,
};

fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue" | "InvalidAddress" => {
            "there is none of this address in this region: create it, or correct `queue` and \
             `queue_region`"
        }
        "KmsAccessDenied" | "KmsDisabled" | "KmsInvalidState" | "KmsNotFound"
        | "KmsOptInRequired" | "KmsInvalidKeyUsage" => {
            "the key of KMS that it is encrypted with can't be used: it must be enabled, and the \
             credentials need `kms:Decrypt` on it"
        }
        _ => return None,
    })
}

/// A queue that is received from.
pub(super) struct Queue {
    url: String,
    aws: AwsConfig,
    visibility: i32,
    client: OnceCell<Client>,
}

/// A message as it was received.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) id: String,
    pub(super) receipt: String,
    pub(super) body: String,
}

/// How a call about several messages ended, for one that it was not done for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) receipt: String,
    /// Asking again changes nothing: the receipt is worth nothing any more.
    pub(super) is_for_good: bool,
}

impl Queue {
    pub(super) fn new(config: &S3SourceConfig) -> Self {
        Queue {
            url: config.queue.clone(),
            aws: config.queue_aws.clone(),
            visibility: i32::try_from(config.visibility.as_secs()).unwrap_or(i32::MAX),
            client: OnceCell::new(),
        }
    }

    pub(super) async fn client(&self) -> &Client {
        self.client.get_or_init(|| aws::sqs::client(&self.aws, CALL_MAX)).await
    }

    /// Takes messages, and hides them. Where it waits for some, for as long as is proper.
    pub(super) async fn receive(
        &self,
        most: usize,
        waits: bool,
    ) -> Result<Vec<Received>, SourceError> {
        let wait = if waits { WAIT_MAX.as_secs() as i32 } else { 0 };
        let receive = self.client().await.receive_message().queue_url(&self.url);
        let answer = receive
            .max_number_of_messages(most.min(ENTRIES_MAX) as i32)
            .visibility_timeout(self.visibility)
            .wait_time_seconds(wait)
            .send()
            .await;
        let what = || format!("failed to receive from SQS queue `{}`", self.url);
        let answer = answer.map_err(|error| source_error(REFUSALS.failed(what(), error)))?;
        let messages = answer.messages.unwrap_or_default().into_iter();
        // What has no receipt can't be deleted, and comes again.
        let messages = messages.filter_map(|it| {
            let body = it.body.unwrap_or_default();
            Some(Received { id: it.message_id?, receipt: it.receipt_handle?, body })
        });
        Ok(messages.collect())
    }

    /// Deletes messages. Says which were not.
    pub(super) async fn delete(&self, receipts: &[String]) -> Result<Vec<Refused>, SourceError> {
        let entry = |(place, receipt): (usize, &String)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(place.to_string());
            entry.receipt_handle(receipt).build().expect("it has an id and a receipt")
        };
        let entries = receipts.iter().enumerate().map(entry).collect();
        let delete = self.client().await.delete_message_batch().queue_url(&self.url);
        let what = || format!("failed to delete from SQS queue `{}`", self.url);
        let answer = delete.set_entries(Some(entries)).send().await;
        let answer = answer.map_err(|error| source_error(REFUSALS.failed(what(), error)))?;
        let done = answer.successful().iter().map(|it| it.id());
        Ok(refused(receipts, done, answer.failed()))
    }

    /// Hides messages for so many seconds from now on; 0 shows them. Says which it was not done for.
    pub(super) async fn hide(
        &self,
        receipts: &[String],
        shown: bool,
    ) -> Result<Vec<Refused>, SourceError> {
        let seconds = if shown { 0 } else { self.visibility };
        let entry = |(place, receipt): (usize, &String)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(place.to_string());
            let entry = entry.receipt_handle(receipt).visibility_timeout(seconds);
            entry.build().expect("it has an id and a receipt")
        };
        let entries = receipts.iter().enumerate().map(entry).collect();
        let hide = self.client().await.change_message_visibility_batch().queue_url(&self.url);
        let what = || format!("failed to hide messages of SQS queue `{}`", self.url);
        let answer = hide.set_entries(Some(entries)).send().await;
        let answer = answer.map_err(|error| source_error(REFUSALS.failed(what(), error)))?;
        let done = answer.successful().iter().map(|it| it.id());
        Ok(refused(receipts, done, answer.failed()))
    }
}

/// For which messages an answer does not say that it was done.
fn refused<'a>(
    receipts: &[String],
    done: impl Iterator<Item = &'a str>,
    failed: &[BatchResultErrorEntry],
) -> Vec<Refused> {
    let place = |id: &str| id.parse::<usize>().ok();
    let failed: BTreeMap<_, _> =
        failed.iter().filter_map(|it| Some((place(it.id())?, it))).collect();
    let done: Vec<_> = done.filter_map(place).filter(|it| !failed.contains_key(it)).collect();
    let refused = receipts.iter().enumerate().filter(|(place, _)| !done.contains(place));
    let refused = refused.map(|(place, receipt)| {
        let said = failed.get(&place);
        let is_for_good = said.is_some_and(|it| it.sender_fault() && !REFUSALS.passes(it.code()));
        Refused { receipt: receipt.clone(), is_for_good }
    });
    refused.collect()
}

/// What is told of sinks, as a source's.
pub(super) fn source_error(error: SinkError) -> SourceError {
    let kind = match error.kind {
        SinkErrorKind::Unavailable { .. } => SourceErrorKind::Unavailable,
        _ => SourceErrorKind::Broken,
    };
    SourceError { kind, message: error.message, cause: error.cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_does_not_say_is_done_is_not() {
        let failed = |id: &str, code: &str, sender: bool| {
            let entry = BatchResultErrorEntry::builder().id(id).code(code).sender_fault(sender);
            entry.build().expect("it has what it takes")
        };
        let receipts: Vec<String> = (0..5).map(|place| format!("r{place}")).collect();
        let failed = [
            failed("1", "InternalError", false),
            failed("3", "ReceiptHandleIsInvalid", true),
            failed("4", "RequestThrottled", true),
        ];
        let refused = refused(&receipts, ["0", "3", "17"].into_iter(), &failed);
        let refusal =
            |receipt: &str, is_for_good| Refused { receipt: receipt.to_owned(), is_for_good };
        assert_eq!(
            refused,
            [refusal("r1", false), refusal("r2", false), refusal("r3", true), refusal("r4", false)]
        );
    }
}
