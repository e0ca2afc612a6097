//! Records, plans and ranges for tests.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use serde_json::Value;
use tidegate_core::{
    Position, RecordBatch, Timestamp, TransformFactory, checkpoint::Exclusion, source::PartitionId,
};
use tidegate_pipeline::{
    Plan, PlanSpec, ProcessError, RangeContext, RangeOutput, StateLoader,
    plan::{SinkSpec, StageSpec},
    states::NoStates,
};

/// 2026-03-01T12:00:00Z.
pub(crate) const OPENED_AT: Timestamp = Timestamp(1_772_366_400_000_000);

/// Consecutive records, each behind a line feed's worth of offset.
pub(crate) fn batch<T: AsRef<[u8]>>(first_offset: u64, records: &[T]) -> RecordBatch {
    let mut bytes = Vec::new();
    let mut made = RecordBatch::default();
    let mut offset = first_offset;
    for record in records {
        let record = record.as_ref();
        let start = bytes.len() as u32;
        bytes.extend_from_slice(record);
        made.spans.push((start, bytes.len() as u32));
        offset += record.len() as u64 + 1;
        made.positions.push(Position::from_offset(offset));
    }
    made.bytes = bytes.into();
    made
}

/// Records cut into batches of a size.
pub(crate) fn batches<T: AsRef<[u8]>>(records: &[T], size: usize) -> Vec<RecordBatch> {
    let mut offset = 0;
    let mut made = Vec::new();
    for records in records.chunks(size) {
        let batch = batch(offset, records);
        offset = batch.last_position().expect("chunks are not empty").offset();
        made.push(batch);
    }
    made
}

/// `{"n":0}`, `{"n":1}`, …
pub(crate) fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{{\"n\":{n}}}")).collect()
}

/// One sink, `out`, and these stages, named after their plugins.
pub(crate) fn spec(stages: &[Arc<dyn TransformFactory>]) -> PlanSpec {
    let stage = |factory: &Arc<dyn TransformFactory>| {
        StageSpec::new(&factory.plugin().about.name, Arc::clone(factory))
    };
    PlanSpec {
        stages: stages.iter().map(stage).collect(),
        sinks: vec![SinkSpec::new("out")],
        ..PlanSpec::new("test", "input")
    }
}

/// A plan that must be sound.
pub(crate) fn plan(spec: PlanSpec) -> Arc<Plan> {
    Plan::build(spec).unwrap_or_else(|findings| panic!("{findings}"))
}

/// The context of range 3.
pub(crate) fn context(exclusions: Vec<Exclusion>) -> RangeContext {
    RangeContext {
        partition: PartitionId::from("data/in.ndjson"),
        origin: None,
        range: 3,
        revision: 0,
        start: None,
        opened_at: OPENED_AT,
        exclusions,
        state_keys: [].into(),
        hash_key: None,
    }
}

/// One range over these batches.
pub(crate) fn run(plan: &Arc<Plan>, batches: &[RecordBatch]) -> RangeOutput {
    try_run(plan, batches, &NoStates, Vec::new()).unwrap_or_else(|error| panic!("{error:?}"))
}

/// The same, with states and exclusions.
pub(crate) fn try_run(
    plan: &Arc<Plan>,
    batches: &[RecordBatch],
    states: &dyn StateLoader,
    exclusions: Vec<Exclusion>,
) -> Result<RangeOutput, ProcessError> {
    run_in(plan, context(exclusions), batches, states)
}

/// The same, in a context of one's own.
pub(crate) fn run_in(
    plan: &Arc<Plan>,
    context: RangeContext,
    batches: &[RecordBatch],
    states: &dyn StateLoader,
) -> Result<RangeOutput, ProcessError> {
    let mut range = plan.open_range(context)?;
    for batch in batches {
        ready(range.process(batch, states))?;
    }
    range.cut()
}

/// The value of a future that waits for nothing.
pub(crate) fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing to wait for"),
    }
}

/// The rows that lie in a destination's objects, as text.
pub(crate) fn lines(output: &RangeOutput, destination: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for object in output.objects.iter().filter(|it| it.destination == destination) {
        let text = std::str::from_utf8(&object.object.content).expect("JSON Lines are text");
        let rows: Vec<_> = text.lines().map(str::to_owned).collect();
        assert_eq!(rows.len() as u64, object.records);
        lines.extend(rows);
    }
    lines
}

/// The same as values.
pub(crate) fn values(output: &RangeOutput, destination: usize) -> Vec<Value> {
    let parse = |line: &String| serde_json::from_str(line).expect("sinks hold JSON");
    lines(output, destination).iter().map(parse).collect()
}

/// The dead letters of a plan with one sink.
pub(crate) fn letters(output: &RangeOutput) -> Vec<Value> {
    values(output, output.destinations.len() - 1)
}

/// For each dead letter, its stage, code and payload.
pub(crate) fn reasons(output: &RangeOutput) -> Vec<(String, String, String)> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    letters(output)
        .iter()
        .map(|letter| {
            let data = &letter["payload"]["Records"][0]["kinesis"]["data"];
            let payload = STANDARD.decode(text(data)).expect("base64");
            (
                text(&letter["etl"]["stage"]),
                text(&letter["etl"]["errorCode"]),
                String::from_utf8_lossy(&payload).into_owned(),
            )
        })
        .collect()
}

/// Everything of an output that ends up in a store or a sink.
pub(crate) fn fingerprint(output: &RangeOutput) -> String {
    let objects: Vec<_> = output
        .objects
        .iter()
        .map(|it| {
            format!("{} {} {} {}", it.destination, it.records, it.object.key, it.object.digest)
        })
        .collect();
    format!(
        "{objects:#?} {:?} {:?} {:?} {:?}",
        output.counts, output.destinations, output.exclusions, output.states
    )
}
