//! Reads the next records while the last ones are being processed.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tidegate_core::{
    Position,
    source::{ReadLimit, ReadOutcome, Reader, SourceError},
};

/// A reader with at most one read under way or finished and not taken.
pub(crate) struct ReadAhead {
    limit: ReadLimit,
    state: State,
}

type Answer = Result<ReadOutcome, SourceError>;
type Reading = Pin<Box<dyn Future<Output = (Box<dyn Reader>, Answer)> + Send>>;

#[allow(clippy::large_enum_variant, reason = "one a partition")]
enum State {
    Resting(Box<dyn Reader>),
    Reading(Reading),
    Finished(Box<dyn Reader>, Answer),
    /// Only while one of the others is made from another.
    Moving,
}

impl ReadAhead {
    pub(crate) fn new(reader: Box<dyn Reader>, limit: ReadLimit) -> Self {
        ReadAhead { limit, state: State::Resting(reader) }
    }

    /// Sets a read off and lets it get as far as it gets without waiting: a reader whose bytes
    /// come from another thread, or from the network, goes on while records are processed.
    pub(crate) async fn set_off(&mut self) {
        std::future::poll_fn(|cx| {
            let _ = self.poll(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// The next read. May be dropped and called again: nothing is lost.
    pub(crate) async fn next(&mut self) -> Answer {
        std::future::poll_fn(|cx| self.poll(cx)).await;
        match std::mem::replace(&mut self.state, State::Moving) {
            State::Finished(reader, answer) => {
                self.state = State::Resting(reader);
                answer
            }
            _ => unreachable!("polling returns when a read is finished"),
        }
    }

    /// The token of a position that was returned. Waits for the read that is under way.
    pub(crate) async fn token(&mut self, position: Position) -> String {
        if matches!(self.state, State::Reading(_)) {
            std::future::poll_fn(|cx| self.poll(cx)).await;
        }
        match &self.state {
            State::Resting(reader) | State::Finished(reader, _) => reader.token(position),
            _ => unreachable!("no read is under way"),
        }
    }

    /// Ready when a read is finished.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut reading = match std::mem::replace(&mut self.state, State::Moving) {
            State::Resting(mut reader) => {
                let limit = self.limit;
                Box::pin(async move {
                    let answer = reader.read(limit).await;
                    (reader, answer)
                })
            }
            State::Reading(reading) => reading,
            finished => {
                self.state = finished;
                return Poll::Ready(());
            }
        };
        match reading.as_mut().poll(cx) {
            Poll::Ready((reader, answer)) => {
                self.state = State::Finished(reader, answer);
                Poll::Ready(())
            }
            Poll::Pending => {
                self.state = State::Reading(reading);
                Poll::Pending
            }
        }
    }
}
