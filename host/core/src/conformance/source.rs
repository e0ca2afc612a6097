//! What a source that can be replayed promises: the same records behind the same position.

use crate::{
    position::Position,
    record::RecordBatch,
    source::{PartitionId, ReadLimit, ReadOutcome, Replay, Resume, Source},
};

/// A partition that the source under test holds, with all its records. Defects count as records.
#[derive(Clone, Debug)]
pub struct ExpectedPartition {
    /// Its name.
    pub id: PartitionId,
    /// Its records, in order.
    pub records: Vec<Vec<u8>>,
}

/// Runs the suite on a source whose partitions end.
///
/// # Panics
/// At the first promise that the source breaks.
pub async fn source(source: &dyn Source, expected: &[ExpectedPartition]) {
    assert_eq!(source.replay(), Replay::Exact, "the suite is for sources that can be replayed");
    let mut listed = source.partitions().await.expect("partitions");
    listed.sort_by(|a, b| a.id.cmp(&b.id));
    let mut names = expected.iter().map(|it| &it.id).collect::<Vec<_>>();
    names.sort();
    assert_eq!(listed.iter().map(|it| &it.id).collect::<Vec<_>>(), names, "all are listed, once");

    for ExpectedPartition { id, records } in expected {
        let whole = read(source, id, None, None, usize::MAX, 1 << 20).await;
        let texts = whole.iter().map(|it| it.bytes.as_slice()).collect::<Vec<_>>();
        let wanted = records.iter().map(Vec::as_slice).collect::<Vec<_>>();
        assert_eq!(texts, wanted, "partition {id} holds its records, in order");
        for (records_max, bytes_max) in [(1, 1), (3, 50), (usize::MAX, 1), (7, usize::MAX / 2)] {
            let again = read(source, id, None, None, records_max, bytes_max).await;
            assert_eq!(again, whole, "partition {id} reads the same however it is cut into reads");
        }
        for start in sample(whole.len()) {
            let resume = start.checked_sub(1).map(|last| whole[last].resume.clone());
            let rest = read(source, id, resume.as_ref(), None, usize::MAX, 1 << 16).await;
            assert_eq!(rest, whole[start..], "partition {id} behind its record {start}");
            for end in sample(whole.len()).filter(|end| *end > start) {
                let until = Some(whole[end - 1].resume.position);
                let range = read(source, id, resume.as_ref(), until, 5, 1 << 16).await;
                assert_eq!(range, whole[start..end], "partition {id} in ({start}, {end}]");
            }
        }
    }
    let nobody = PartitionId::from("there is no such partition");
    assert!(source.open(&nobody, None).await.is_err(), "an unknown partition can't be opened");
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    bytes: Vec<u8>,
    key: Option<Vec<u8>>,
    resume: Resume,
}

/// Some numbers of records up to all of them: every one where there are few.
fn sample(records: usize) -> impl Iterator<Item = usize> {
    (0..=records).step_by(records.div_ceil(12).max(1))
}

async fn read(
    source: &dyn Source,
    partition: &PartitionId,
    after: Option<&Resume>,
    until: Option<Position>,
    records_max: usize,
    bytes_max: usize,
) -> Vec<Record> {
    let mut reader = source.open(partition, after).await.expect("open");
    let mut records = Vec::new();
    let mut last = after.map(|it| it.position);
    let mut idle = 0;
    loop {
        let limit = ReadLimit { records_max, bytes_max, until };
        match reader.read(limit).await.expect("read") {
            ReadOutcome::Records(batch) => {
                check_shape(&batch, records_max, &mut last);
                for row in 0..batch.len() {
                    let position = batch.positions[row];
                    let key = (!batch.keys.is_empty()).then(|| batch.keys.get(row).to_vec());
                    let resume = Resume { position, token: reader.token(position) };
                    records.push(Record { bytes: batch.record(row).to_vec(), key, resume });
                }
            }
            ReadOutcome::Idle => {
                idle += 1;
                assert!(idle < 100, "a partition that ends says so");
            }
            ReadOutcome::Ended => return records,
        }
    }
}

fn check_shape(batch: &RecordBatch, records_max: usize, last: &mut Option<Position>) {
    let rows = batch.len();
    assert!(rows > 0, "a read that found records returns at least one");
    assert!(rows <= records_max, "no more records than were asked for");
    assert_eq!(batch.positions.len(), rows, "every record has a position");
    let optional = [batch.arrivals.len(), batch.keys.len(), batch.group_ends.len()];
    assert!(optional.iter().all(|len| *len == 0 || *len == rows), "one entry a record, or none");
    for position in &batch.positions {
        assert!(*last < Some(*position), "positions strictly increase");
        *last = Some(*position);
    }
    for (start, end) in &batch.spans {
        assert!(start <= end && *end as usize <= batch.bytes.len(), "spans lie in the bytes");
    }
    assert!(batch.defects.iter().all(|it| (it.row as usize) < rows), "defects name rows");
}
