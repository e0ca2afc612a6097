//! Writing where nothing is committed: in time, and what was taken not again.

use std::time::Duration;

use tidegate_core::sink::Object;
use tidegate_pipeline::{
    emit::emit,
    memory::MemorySink,
    retry::{OnExhausted, RetryPolicy},
};
use tokio::time::Instant;

fn lines() -> Vec<Object> {
    let content: String = (0..200).map(|i| format!("{{\"id\":{i}}}\n")).collect();
    vec![Object::new("a", content.clone()), Object::new("b", content.replace("id", "di"))]
}

fn sorted(objects: &[Object]) -> Vec<Vec<u8>> {
    let lines = objects.iter().flat_map(|it| it.content.split_inclusive(|byte| *byte == b'\n'));
    let mut lines: Vec<Vec<u8>> = lines.map(<[u8]>::to_vec).collect();
    lines.sort();
    lines
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_is_not_written_again() {
    let sink = MemorySink::unnamed("out");
    sink.take_some(7);
    let until = Instant::now() + Duration::from_secs(600);
    let written = emit(&sink, lines(), RetryPolicy::default(), until, 1, |_, _| {}).await;
    written.expect("it takes all in the end");
    assert_eq!(sorted(&sink.delivered()), sorted(&lines()), "each line once");
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_with_the_time_and_all_is_left() {
    let sink = MemorySink::unnamed("out");
    sink.fail_next(10_000);
    let (started, mut waits) = (Instant::now(), 0);
    let until = started + Duration::from_secs(5);
    let emitted = emit(&sink, lines(), RetryPolicy::default(), until, 1, |_, _| waits += 1).await;
    let error = emitted.expect_err("it is down");
    assert!(Instant::now() <= until, "{:?}", started.elapsed());
    assert!(waits > 3, "it was tried: {waits}");
    assert_eq!(sorted(&error.rest.expect("it is known")), sorted(&lines()));
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_hangs_is_left_in_time() {
    let sink = MemorySink::unnamed("out");
    sink.cork();
    let until = Instant::now() + Duration::from_secs(5);
    let emitted = emit(&sink, lines(), RetryPolicy::default(), until, 1, |_, _| {}).await;
    let error = emitted.expect_err("it hangs");
    assert!(error.message.contains("has not answered in time"), "{error}");
    assert!(Instant::now() <= until);
}

#[tokio::test(start_paused = true)]
async fn patience_ends_where_the_operator_says_so() {
    let sink = MemorySink::unnamed("out");
    sink.fail_next(3);
    let policy =
        RetryPolicy { attempts: 3, on_exhausted: OnExhausted::Stop, ..RetryPolicy::default() };
    let until = Instant::now() + Duration::from_secs(600);
    emit(&sink, lines(), policy, until, 1, |_, _| {}).await.expect_err("three attempts");
    emit(&sink, lines(), policy, until, 1, |_, _| {}).await.expect("it is back");
}
