//! Parquet by way of the program: what it writes is read by somebody else's reader and by itself,
//! and what somebody else's writer writes is read by it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tidegate_tests::{
    program::{Program, lines, root, tree},
    python::{python, run},
};

fn pyarrow(test: &str) -> Option<PathBuf> {
    python(test, "TIDEGATE_PYARROW")
}

/// Runs the example in a folder.
fn write_lake(folder: &Path) -> Value {
    let program = Program::new(root().join("examples/parquet/pipeline.yaml"))
        .with("PARQUET_DIR", folder)
        .with("PARQUET_RECORDS", "5000");
    let summary = program.data("run", &["--clock", "2026-03-01T00:00:00Z"]);
    let verified = program.data("verify", &[]);
    assert_eq!(verified["conserved"], true, "{verified:#}");
    summary
}

const READ_LAKE: &str = r#"
import json, pathlib, sys
import pyarrow.parquet as pq
rows, schemas = [], set()
files = sorted(pathlib.Path(sys.argv[1]).rglob("*.parquet"))
for path in files:
    file = pq.ParquetFile(path)
    table = file.read()
    table.validate(full=True)
    schemas.add(str(table.schema))
    for group in range(file.metadata.num_row_groups):
        for column in range(file.metadata.num_columns):
            chunk = file.metadata.row_group(group).column(column)
            assert chunk.is_stats_set and chunk.compression == "ZSTD", chunk
    assert file.metadata.created_by.startswith("tidegate version 1 "), file.metadata.created_by
    rows += table.to_pylist()
for row in rows:
    row["timestamp"] = row["timestamp"] and row["timestamp"].isoformat()
    row["date"] = row["date"] and row["date"].isoformat()
    row["loaded_at"] = row["loaded_at"].isoformat()
print(json.dumps({"files": len(files), "schemas": sorted(schemas), "rows": rows}))
"#;

#[test]
fn somebody_elses_reader_reads_what_is_written() {
    let Some(interpreter) = pyarrow("Parquet read by PyArrow") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let summary = write_lake(folder.path());
    let lake = run(&interpreter, READ_LAKE, &folder.path().join("lake"));
    assert_eq!(lake["files"], tree(&folder.path().join("lake")).len());
    let schemas = lake["schemas"].as_array().expect("schemas");
    assert_eq!(schemas.len(), 1, "{schemas:#?}");
    let schema = schemas[0].as_str().expect("a text");
    for column in [
        "event_id: string not null",
        "timestamp: timestamp[us, tz=UTC]",
        "date: date32[day]",
        "hour: int64",
        "amount: double",
        "amount_category: string",
    ] {
        assert!(schema.contains(column), "{column} in {schema}");
    }
    let rows = lake["rows"].as_array().expect("rows");
    assert_eq!(summary["delivered"], rows.len());
    for row in rows {
        // The whole event is a column of its own: the others must say the same.
        let event = row["event"].as_str().expect("a text");
        let event: Value = serde_json::from_str(event).expect("an event is JSON");
        for field in ["event_id", "account_id", "amount", "date", "hour", "amount_category"] {
            let (wanted, found) = (&event[field], &row[field]);
            assert!(
                wanted == found || wanted.as_f64().is_some_and(|it| Some(it) == found.as_f64()),
                "{field}: {wanted} is {found}"
            );
        }
        assert_eq!(row["country"], event["merchant"]["country"]);
        assert_eq!(row["loaded_at"], "2026-03-01T00:00:00+00:00");
        let tags = row["tags"].as_str().map(|it| serde_json::from_str(it).expect("tags are JSON"));
        assert_eq!(tags.unwrap_or(Value::Null), event["tags"]);
        assert!(row["timestamp"].is_null() == event["timestamp"].is_null());
    }
}

#[test]
fn what_is_written_comes_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let summary = write_lake(folder.path());
    let back = Program::new(root().join("examples/parquet-back/pipeline.yaml"))
        .with("PARQUET_DIR", folder.path())
        .with("LAKE", folder.path().join("lake"));
    let read = back.data("run", &["--clock", "2026-03-01T00:00:00Z"]);
    assert_eq!(read["delivered"], summary["delivered"]);
    assert_eq!(back.data("verify", &[])["conserved"], true);
    for line in lines(&folder.path().join("back/events")) {
        let row: Value = serde_json::from_slice(&line).expect("a row is JSON");
        assert_eq!(row["event"]["event_id"], row["event_id"]);
        assert_eq!(row["event"]["amount"], row["amount"]);
        assert_eq!(row["event"]["timestamp"].is_null(), row["timestamp"].is_null());
    }
}

/// Nested data of every sort, with holes in it, in several encodings.
const WRITE_NESTED: &str = r#"
import datetime, decimal, json, random, sys
import pyarrow as pa, pyarrow.parquet as pq
random.seed(3)
def maybe(make, null=0.2):
    return None if random.random() < null else make()
