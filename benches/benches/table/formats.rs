//! What the sinks' formats cost: the chain of components into lines, and into files of columns, as
//! they are and compressed.

use std::sync::Arc;

use tidegate_benches::{
    run,
    work::{self, Extras, Plugins},
};
use tidegate_core::parquet::{Codec, RowGroupLimit};
use tidegate_pipeline::{
    Plan,
    plan::{Compression, Format, OnMismatch, Purity, SinkSpec, TableSpec},
};

use super::{Scene, Table};

/// Every format, and what its row is called.
pub(crate) fn plans(plugins: &Plugins<'_>) -> anyhow::Result<Vec<(&'static str, Arc<Plan>)>> {
    let sink = || SinkSpec::new("processed");
    let parquet = |codec| SinkSpec {
        format: Format::Parquet(TableSpec {
            columns: Vec::new(),
            declared: true,
            on_mismatch: OnMismatch::DeadLetter,
            codec,
            row_group: RowGroupLimit::default(),
        }),
        ..sink()
    };
    let formats = [
        ("lines_zstd", SinkSpec { compression: Compression::Zstd { level: 3 }, ..sink() }),
        ("parquet", parquet(Codec::Plain)),
        ("parquet_snappy", parquet(Codec::Snappy)),
        ("parquet_zstd", parquet(Codec::Zstd { level: 3 })),
    ];
    let stages = work::chain(Extras::default());
    let plan = |(name, sink)| Ok((name, plugins.plan_into(&stages, Purity::Off, sink)?));
    formats.into_iter().map(plan).collect()
}

/// Adds a row for each.
pub(crate) fn add_rows<'a>(
    table: &mut Table<'a>,
    plans: &'a [(&'static str, Arc<Plan>)],
    scene: &'a Scene<'a>,
) {
    for (name, plan) in plans {
        table.add_work(format!("component_chain_{name}"), scene.records, move || {
            scene.io.block_on(run::splice(plan, &scene.batches))
        });
    }
}
