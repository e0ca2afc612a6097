//! The benchmark's work by other means: a straightforward program over `serde_json::Value`, a
//! program for Vector's remap language, and a JSON Schema, all in memory, in one process.
//!
//! Each reads a file of JSON Lines whole before the clock starts. Each pass goes over all lines and
//! drops what it made; `--write` makes it once more, for comparing.

mod remap;
mod schema;
mod straightforward;

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use rustix::time::{ClockId, clock_gettime};

#[derive(Parser)]
struct Args {
    /// Which program.
    program: Program,
    /// A file of JSON Lines.
    input: PathBuf,
    /// Adds the SHA-256 of each record's bytes as `record_id`.
    #[arg(long)]
    record_id: bool,
    /// How often to go over the input.
    #[arg(long, default_value_t = 3)]
    passes: u32,
    /// Where to write the output of one more pass.
    #[arg(long)]
    write: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Program {
    Straightforward,
    Remap,
    Schema,
}

/// Turns a record into what comes of it, appended to `out`; or refuses it.
trait Work {
    fn record(&mut self, record: &[u8], out: &mut Vec<u8>) -> Option<()>;
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let input = fs::read(&args.input).context("read the input")?;
    let mut work: Box<dyn Work> = match args.program {
        Program::Straightforward => {
            Box::new(straightforward::Straightforward { record_id: args.record_id })
        }
        Program::Remap => Box::new(remap::Remap::new(args.record_id)?),
        Program::Schema => Box::new(schema::Schema::new()?),
    };
    let mut best = u64::MAX;
    let (mut records, mut refused) = (0, 0);
    for _ in 0..args.passes {
        let begin = cpu_nanoseconds();
        let out;
        (records, refused, out) = pass(&mut *work, &input);
        best = best.min(cpu_nanoseconds() - begin);
        drop(out);
    }
    if let Some(path) = &args.write {
        fs::write(path, pass(&mut *work, &input).2).context("write the output")?;
    }
    let each = best as f64 / f64::from(u32::try_from(records).context("too many records")?);
    println!(
        "{}",
        serde_json::json!({ "ns_per_record": each, "records": records, "refused": refused })
    );
    Ok(())
}

/// One pass over the input: how many records there were, how many were refused, and the output.
fn pass(work: &mut dyn Work, input: &[u8]) -> (u64, u64, Vec<u8>) {
    let mut out = Vec::with_capacity(input.len() * 2);
    let (mut records, mut refused) = (0, 0);
    for record in input.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        records += 1;
        match work.record(record, &mut out) {
            Some(()) => out.push(b'\n'),
            None => refused += 1,
        }
    }
    (records, refused, out)
}

fn cpu_nanoseconds() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
