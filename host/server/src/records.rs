//! Records that are given, and not read from a source: of tests, and of plugins that are measured.

use tidegate_core::{Position, RecordBatch};

/// Records back to back. The position of each is its number, from 1.
pub(crate) fn batch(records: &[Vec<u8>]) -> anyhow::Result<RecordBatch> {
    let mut batch = RecordBatch::default();
    let mut bytes = Vec::new();
    for (i, record) in records.iter().enumerate() {
        let start = u32::try_from(bytes.len());
        bytes.extend_from_slice(record);
        let end = u32::try_from(bytes.len());
        let (Ok(start), Ok(end)) = (start, end) else {
            anyhow::bail!("the records hold more than 4 GiB");
        };
        batch.spans.push((start, end));
        batch.positions.push(Position::from_offset(i as u64 + 1));
    }
    batch.bytes = bytes.into();
    Ok(batch)
}
