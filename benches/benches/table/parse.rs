//! Reading a record's JSON: as the chain needs it, and to find out that it is JSON, no more.

use std::hint::black_box;

use anyhow::ensure;
use serde::de::IgnoredAny;
use tidegate_benches::work::{self, Extras, Plugins};
use tidegate_core::json::Validator;

use super::{Scene, Table};

/// A way to find out whether bytes are JSON.
type Parser = (&'static str, fn(&[u8]) -> bool);

static PARSERS: [Parser; 3] = [
    ("serde_json_ignored", |record| {
        simdutf8::basic::from_utf8(record)
            .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
    }),
    ("sonic_rs_ignored", |record| sonic_rs::from_slice::<IgnoredAny>(record).is_ok()),
    ("sonic_rs_value", |record| sonic_rs::from_slice::<sonic_rs::Value>(record).is_ok()),
];

/// What is no JSON, one fault each, behind the last field that anybody reads.
static FAULTY: [&[u8]; 12] = [
    b"{\"a\":1,\"b\":01}",
    b"{\"a\":1,\"b\":1.}",
    b"{\"a\":1,\"b\":+1}",
    b"{\"a\":1,\"b\":tru}",
    b"{\"a\":1,\"b\":\"\\x\"}",
    b"{\"a\":1,\"b\":\"\\u12G4\"}",
    b"{\"a\":1,\"b\":\"\x01\"}",
    b"{\"a\":1,\"b\":\"\xff\"}",
    b"{\"a\":1,\"b\":[1,]}",
    b"{\"a\":1,\"b\":{\"c\"}}",
    b"{\"a\":1,}",
    b"{\"a\":1}x",
];

/// Adds the projection that the chain needs, and the fastest strict parser among libraries.
pub(crate) fn add_rows<'a>(table: &mut Table<'a>, scene: &'a Scene<'a>) -> anyhow::Result<()> {
    let projector = Plugins::Native.projector(&work::chain(Extras::default()))?;
    let mut projection = projector.projection();
    table.add_work("projection", scene.records, move || {
        for batch in &scene.batches {
            projection.clear();
            for row in 0..batch.len() {
                // A refused record is read, too, as far as it goes.
                let _ = projector.project(batch.record(row), &mut projection);
            }
            black_box(&projection);
        }
        Ok(())
    });
    let strict = PARSERS.iter().filter(|(_, parse)| FAULTY.iter().all(|text| !parse(text)));
    let strict: Vec<_> = strict.collect();
    ensure!(!strict.is_empty(), "no parser is strict");
    for (name, parse) in strict {
        table.add_work(format!("strict_parse/{name}"), scene.records, move || {
            pass(scene, parse);
            Ok(())
        });
    }
    let mut validator = Validator::default();
    table.add_work("strict_parse/tidegate", scene.records, move || {
        pass(scene, |record| validator.validate(record).is_ok());
        Ok(())
    });
    Ok(())
}

/// What the fastest strict parser among libraries takes.
pub(crate) fn best(table: &Table<'_>) -> Option<f64> {
    let rows = PARSERS.iter().filter_map(|(name, _)| table.best(&format!("strict_parse/{name}")));
    rows.min_by(f64::total_cmp)
}

fn pass(scene: &Scene<'_>, mut parse: impl FnMut(&[u8]) -> bool) {
    for batch in &scene.batches {
        for row in 0..batch.len() {
            black_box(parse(black_box(batch.record(row))));
        }
    }
}
