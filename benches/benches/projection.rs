//! What it costs to read typed fields out of a record, beside what libraries take for less.
//!
//! `cargo bench -p tidegate-benches --bench projection`. One thread; each row is the median of many
//! rounds over 2,000 different records of about 460 bytes, in nanoseconds a record. Rows marked
//! `lax` stop early or accept what is no JSON.

use std::{hint::black_box, time::Instant};

use serde::de::IgnoredAny;
use sonic_rs::{JsonValueTrait as _, LazyValue, PointerTree, Value as SonicValue};
use tidegate_core::{
    Kind, Path, Timestamp,
    description::TimestampFormat,
    json::{Change, Edit, Envelope, Layout, Projector, Stamp, Validator, Value, record_id},
};

const RECORDS: usize = 2_000;
const BATCH: usize = 500;
const ROUNDS: usize = 200;

fn main() {
    let records = records(RECORDS);
    let bytes: usize = records.iter().map(Vec::len).sum();
    println!("{RECORDS} records of {} bytes on average", bytes / RECORDS);

    let mut validator = Validator::default();
    row("validate", &records, |record| validator.validate(record).is_ok());

    project("project 8 fields", &records, &reads(), &[]);
    project("project 8 fields, 3 written", &records, &reads(), &writes());
    project("project 3 fields", &records, &reads()[..3], &[]);
    splice("splice 3 new fields", &records, &writes(), Layout::Flat);
    let replaced = ["status", "merchant.category", "risk"].map(path);
    splice("splice 2 fields in place and 1 new", &records, &replaced, Layout::Flat);
    let nested = Layout::Nested { key: "enriched".into() };
    splice("splice 3 new fields, nested", &records, &writes(), nested);
    let envelope = Envelope {
        source: "orders".into(),
        processing_stage: "enriched".into(),
        version: "0.1.0".into(),
    };
    splice("splice 3 new fields, envelope", &records, &writes(), Layout::Envelope(envelope));
    row("record id", &records, |record| record_id(record)[0] != 0);

    row("serde_json IgnoredAny, and UTF-8", &records, |record| {
        std::str::from_utf8(record).is_ok() && serde_json::from_slice::<IgnoredAny>(record).is_ok()
    });
    row("serde_json Value", &records, |record| {
        serde_json::from_slice::<serde_json::Value>(record).is_ok()
    });
    row("sonic-rs Value", &records, |record| sonic_rs::from_slice::<SonicValue>(record).is_ok());
    row("sonic-rs LazyValue (lax)", &records, |record| {
        sonic_rs::from_slice::<LazyValue<'_>>(record).is_ok()
    });
    let mut tree = PointerTree::new();
    for (path, _) in reads() {
        let keys: Vec<String> = path
            .0
            .into_iter()
            .map(|segment| match segment {
                tidegate_core::Segment::Key(key) => key,
                tidegate_core::Segment::Index(index) => index.to_string(),
            })
            .collect();
        tree.add_path(&keys);
    }
    row("sonic-rs get_many, 8 fields (lax)", &records, |record| {
        sonic_rs::get_many(record, &tree)
            .is_ok_and(|values| values.iter().flatten().filter(|v| v.is_str()).count() > 0)
    });
}

fn path(text: &str) -> Path {
    text.parse().expect("a path")
}

fn reads() -> Vec<(Path, Kind)> {
    let currencies = ["EUR", "USD", "GBP", "JPY", "CHF"].map(str::to_owned).to_vec();
    vec![
        (path("amount"), Kind::Float64),
        (path("currency"), Kind::Enumeration(currencies)),
        (path("timestamp"), Kind::Timestamp(TimestampFormat::Rfc3339)),
        (path("event_type"), Kind::Utf8),
        (path("user_id"), Kind::Utf8),
        (path("merchant.id"), Kind::Utf8),
        (path("card.present"), Kind::Boolean),
        (path("retries"), Kind::Int64),
    ]
}