def number(): return random.randrange(-1000, 1000)
def text(): return random.choice(["", "a", "\u00e9\"\\\n", "long " * 20])
def many(make, most=4): return [maybe(make) for _ in range(random.randrange(most))]
def point(): return {"x": maybe(number), "tags": maybe(lambda: many(text))}
schema = pa.schema([
    ("id", pa.int64()),
    ("point", pa.struct([("x", pa.int32()), ("tags", pa.list_(pa.string()))])),
    ("points", pa.list_(pa.struct([("x", pa.int32()), ("tags", pa.list_(pa.string()))]))),
    ("deep", pa.list_(pa.list_(pa.list_(pa.int16())))),
    ("scores", pa.map_(pa.string(), pa.list_(pa.float64()))),
    ("by_number", pa.map_(pa.int32(), pa.string())),
    ("price", pa.decimal128(20, 4)),
    ("at", pa.timestamp("us", "UTC")),
    ("day", pa.date32()),
    ("raw", pa.binary()),
    ("big", pa.uint64()),
    ("flag", pa.bool_()),
])
rows = [{
    "id": i,
    "point": maybe(point),
    "points": maybe(lambda: many(point)),
    "deep": maybe(lambda: many(lambda: many(lambda: many(number, 3)))),
    "scores": maybe(lambda: {k: maybe(lambda: many(random.random)) for k in random.sample("abcde", 3)}),
    "by_number": maybe(lambda: {number(): maybe(text) for _ in range(3)}),
    "price": maybe(lambda: decimal.Decimal(number() * 37).scaleb(-4)),
    "at": maybe(lambda: datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(microseconds=number() * 1001)),
    "day": maybe(lambda: datetime.date(2026, 3, 1) + datetime.timedelta(days=number())),
    "raw": maybe(lambda: random.randbytes(5)),
    "big": maybe(lambda: 2**64 - 1 - abs(number())),
    "flag": maybe(lambda: random.random() < 0.5),
} for i in range(3000)]
for row in rows:
    if row["scores"] is not None: row["scores"] = list(row["scores"].items())
    if row["by_number"] is not None: row["by_number"] = list(row["by_number"].items())
table = pa.Table.from_pylist(rows, schema=schema)
for name, options in {
    "plain-v1": dict(compression="none", use_dictionary=False, data_page_version="1.0"),
    "snappy-v2": dict(compression="snappy", data_page_version="2.0", data_page_size=2000),
    "gzip-small": dict(compression="gzip", row_group_size=170),
    "lz4": dict(compression="lz4"),
    "delta": dict(compression="zstd", use_dictionary=False, column_encoding={"id": "DELTA_BINARY_PACKED", "raw": "DELTA_LENGTH_BYTE_ARRAY", "flag": "RLE"}),
}.items():
    pq.write_table(table, f"{sys.argv[1]}/{name}.parquet", **options)
