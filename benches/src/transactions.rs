//! What is worked on: made-up transactions, the same ones for everybody.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use tidegate_connectors::generator::{GeneratorConfig, Weights, write_lines};

/// The share of transactions that break a rule. In a feed that works one in some hundred does;
/// with none, nobody would pay for the refusal.
pub const INVALID: f64 = 0.005;

/// Writes so many transactions of about 460 bytes as JSON Lines.
pub fn write(path: &Path, records: u64, invalid: f64) -> io::Result<()> {
    let config = GeneratorConfig {
        records: Some(records),
        partitions: 1,
        weights: Weights::TRANSACTIONS,
        invalid,
        ..GeneratorConfig::default()
    };
    let mut file = BufWriter::new(File::create(path)?);
    write_lines(&config, 0, &mut file)?;
    file.flush()
}
