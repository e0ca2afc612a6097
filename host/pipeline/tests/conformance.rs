//! The memory members pass the suites that the real ones pass.

use tidegate_core::conformance::{self, ExpectedPartition};
use tidegate_pipeline::memory::{MemoryRecord, MemorySink, MemorySource, MemoryStore};

#[tokio::test(start_paused = true)]
async fn memory_store() {
    let store = MemoryStore::new();
    conformance::checkpoint_store(async || store.clone()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_sink() {
    let sink = MemorySink::named("archive");
    conformance::sink(&sink, async |key| sink.object(key)).await;
}

#[tokio::test(start_paused = true)]
async fn memory_source() {
    let source = MemorySource::new();
    let records = |partition: &str, count: usize| {
        let records = (0..count).map(|i| format!("{partition} {i}").into_bytes());
        let records = records.collect::<Vec<_>>();
        for (i, record) in records.iter().enumerate() {
            let key = Some(vec![i as u8]);
            let group_goes_on = i % 3 == 1 && i + 1 < count;
            source.push(partition, MemoryRecord { bytes: record.clone(), key, group_goes_on });
        }
        source.end(partition);
        ExpectedPartition { id: partition.into(), records }
    };
    let expected = [records("a", 40), records("b", 3), records("empty", 0)];
    conformance::source(&source, &expected).await;
}
