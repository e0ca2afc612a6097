//! A message that tells of no object, as a partition of one record that is none.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::{
    Position, RecordBatch,
    record::Defect,
    source::{ReadLimit, ReadOutcome, Reader, Resume, SourceError},
};

/// The position of the one record that a message is.
const POSITION: Position = Position::from_offset(1);

/// A message, and why it is no notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadMessage {
    pub(super) body: Arc<str>,
    pub(super) code: &'static str,
    pub(super) why: String,
}

/// Reads a message.
pub(super) struct MessageReader {
    message: BadMessage,
    done: bool,
}

impl MessageReader {
    pub(super) fn new(message: BadMessage, after: Option<&Resume>) -> Self {
        MessageReader { message, done: after.is_some() }
    }
}

#[async_trait]
impl Reader for MessageReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        if self.done || limit.until.is_some_and(|until| until < POSITION) {
            return Ok(ReadOutcome::Ended);
        }
        self.done = true;
        let bytes = Bytes::copy_from_slice(self.message.body.as_bytes());
        let BadMessage { code, why, .. } = &self.message;
        Ok(ReadOutcome::Records(RecordBatch {
            // A message has a megabyte at most.
            spans: vec![(0, bytes.len() as u32)],
            positions: vec![POSITION],
            defects: vec![Defect { row: 0, code, message: why.clone() }],
            bytes,
            ..RecordBatch::default()
        }))
    }

    fn token(&self, _: Position) -> String {
        String::new()
    }
}