import base64
def stamp(at):
    text = at.strftime("%Y-%m-%dT%H:%M:%S")
    if at.microsecond: text += (".%06d" % at.microsecond if at.microsecond % 1000 else ".%03d" % (at.microsecond // 1000))
    return text + "Z"
def plain(row):
    row = dict(row)
    if row["scores"] is not None: row["scores"] = dict(row["scores"])
    if row["by_number"] is not None: row["by_number"] = [{"key": k, "value": v} for k, v in row["by_number"]]
    if row["price"] is not None: row["price"] = float(row["price"])
    if row["at"] is not None: row["at"] = stamp(row["at"])
    if row["day"] is not None: row["day"] = row["day"].isoformat()
    if row["raw"] is not None: row["raw"] = base64.b64encode(row["raw"]).decode()
    return row
print(json.dumps([plain(row) for row in rows]))
"#;

#[test]
fn what_somebody_elses_writer_writes_is_read() {
    let Some(interpreter) = pyarrow("Parquet written by PyArrow") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("in")).expect("a fresh folder");
    let wanted = run(&interpreter, WRITE_NESTED, &folder.path().join("in"));
    let wanted = wanted.as_array().expect("rows");
    for file in tree(&folder.path().join("in")).into_keys() {
        let pipeline = folder.path().join(format!("{file}.yaml"));
        let config = json!({
            "pipeline": "nested",
            "data_dir": format!("{file}.data"),
            "source": { "parquet": { "paths": [format!("in/{file}")] } },
            "sinks": [{ "name": "rows", "directory": { "path": format!("{file}.rows") } }],
            "dead_letters": { "directory": format!("{file}.dead") },
        });
        fs::write(&pipeline, config.to_string()).expect("a fresh folder");
        let program = Program::new(&pipeline);
        assert_eq!(program.data("run", &[])["delivered"], wanted.len(), "{file}");
        assert_eq!(program.data("verify", &[])["conserved"], true, "{file}");
        let read = lines(&folder.path().join(format!("{file}.rows")));
        assert_eq!(read.len(), wanted.len(), "{file}");
        for (line, wanted) in read.iter().zip(wanted) {
            let row: Value = serde_json::from_slice(line).expect("a row is JSON");
            assert_eq!(row, *wanted, "{file}");
        }
    }
}

/// Merchants as somebody else writes them: nested, with dictionaries, a time without a zone, and a
/// column that no table could have.
const WRITE_MERCHANTS: &str = r#"
import datetime, json, sys
import pyarrow as pa, pyarrow.parquet as pq
many = int(sys.argv[1].rsplit("/", 1)[1])
schema = pa.schema([
    ("junk", pa.list_(pa.float64())),
    ("id", pa.string()),
    ("scores", pa.struct([("risk", pa.float32()), ("tags", pa.list_(pa.string()))])),
    ("since", pa.timestamp("ms")),
    ("limit", pa.decimal128(12, 2)),
])
import decimal
table = pa.table({
    "junk": [[float("nan")]] * many,
    "id": [f"m{i:07}" for i in range(many)],
    "scores": [{"risk": i % 8 / 8, "tags": ["a", None]} if i % 5 else None for i in range(many)],
    "since": [datetime.datetime(2026, 3, 1) + datetime.timedelta(milliseconds=i) for i in range(many)],
    "limit": [decimal.Decimal(i).scaleb(-2) for i in range(many)],
}, schema=schema)
pq.write_table(table, sys.argv[1] + ".parquet", row_group_size=100_000, compression="zstd")
print(json.dumps(many))
"#;

/// A pipeline that looks up in a table of so many rows, once for each of three records.
fn looks_up(folder: &Path, rows: usize) -> Program {
    let config = json!({
        "pipeline": "limits",
        "data_dir": "data",
        "source": { "ndjson": { "paths": ["in.jsonl"] } },
        "tables": [{
            "name": "merchants",
            "path": format!("{rows}.parquet"),
            "key": ["id"],
            "columns": { "id": "utf8", "risk": "float64", "since": "timestamp", "limit": "float64" },
            "paths": { "risk": "scores.risk" },
            "parquet": { "local_times": "as_utc" },
        }],
        "stages": [{
            "name": "enrich",
            "plugin": "${TIDEGATE_PLUGINS}/enrich.wasm",
            "grants": ["lookups"],
            "config": { "fields": (["risk", "limit"].map(|column| json!({
                "write": column,
                "value": { "lookup": {
                    "table": "merchants", "key": ["merchant"], "column": column, "type": "number",
                } },
            }))) },
        }],
        "sinks": [{ "name": "out", "directory": { "path": "out" } }],
        "dead_letters": { "directory": "dead" },
    });
    let file = folder.join("pipeline.yaml");
    fs::write(&file, config.to_string()).expect("a fresh folder");
    Program::new(file)
}

#[test]
fn a_table_that_somebody_elses_writer_wrote_is_looked_up_in() {
    let Some(interpreter) = pyarrow("tables of Parquet written by PyArrow") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rows = 10_000;
    run(&interpreter, WRITE_MERCHANTS, &folder.path().join(rows.to_string()));
    let records = [7, 9_998, 5].map(|i| format!("{{\"merchant\":\"m{i:07}\"}}\n"));
    fs::write(folder.path().join("in.jsonl"), records.concat()).expect("a fresh folder");
    let program = looks_up(folder.path(), rows);
    let table = program.data("check", &[])["plan"]["tables"][0].clone();
    assert_eq!(table["rows"], rows, "{table:#}");
    // Once a row and key, although two columns are read.
    assert_eq!(program.data("run", &[])["lookups"][0]["hits"], 3);
    let written = lines(&folder.path().join("out")).into_iter().map(|line| {
        let record: Value = serde_json::from_slice(&line).expect("a record is JSON");
        json!([record["risk"], record["limit"]])
    });
    let wanted = [json!([0.875, 0.07]), json!([0.75, 99.98]), json!([null, 0.05])];
    assert_eq!(written.collect::<Vec<_>>(), wanted);

    // What can't be is told with its place.
    let text = fs::read_to_string(folder.path().join("pipeline.yaml")).expect("it was written");
    let text = text.replace("\"parquet\":{\"local_times\":\"as_utc\"}", "\"compression\":\"zstd\"");
    fs::write(folder.path().join("pipeline.yaml"), text).expect("it was there");
    let refused = program.run("check", &[]);
    assert_eq!(refused.code, 2, "{:#}", refused.json);
    let finding = &refused.json["findings"][0];
    assert_eq!((&finding["code"], &finding["line"]), (&json!("one-of"), &json!(1)), "{finding:#}");
}
