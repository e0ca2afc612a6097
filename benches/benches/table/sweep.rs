//! How costs change with the size of a batch, the size of a record, the length of the chain and
//! the number of cores.

use std::{path::Path, time::Instant};

use anyhow::Context;
use serde_json::Value;
use tidegate_benches::{
    agree, clock, run, transactions,
    work::{self, Extras, Plugins, Stage},
};
use tidegate_core::{RecordBatch, batcher::BatchLimit};
use tidegate_pipeline::{Settings, plan::Purity};

/// Enough for each point to take some tens of milliseconds.
const RECORDS: u64 = 20_000;

/// Prints all of them.
pub(crate) fn print(
    io: &tokio::runtime::Runtime,
    plugins: &Plugins<'_>,
    directory: &Path,
    transactions: (&Path, u64),
    rounds: u32,
) -> anyhow::Result<()> {
    let sweep = Sweep { io, plugins, rounds };
    let input = directory.join("sweep.jsonl");
    transactions::write(&input, RECORDS, transactions::INVALID)?;
    sweep.batch_sizes(&input)?;
    sweep.batch_sizes_of_the_pipeline(transactions)?;
    sweep.record_sizes(&input, directory)?;
    sweep.stages(&input)?;
    sweep.cores(directory)
}

struct Sweep<'a> {
    io: &'a tokio::runtime::Runtime,
    plugins: &'a Plugins<'a>,
    rounds: u32,
}

impl Sweep<'_> {
    fn batch_sizes(&self, input: &Path) -> anyhow::Result<()> {
        println!("\nrecords a batch      native  components   (ns a record, chain of four)");
        for records_max in [1, 10, 100, 500, 1_000, 2_000, 10_000] {
            let batch = BatchLimit { records_max, bytes_max: u64::MAX };
            let batches = self.io.block_on(run::batches(input, batch))?;
            let chain = work::chain(Extras::default());
            let (native, components) = self.both(&chain, &batches)?;
            println!("{records_max:>15} {native:>11.0} {components:>11.0}");
        }
        Ok(())
    }

    /// In turns: from one process to the next the memory's layout alone is worth some percent.
    fn batch_sizes_of_the_pipeline(&self, (input, records): (&Path, u64)) -> anyhow::Result<()> {
        println!("\nrecords a batch    pipeline   (CPU ns a record, file to files)");
        let plan = self.plugins.plan(&work::chain(Extras::default()), Purity::Off)?;
        let mut sizes = [100, 500, 1_000, 2_000].map(|size| (size, f64::INFINITY));
        for _ in 0..self.rounds {
            for (records_max, best) in &mut sizes {
                let mut settings = Settings::default();
                settings.batch.records_max = *records_max;
                let output = tempfile::tempdir_in(input.parent().context("a file in a folder")?)?;
                let begin = clock::process_nanoseconds();
                self.io.block_on(run::pipeline(&plan, input, output.path(), 1, settings))?;
                let taken = (clock::process_nanoseconds() - begin) as f64;
                *best = best.min(taken / records as f64);
            }
        }
        for (records_max, best) in sizes {
            println!("{records_max:>15} {best:>11.0}");
        }
        Ok(())
    }

    fn record_sizes(&self, input: &Path, directory: &Path) -> anyhow::Result<()> {
        println!("\nbytes a record       native  components   (ns a record, chain of four)");
        let lines = std::fs::read(input)?;
        for bytes in [100, 460, 1_000, 2_500, 10_000] {
            let path = directory.join("sized.jsonl");
            std::fs::write(&path, sized(&lines, bytes)?)?;
            let batches = self.io.block_on(run::batches(&path, run::batch_limit()))?;
            let (native, components) = self.both(&work::chain(Extras::default()), &batches)?;
            println!("{bytes:>15} {native:>11.0} {components:>11.0}");
        }
        Ok(())
    }

    fn stages(&self, input: &Path) -> anyhow::Result<()> {
        println!("\nplugins              native  components   (ns a record, each writes a flag)");
        let batches = self.io.block_on(run::batches(input, run::batch_limit()))?;
        for stages in [1, 4, 16] {
            let (native, components) = self.both(&work::flags(stages), &batches)?;
            println!("{stages:>15} {native:>11.0} {components:>11.0}");
        }
        Ok(())
    }

    fn cores(&self, directory: &Path) -> anyhow::Result<()> {
        println!(
            "\nworkers          CPU ns  records/s   (pipeline, file to file, four partitions)"
        );
        clock::use_all_cores().context("use all cores")?;
        let input = directory.join("partitions");
        std::fs::create_dir(&input)?;
        for file in 0..4 {
            let path = input.join(format!("{file}.jsonl"));
            transactions::write(&path, RECORDS * 5, transactions::INVALID)?;
        }
        let plan = self.plugins.plan(&work::chain(Extras::default()), Purity::Off)?;
        for workers in [1, 2] {
            let (mut best, mut fastest) = (f64::INFINITY, f64::INFINITY);
            for _ in 0..self.rounds {
                let output = tempfile::tempdir_in(directory)?;
                let (begin, started) = (clock::process_nanoseconds(), Instant::now());
                let settings = Settings::default();
                let run = run::pipeline(&plan, &input, output.path(), workers, settings);
                self.io.block_on(run)?;
                fastest = fastest.min(started.elapsed().as_secs_f64());
                best = best.min((clock::process_nanoseconds() - begin) as f64);
            }
            let records = (RECORDS * 20) as f64;
            println!("{workers:>7} {:>15.0} {:>10.0}", best / records, records / fastest);
        }
        Ok(())
    }

    /// A chain's plugins linked natively and as components: nanoseconds a record.
    fn both(&self, chain: &[Stage], batches: &[RecordBatch]) -> anyhow::Result<(f64, f64)> {
        let records: usize = batches.iter().map(RecordBatch::len).sum();
        let plans =
            [Plugins::Native.plan(chain, Purity::Off)?, self.plugins.plan(chain, Purity::Off)?];
        let mut best = [f64::INFINITY; 2];
        for _ in 0..self.rounds {
            for (plan, best) in plans.iter().zip(&mut best) {
                let begin = clock::thread_nanoseconds();
                self.io.block_on(run::splice(plan, batches))?;
                let taken = clock::thread_nanoseconds() - begin;
                *best = best.min(taken as f64 / records as f64);
            }
        }
        Ok((best[0], best[1]))
    }
}

/// The fields that the work is about.
const NEEDED: [&str; 5] = ["event_id", "timestamp", "amount", "currency", "card_last4"];

/// Transactions of about so many bytes: with as much text behind their fields as is lacking, or
/// with those fields alone that somebody reads.
fn sized(lines: &[u8], bytes: usize) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    // As many as make some megabytes, of those that are JSON at all.
    let records = (8 << 20) / bytes.max(1);
    for line in agree::lines(lines).take(records) {
        let Ok(Value::Object(mut event)) = serde_json::from_slice(line) else { continue };
        let lacking = bytes.saturating_sub(line.len());
        if bytes < line.len() / 2 {
            event.retain(|field, _| NEEDED.contains(&field.as_str()));
        } else if lacking > 0 {
            // Words, as in a text that somebody wrote: a quote is rare, and an escape rarer.
            let text = "what a customer said ".repeat(lacking / 21 + 1);
            event.insert("note".to_owned(), text.into());
        }
        serde_json::to_writer(&mut out, &event)?;
        out.push(b'\n');
    }
    Ok(out)
}
