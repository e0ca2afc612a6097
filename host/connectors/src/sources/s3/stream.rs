//! An object's bytes in order, as something that blocks: chunks are fetched side by side, and handed
//! over one behind the other.
//!
//! The first chunk behind a place is small and alone, for whoever looks at how an object begins, or at
//! a small object. From then on chunks are fetched ahead, as far as the budget of all objects goes; the
//! one that a reader waits for needs no room there, so that nobody waits for anybody.

use std::{
    collections::VecDeque,
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
};

use bytes::{Buf, Bytes};
use tidegate_core::source::{SourceError, SourceErrorKind};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    task::AbortHandle,
};

use super::object::{Bucket, Found, Requests};

/// The first chunk behind a place.
const FIRST_BYTES: u64 = 1 << 20;

/// Reads one object.
pub(super) struct ObjectStream {
    bucket: Arc<Bucket>,
    found: Arc<Found>,
    requests: Requests,
    /// Where the reader stands.
    at: u64,
    /// What is left of the chunk that it stands in, and the room that the chunk takes.
    chunk: Bytes,
    room: Option<OwnedSemaphorePermit>,
    /// What comes behind it.
    ahead: VecDeque<Fetch>,
    /// How far chunks have been asked for.
    asked: u64,
    /// Nothing has been read since the start, or since the last jump.
    begins: bool,
}

impl ObjectStream {
    pub(super) fn new(bucket: Arc<Bucket>, found: Arc<Found>, requests: Requests) -> Self {
        ObjectStream {
            bucket,
            found,
            requests,
            at: 0,
            chunk: Bytes::new(),
            room: None,
            ahead: VecDeque::new(),
            asked: 0,
            begins: true,
        }
    }

    /// Asks for the chunk that comes next, if nobody has, and for those behind it as far as there is
    /// room.
    fn ask(&mut self) {
        let most = if self.begins { 1 } else { self.bucket.config.chunks_max.max(1) };
        let usual = self.bucket.config.chunk_bytes.max(1) as u64;
        let size = if self.begins { FIRST_BYTES.min(usual) } else { usual };
        while self.asked < self.found.length && self.ahead.len() < most {
            let to = (self.asked + size).min(self.found.length);
            let room = match self.ahead.is_empty() {
                true => None,
                false => match self.bucket.room_ahead(to - self.asked) {
                    Some(room) => Some(room),
                    None => return,
                },
            };
            let part = (self.asked, to);
            let mut fetch = Fetch::start(&self.bucket, &self.found, &self.requests, part);
            fetch.room = room;
            self.ahead.push_back(fetch);
            self.asked = to;
        }
        self.begins = false;
    }

    fn jump(&mut self, to: u64) {
        self.ahead.clear();
        self.chunk = Bytes::new();
        self.room = None;
        (self.at, self.asked, self.begins) = (to, to, true);
    }
}

impl Read for ObjectStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() || self.at >= self.found.length {
            return Ok(0);
        }
        if self.chunk.is_empty() {
            self.room = None;
            self.ask();
            let next = self.ahead.pop_front().expect("there is more, and it was asked for");
            match next.wait() {
                Ok((chunk, room)) => (self.chunk, self.room) = (chunk, room),
                Err(error) => {
                    self.jump(self.at);
                    return Err(io::Error::other(error));
                }
            }
            // While this one is read; but not behind the first one, which may be all that is looked at.
            if !self.ahead.is_empty() {
                self.ask();
            }
        }
        let length = into.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut into[..length]);
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for ObjectStream {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(by) => self.found.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        let place = place.ok_or(io::ErrorKind::InvalidInput)?;
        let left = self.chunk.len() as u64;
        match place.checked_sub(self.at).filter(|by| *by <= left) {
            Some(by) => {
                self.chunk.advance(by as usize);
                self.at = place;
            }
            None => self.jump(place),
        }
        Ok(place)
    }
}

/// A part of an object that is being fetched. Dropping it ends that.
pub(super) struct Fetch {
    answer: Option<oneshot::Receiver<Result<Bytes, SourceError>>>,
    task: AbortHandle,
    room: Option<OwnedSemaphorePermit>,
}

impl Fetch {
    pub(super) fn start(
        bucket: &Arc<Bucket>,
        found: &Arc<Found>,
        requests: &Requests,
        (from, to): (u64, u64),
    ) -> Self {
        let (tells, answer) = oneshot::channel();
        let (bucket, found) = (bucket.clone(), found.clone());
        let task = requests.0.spawn(async move {
            let _ = tells.send(bucket.part(&found, from, to).await);
        });
        Fetch { answer: Some(answer), task: task.abort_handle(), room: None }
    }

    /// Blocks until it is there.
    pub(super) fn wait(mut self) -> Result<(Bytes, Option<OwnedSemaphorePermit>), SourceError> {
        let answer = self.answer.take().expect("it is waited for once").blocking_recv();
        let bytes = answer.unwrap_or_else(|error| {
            let message = "a request to S3 was not finished";
            Err(SourceError::new(SourceErrorKind::Unavailable, message, error))
        })?;
        Ok((bytes, self.room.take()))
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
