//! The ways to do the benchmark's work come to the same, record by record.
//!
//! Before it times anything the benchmark itself compares all of them, the program in Vector's
//! remap language included; here are those that need no other workspace.

#[path = "../peers/src/straightforward.rs"]
mod straightforward;

use std::{path::PathBuf, sync::Arc};

use tidegate_benches::{
    agree, run, transactions,
    work::{self, Extras, Plugins},
};
use tidegate_core::RecordBatch;
use tidegate_engine::{Runtime, RuntimeOptions};
use tidegate_pipeline::{Plan, Settings, plan::Purity};

/// What `peers/src/main.rs` asks of its programs.
trait Work {
    fn record(&mut self, record: &[u8], out: &mut Vec<u8>) -> Option<()>;
}

/// With more broken ones than the benchmark has: each kind of fault comes some times.
const RECORDS: u64 = 3_000;
const INVALID: f64 = 0.05;

#[tokio::test]
async fn the_native_chain_and_the_straightforward_program_agree() {
    for record_id in [false, true] {
        let (_directory, batches) = transactions().await;
        let plan = plan(&Plugins::Native, record_id);
        let native = run::output(&plan, &batches).await.expect("it runs");
        assert!(native.refused > 50, "{} are refused", native.refused);
        let straightforward = straightforward(&batches, record_id);
        agree::check(("native", &native), ("straightforward", &straightforward))
            .unwrap_or_else(|error| panic!("record id: {record_id}: {error:#}"));
    }
}

#[tokio::test]
async fn a_chain_of_components_writes_the_bytes_that_native_plugins_write() {
    let Some(directory) = std::env::var_os("TIDEGATE_PLUGINS").map(PathBuf::from) else {
        eprintln!("SKIPPED: a_chain_of_components…: TIDEGATE_PLUGINS is not set");
        return;
    };
    let compiled = tempfile::tempdir().expect("a directory");
    let cache = Some(compiled.path().join("compiled"));
    let options = RuntimeOptions { cache, ..RuntimeOptions::default() };
    let runtime = Runtime::new(options).expect("the engine starts");
    let components = Plugins::Components(&runtime, &directory);
    for record_id in [false, true] {
        let (_directory, batches) = transactions().await;
        let native = run::output(&plan(&Plugins::Native, record_id), &batches).await;
        let sandboxed = run::output(&plan(&components, record_id), &batches).await;
        assert!(native.expect("it runs") == sandboxed.expect("it runs"), "the bytes differ");
    }
}

#[tokio::test]
async fn the_pipeline_writes_what_the_chain_makes_in_memory() {
    let (input, batches) = transactions().await;
    let plan = plan(&Plugins::Native, false);
    let in_memory = run::output(&plan, &batches).await.expect("it runs");
    let directory = tempfile::tempdir().expect("a directory");
    let input = input.path().join("in.jsonl");
    let report = run::pipeline(&plan, &input, directory.path(), 1, Settings::default()).await;
    let report = report.expect("it runs to its end");
    let written = run::written(&plan, &report, directory.path()).expect("it can be read");
    assert!(in_memory == written, "the bytes differ");
}

fn plan(plugins: &Plugins<'_>, record_id: bool) -> Arc<Plan> {
    let stages = work::chain(Extras { record_id, ..Extras::default() });
    plugins.plan(&stages, Purity::Off).expect("a plan")
}

async fn transactions() -> (tempfile::TempDir, Vec<RecordBatch>) {
    let directory = tempfile::tempdir().expect("a directory");
    let input = directory.path().join("in.jsonl");
    transactions::write(&input, RECORDS, INVALID).expect("the transactions are written");
    let batches = run::batches(&input, run::batch_limit()).await.expect("and read");
    (directory, batches)
}

fn straightforward(batches: &[RecordBatch], record_id: bool) -> run::Output {
    let mut program = straightforward::Straightforward { record_id };
    let mut output = run::Output::default();
    for batch in batches {
        for row in 0..batch.len() {
            match program.record(batch.record(row), &mut output.lines) {
                Some(()) => output.lines.push(b'\n'),
                None => output.refused += 1,
            }
        }
    }
    output
}
