//! How often and how much may be asked of a shard: plain structs, with the time as an argument.
//!
//! A shard answers five calls and gives two megabytes a second, and an answer of ten megabytes
//! counts for five seconds. So what an answer held is paid for before the next call, which no
//! token bucket with a burst does.

use std::time::Duration;

use tokio::time::Instant;

/// What a shard allows: five calls of one operation a second.
const CALL_EVERY: Duration = Duration::from_millis(200);

/// What a shard gives in a second, to all who read it by polling.
const BYTES_PER_SECOND: u64 = 2_000_000;

/// An answer holds no more records.
const RECORDS_MAX: u64 = 10_000;

/// Asked for before anything is known of a shard.
const RECORDS_FIRST: u64 = 1_000;

/// A shard gives so much in half a second: fewer calls than are allowed, and answers small enough
/// that many shards can have one in memory.
const ANSWER_BYTES: u64 = 1 << 20;

/// A shard that finds no room for an answer of usual size asks for about so much.
const SMALL_ANSWER_BYTES: u64 = 64 << 10;

/// When a shard may be asked again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    next_call: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Pace { next_call: now }
    }

    /// When the next call may be made.
    pub(super) fn next_call(&self) -> Instant {
        self.next_call
    }

    /// A call is made.
    pub(super) fn called(&mut self, now: Instant) {
        self.next_call = now + CALL_EVERY;
    }

    /// The call that was made at `at` gave so many bytes.
    pub(super) fn answered(&mut self, at: Instant, bytes: u64) {
        let paid_for = at + Duration::from_micros(bytes * 1_000_000 / BYTES_PER_SECOND);
        self.next_call = self.next_call.max(paid_for);
    }

    /// Nothing more is there: it is asked for after a while.
    pub(super) fn rest(&mut self, now: Instant, length: Duration) {
        self.next_call = self.next_call.max(now + length);
    }
}

/// How many records to ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AnswerSize {
    /// Exponential averages over answers with records; 0 where there was none.
    record_bytes: u64,
    largest_bytes: u64,
}

impl AnswerSize {
    /// An answer of usual size.
    pub(super) fn usual(&self) -> u64 {
        match self.record_bytes {
            0 => RECORDS_FIRST,
            bytes => (ANSWER_BYTES / bytes).clamp(1, RECORDS_MAX),
        }
    }

    /// An answer that is small even if all records are as large as the largest ones seen.
    pub(super) fn small(&self) -> u64 {
        match self.largest_bytes {
            0 => 1,
            bytes => (SMALL_ANSWER_BYTES / bytes).clamp(1, RECORDS_MAX),
        }
    }

    /// What an answer held.
    pub(super) fn learn(&mut self, records: u64, bytes: u64, largest_bytes: u64) {
        if records == 0 {
            return;
        }
        let mean = (bytes / records).max(1);
        self.record_bytes = match self.record_bytes {
            0 => mean,
            before => (before * 3 + mean) / 4,
        };
        // Grows at once and shrinks slowly.
        let faded = self.largest_bytes - self.largest_bytes / 8;
        self.largest_bytes = largest_bytes.max(faded).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_calls_and_two_megabytes_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let (mut now, mut calls, mut bytes) = (start, 0, 0u64);
        while now < start + Duration::from_secs(60) {
            pace.called(now);
            let answer = [0, 300, 90_000, 1_000_000, 10_000_000][calls % 5];
            pace.answered(now, answer);
            (calls, bytes) = (calls + 1, bytes + answer);
            now = pace.next_call();
        }
        let seconds = (now - start).as_secs_f64();
        assert!(calls as f64 <= seconds * 5.0, "{calls} calls in {seconds} s");
        assert!(bytes as f64 <= seconds * 2e6, "{bytes} bytes in {seconds} s");
        assert!(bytes as f64 > seconds * 1.7e6, "what is allowed is used: {bytes} in {seconds} s");
    }

    #[test]
    fn an_answer_of_ten_megabytes_counts_for_five_seconds() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.called(start);
        pace.answered(start, 10_000_000);
        assert_eq!(pace.next_call() - start, Duration::from_secs(5));
    }

    #[test]
    fn answers_have_the_same_size_whatever_records_have() {
        for bytes in [10, 100, 5_000, 400_000, 10 << 20] {
            let mut size = AnswerSize::default();
            assert_eq!((size.usual(), size.small()), (RECORDS_FIRST, 1));
            for _ in 0..40 {
                let records = size.usual();
                size.learn(records, records * bytes, bytes);
            }
            let answer = size.usual() * bytes;
            let at_most = ANSWER_BYTES.max(bytes);
            assert!(answer <= at_most, "{answer} of records of {bytes}");
            assert!(size.usual() == RECORDS_MAX || answer * 2 > at_most, "{answer} of {bytes}");
            assert!(size.small() * bytes <= SMALL_ANSWER_BYTES.max(bytes));
        }
    }

    #[test]
    fn one_large_record_makes_small_answers_smaller_at_once() {
        let mut size = AnswerSize::default();
        size.learn(1_000, 500_000, 500);
        assert!(size.small() > 100);
        size.learn(1_000, 1_500_000, 1_000_000);
        assert_eq!(size.small(), 1);
        size.learn(0, 0, 0);
        assert_eq!(size.small(), 1, "an empty answer says nothing");
    }
}