fn writes() -> Vec<Path> {
    ["amount_category", "is_high_value", "risk"].map(path).to_vec()
}

fn project(name: &str, records: &[Vec<u8>], reads: &[(Path, Kind)], writes: &[Path]) {
    let projector = Projector::new(reads, writes, Layout::Flat).expect("valid paths");
    let mut projection = projector.projection();
    row(name, records, |record| {
        if projection.rows() == BATCH {
            projection.clear();
        }
        projector.project(record, &mut projection).is_ok()
    });
}

fn splice(name: &str, records: &[Vec<u8>], writes: &[Path], layout: Layout) {
    let projector = Projector::new(&reads(), writes, layout).expect("valid paths");
    let mut projection = projector.projection();
    for record in records {
        projector.project(record, &mut projection).expect("valid records");
    }
    let mut splicer = projector.splicer();
    let id = "0".repeat(64);
    let stamp = Stamp { record_id: &id, processed: Timestamp(1_772_366_400_250_000) };
    let mut out = Vec::new();
    let mut next = 0;
    row(name, records, |record| {
        if next == records.len() {
            next = 0;
        }
        if next.is_multiple_of(BATCH) {
            out.clear();
        }
        let set = |path, value| Edit { path, change: Change::Set(value) };
        let edits = [
            set(0, Value::Utf8(b"large")),
            set(1, Value::Boolean(true)),
            set(2, Value::Float64(next as f64 * 0.25)),
        ];
        let located = projection.located(next);
        next += 1;
        splicer.splice(record, located, &edits, stamp, &mut out).is_ok()
    });
}

/// Measures one row of the table, if its name has the words of the command line in it.
fn row(name: &str, records: &[Vec<u8>], mut work: impl FnMut(&[u8]) -> bool) {
    // Cargo itself passes `--bench`.
    if std::env::args().skip(1).any(|word| word != "--bench" && !name.contains(&word)) {
        return;
    }
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for record in records {
            assert!(black_box(work(black_box(record))), "{name}: a record was refused");
        }
        rounds.push(start.elapsed().as_nanos() as f64 / records.len() as f64);
    }
    rounds.sort_by(f64::total_cmp);
    println!("{name:<40} {:>8.1} ns (fastest {:.1})", rounds[ROUNDS / 2], rounds[0]);
}

/// Transactions that differ in their values and in the lengths of them.
fn records(count: usize) -> Vec<Vec<u8>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    (0..count)
        .map(|i| {
            let currency = ["EUR", "USD", "GBP", "JPY", "CHF"][next(5) as usize];
            let merchant =
                ["Corner Shop", "Grand Hotel", "Books & More", "Station Kiosk"][next(4) as usize];
            let status = ["completed", "pending", "refunded"][next(3) as usize];
            let network = ["visa", "mastercard", "amex"][next(3) as usize];
            let tags = ["\"mobile\",\"promo\"", "\"web\"", ""][next(3) as usize];
            format!(
                r#"{{"event_id":"evt-{i:010}","event_type":"transaction","timestamp":"2026-03-{:02}T{:02}:{:02}:{:02}.{:03}Z","user_id":"user-{}","session_id":"{:016x}","amount":{}.{:02},"currency":"{currency}","status":"{status}","merchant":{{"id":"m-{}","name":"{merchant}","category":"{}","country":"DE"}},"card":{{"network":"{network}","last4":"{:04}","present":{}}},"location":{{"lat":{}.{:06},"lon":{}.{:06}}},"device":{{"os":"android","version":"14.{}"}},"retries":{},"tags":[{tags}],"note":null}}"#,
                1 + next(28), next(24), next(60), next(60), next(1000), next(100_000),
                next(u64::MAX >> 12), next(5_000), next(100), next(100_000), 1000 + next(9000),
                next(10_000), next(2) == 0, next(90), next(1_000_000), next(180),
                next(1_000_000), next(10), next(4),
            )
            .into_bytes()
        })
        .collect()
}
