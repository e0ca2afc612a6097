//! Looking keys up in tables, and what a table takes to make and to hold.

use std::hint::black_box;

use tidegate_benches::lookups::Lookups;

use super::Table;

/// Tables that every run can wait for. The third, of ten million rows, comes with `--sweep`.
const ROWS: [(&str, usize); 2] = [("1k", 1_000), ("1m", 1_000_000)];
const MANY_ROWS: (&str, usize) = ("10m", 10_000_000);

/// Adds a row for each table: nanoseconds a key, the cell that it stands for included.
pub(crate) fn add_rows(table: &mut Table<'_>, sweep: bool) -> anyhow::Result<()> {
    for (name, rows) in ROWS.into_iter().chain(sweep.then_some(MANY_ROWS)) {
        let (mut lookups, taken) = Lookups::new(rows)?;
        println!(
            "table of {rows} rows: {:.1} bytes a row, made in {:.2} s",
            lookups.bytes_per_row(),
            taken.as_secs_f64()
        );
        table.add_work(format!("lookup/{name}"), Lookups::round_rows(), move || {
            black_box(lookups.round());
            Ok(())
        });
    }
    Ok(())
}
