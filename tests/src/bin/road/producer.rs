//! Writes generated events into the stream, in order, each with a number of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use serde_json::Value;
use tidegate_connectors::generator::{GeneratorConfig, PARTITION_KEY, write_lines};
use tidegate_tests::kinesis::{Kinesis, put_all};

/// Events of one request.
const BATCH: usize = 250;

/// What an event's number is found by, wherever it lies.
const NUMBER: &[u8] = b"\"producer_id\":";

/// A producer that is at work.
pub(crate) struct Producer {
    acknowledged: Arc<AtomicU64>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Producer {
    pub(crate) fn start(kinesis: &Kinesis, records: u64, rate: u64, seed: u64) -> Self {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let (counter, (io, client, stream)) = (Arc::clone(&acknowledged), kinesis.client());
        let thread = thread::spawn(move || {
            let events = events(records, seed)?;
            let began = Instant::now();
            for batch in events.chunks(BATCH) {
                io.block_on(put_all(&client, &stream, batch.to_vec()));
                let put = counter.fetch_add(batch.len() as u64, Ordering::Relaxed);
                let due = Duration::from_secs_f64((put + batch.len() as u64) as f64 / rate as f64);
                thread::sleep(due.saturating_sub(began.elapsed()));
            }
            Ok(())
        });
        Producer { acknowledged, thread }
    }

    /// How many events the stream has taken.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits for the last one.
    pub(crate) fn join(self) -> anyhow::Result<u64> {
        self.thread.join().map_err(|_| anyhow!("the producer panicked"))??;
        Ok(self.acknowledged.load(Ordering::Relaxed))
    }
}

/// Events by their partition keys.
pub(crate) fn events(records: u64, seed: u64) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let config = GeneratorConfig {
        records: Some(records),
        partitions: 1,
        duplicate: 0.0,
        seed,
        ..GeneratorConfig::default()
    };
    let mut lines = Vec::new();
    write_lines(&config, 0, &mut lines).context("make events up")?;
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let event = |(number, line): (usize, &[u8])| {
        let parsed = serde_json::from_slice::<Value>(line).unwrap_or_default();
        let key = parsed[PARTITION_KEY].as_str().unwrap_or("nobody").to_owned();
        (key, numbered(line, number as u64))
    };
    Ok(lines.enumerate().map(event).collect())
}

/// An event with its number, as the last member; one that is no JSON stays such.
fn numbered(line: &[u8], number: u64) -> Vec<u8> {
    let (body, end) = match line.split_last() {
        Some((b'}', body)) => (body, "}"),
        _ => (line, ""),
    };
    let mut event = body.to_vec();
    event.push(b',');
    event.extend_from_slice(NUMBER);
    event.extend_from_slice(number.to_string().as_bytes());
    event.extend_from_slice(end.as_bytes());
    event
}

/// The number of an event, whatever was added to it.
pub(crate) fn number(event: &[u8]) -> Option<u64> {
    let at = event.windows(NUMBER.len()).rposition(|window| window == NUMBER)? + NUMBER.len();
    let digits = event[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&event[at..at + digits]).ok()?.parse().ok()
}
