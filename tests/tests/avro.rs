//! Avro by way of the program: what somebody else's writer wrote is read, evolved, and told where it
//! is broken.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tidegate_tests::{
    program::{Program, lines, tree},
    python::{python, run},
};

const FASTAVRO: &str = "TIDEGATE_FASTAVRO";

/// A pipeline that writes the rows of a file as they are.
fn pipeline(folder: &Path, source: &Value) -> Program {
    let config = json!({
        "pipeline": "rows",
        "data_dir": "data",
        "source": { "avro": source },
        "sinks": [{ "name": "rows", "directory": { "path": "rows" } }],
        "dead_letters": { "directory": "dead" },
    });
    let file = folder.join("pipeline.yaml");
    fs::write(&file, config.to_string()).expect("a fresh folder");
    Program::new(file)
}

fn records(folder: &Path) -> Vec<Value> {
    let records = lines(&folder.join("rows")).into_iter();
    records.map(|line| serde_json::from_slice(&line).expect("a row is JSON")).collect()
}

fn letters(folder: &Path) -> Vec<Value> {
    let letters = lines(&folder.join("dead")).into_iter();
    letters.map(|line| serde_json::from_slice(&line).expect("a letter is JSON")).collect()
}

/// Every type there is, with holes, in every codec; and what each row is in JSON.
const WRITE_EVERYTHING: &str = r#"
import base64, datetime, decimal, json, random, sys, uuid
import fastavro
random.seed(5)
UTC = datetime.timezone.utc
point = {"type": "record", "name": "Point", "fields": [
    {"name": "x", "type": "int"}, {"name": "next", "type": ["null", "Point"], "default": None}]}
def logical(kind, name, **more): return {"type": kind, "logicalType": name, **more}
schema = {"type": "record", "name": "Row", "namespace": "shop.v1", "fields": [
    {"name": "id", "type": "long"},
    {"name": "flag", "type": "boolean"},
    {"name": "small", "type": "float"},
    {"name": "large", "type": "double"},
    {"name": "text", "type": ["null", "string"]},
    {"name": "raw", "type": "bytes"},
    {"name": "four", "type": {"type": "fixed", "name": "Four", "size": 4}},
    {"name": "suit", "type": {"type": "enum", "name": "Suit", "symbols": ["HEARTS", "CLUBS"]}},
    {"name": "tags", "type": {"type": "array", "items": ["null", "string"]}},
    {"name": "scores", "type": {"type": "map", "values": "double"}},
    {"name": "point", "type": ["null", point]},
    {"name": "either", "type": ["int", "string", "boolean", "bytes"]},
    {"name": "price", "type": logical("bytes", "decimal", precision=20, scale=4)},
    {"name": "fee", "type": {"type": "fixed", "name": "Fee", "size": 8, "logicalType": "decimal", "precision": 12, "scale": 2}},
    {"name": "day", "type": logical("int", "date")},
    {"name": "clock", "type": logical("long", "time-micros")},
    {"name": "clock_ms", "type": logical("int", "time-millis")},
    {"name": "at", "type": logical("long", "timestamp-micros")},
    {"name": "at_ms", "type": ["null", logical("long", "timestamp-millis")]},
    {"name": "here", "type": logical("long", "local-timestamp-millis")},
    {"name": "uuid", "type": logical("string", "uuid")},
    {"name": "strange", "type": logical("long", "of-our-own")},
]}
def make_point(depth):
    return {"x": random.randrange(9), "next": make_point(depth - 1) if depth else None}
def stamp(at, zone="Z"):
    text = at.strftime("%Y-%m-%dT%H:%M:%S")
    if at.microsecond: text += (".%06d" % at.microsecond if at.microsecond % 1000 else ".%03d" % (at.microsecond // 1000))
    return text + zone
rows, wanted = [], []
for i in range(2500):
    n = random.randrange(-10**6, 10**6)
    at = datetime.datetime(2026, 3, 1, tzinfo=UTC) + datetime.timedelta(microseconds=n * 1003)
    at_ms = random.choice([None, at.replace(microsecond=at.microsecond // 1000 * 1000)])
    row = {
        "id": i, "flag": n % 2 == 0, "small": n / 4, "large": n / 7,
        "text": random.choice([None, "", "\u00e9\"\\\n", "long " * 30]),
        "raw": random.randbytes(n % 9), "four": random.randbytes(4),
        "suit": random.choice(["HEARTS", "CLUBS"]),
        "tags": random.choices([None, "a", "b"], k=n % 4),
        "scores": {k: random.random() for k in random.sample("zyxab", 3)},
        "point": random.choice([None, make_point(3)]),
        "either": random.choice([n, "text", True, b"\x00\xff"]),
        "price": decimal.Decimal(n * 10**8).scaleb(-4), "fee": decimal.Decimal(n).scaleb(-2),
        "day": at.date(), "clock": at.time(), "clock_ms": datetime.time(12, 0, 0, 250000),
        "at": at, "at_ms": at_ms, "here": datetime.datetime(2026, 3, 1, 12),
        "uuid": uuid.UUID(int=random.getrandbits(128)), "strange": n,
    }
    rows.append(row)
    clock = row["clock"].strftime("%H:%M:%S")
    if row["clock"].microsecond: clock = stamp(at, "")[11:]
    plain = dict(row, raw=base64.b64encode(row["raw"]).decode(), four=base64.b64encode(row["four"]).decode(),
        price=float(row["price"]), fee=float(row["fee"]), day=row["day"].isoformat(), clock=clock, clock_ms="12:00:00.250",
        at=stamp(at), at_ms=at_ms and stamp(at_ms), here="2026-03-01T12:00:00", uuid=str(row["uuid"]))
    if isinstance(plain["either"], bytes): plain["either"] = base64.b64encode(plain["either"]).decode()
    wanted.append(plain)
for codec in ["null", "deflate", "snappy", "zstandard"]:
    with open(f"{sys.argv[1]}/{codec}.avro", "wb") as file:
        fastavro.writer(file, schema, rows, codec=codec, sync_interval=20000)
print(json.dumps(wanted))
"#;

#[test]
fn what_somebody_elses_writer_writes_is_read() {
    let test = "Avro written by fastavro";
    let Some(interpreter) = python(test, FASTAVRO) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("in")).expect("a fresh folder");
    let wanted = run(&interpreter, WRITE_EVERYTHING, &folder.path().join("in"));
    let wanted = wanted.as_array().expect("rows");
    let files = tree(&folder.path().join("in"));
    assert_eq!(files.len(), 4);
    for file in files.into_keys() {
        let own = folder.path().join(format!("{file}.d"));
        fs::create_dir(&own).expect("a fresh folder");
        let program = pipeline(&own, &json!({ "paths": [format!("../in/{file}")] }));
        assert_eq!(program.data("run", &[])["delivered"], wanted.len(), "{file}");
        assert_eq!(program.data("verify", &[])["conserved"], true, "{file}");
        let found = records(&own);
        assert_eq!(found.len(), wanted.len());
        for (row, wanted) in found.iter().zip(wanted) {
            assert_eq!(row, wanted, "{file}");
        }
    }
}

/// Rows of an old and of a new writer, as their own readers have them in the wanted schema.
const WRITE_TWO_VERSIONS: &str = r#"
import datetime, json, sys
import fastavro
folder = sys.argv[1]
old = {"type": "record", "name": "User", "fields": [
    {"name": "id", "type": "int"}, {"name": "mail", "type": "string"}, {"name": "gone", "type": "string"},
    {"name": "level", "type": {"type": "enum", "name": "Level", "symbols": ["LOW", "ODD"]}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "home", "type": {"type": "record", "name": "Home", "fields": [{"name": "town", "type": "string"}]}}]}
new = {"type": "record", "name": "User", "fields": [
    {"name": "email", "type": ["null", "string"]}, {"name": "id", "type": "long"},
    {"name": "level", "type": {"type": "enum", "name": "Level", "symbols": ["LOW", "HIGH"]}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "home", "type": {"type": "record", "name": "Home", "fields": [{"name": "town", "type": "string"}, {"name": "zip", "type": "string"}]}},
    {"name": "since", "type": {"type": "int", "logicalType": "date"}}]}
wanted = {"type": "record", "name": "User", "fields": [
    {"name": "id", "type": "double"},
    {"name": "email", "type": ["null", "string"], "aliases": ["mail"], "default": None},
    {"name": "level", "type": {"type": "enum", "name": "Level", "symbols": ["LOW", "HIGH", "NONE"], "default": "NONE"}},
    {"name": "since", "type": {"type": "int", "logicalType": "date"}, "default": 20000},
    {"name": "home", "type": {"type": "record", "name": "Home", "fields": [
        {"name": "town", "type": "string"}, {"name": "zip", "type": "string", "default": "none"}]}},
    {"name": "tags", "type": {"type": "array", "items": "string"}, "default": ["a"]}]}
def write(name, schema, rows):
    with open(f"{folder}/{name}.avro", "wb") as file: fastavro.writer(file, schema, rows)
write("1-old", old, [{"id": i, "mail": f"m{i}", "gone": "x", "level": ["LOW", "ODD"][i % 2], "at": i, "home": {"town": "t"}} for i in range(20)])
write("2-new", new, [{"id": i, "email": [None, "e"][i % 2], "level": "HIGH", "at": i, "home": {"town": "t", "zip": "z"}, "since": i} for i in range(20)])
json.dump(wanted, open(f"{folder}/wanted.avsc", "w"))
rows = []
for name in ["1-old", "2-new"]:
    with open(f"{folder}/{name}.avro", "rb") as file:
        for row in fastavro.reader(file, reader_schema=wanted):
            # It gives a default as it stands in the schema.
            since = row["since"]
            if isinstance(since, int): since = datetime.date(1970, 1, 1) + datetime.timedelta(days=since)
            row["since"] = since.isoformat()
            rows.append(row)
print(json.dumps(rows))
"#;

#[test]
fn rows_of_other_versions_become_those_of_the_readers_schema() {
    let test = "Avro's schema resolution against fastavro";
    let Some(interpreter) = python(test, FASTAVRO) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wanted = run(&interpreter, WRITE_TWO_VERSIONS, folder.path());
    let source = json!({ "paths": ["*.avro"], "reader_schema": "wanted.avsc" });
    let program = pipeline(folder.path(), &source);
    assert_eq!(program.data("run", &[])["delivered"], 40);
    assert_eq!(json!(records(folder.path())), wanted);

    // A schema that the rows can't have stops its partitions, and says where they differ.
    let other = json!({ "type": "record", "name": "User", "fields": [
        { "name": "id", "type": "long" },
        { "name": "home", "type": { "type": "record", "name": "Home", "fields": [
            { "name": "street", "type": "string" }] } },
    ] });
    fs::write(folder.path().join("wanted.avsc"), other.to_string()).expect("it was there");
    fs::remove_dir_all(folder.path().join("data")).expect("it was there");
    fs::remove_dir_all(folder.path().join("rows")).expect("it was there");
    let refused = program.run("run", &[]);
    assert_eq!(refused.code, 1, "{:#}", refused.json);
    assert!(refused.stderr.contains("`home.street` is not among the fields"), "{}", refused.stderr);

    // And one that is none is found before anything runs.
    fs::write(folder.path().join("wanted.avsc"), "{\"type\":\"recrod\"}").expect("it was there");
    let checked = program.run("check", &[]);
    assert_eq!(checked.code, 2);
    assert_eq!(checked.json["findings"][0]["pointer"], "/source/avro/reader_schema");
}

/// Rows in blocks of which some are then broken.
const WRITE_BLOCKS: &str = r#"
import json, sys
import fastavro
schema = {"type": "record", "name": "Row", "fields": [
    {"name": "id", "type": "long"}, {"name": "text", "type": "string"}, {"name": "x", "type": "double"}]}
path = sys.argv[1] + "/rows.avro"
rows = [{"id": i, "text": "some text that is long enough", "x": float("nan") if i == 7 else i} for i in range(1000)]
with open(path, "wb") as file: fastavro.writer(file, schema, rows, codec="deflate", sync_interval=2000)
with open(path, "rb") as file:
    blocks = [(block.offset, block.num_records) for block in fastavro.block_reader(file)]
print(json.dumps(blocks))
"#;

#[test]
fn what_is_broken_is_a_dead_letter_and_all_else_is_read() {
    let test = "broken files of Avro";
    let Some(interpreter) = python(test, FASTAVRO) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let blocks = run(&interpreter, WRITE_BLOCKS, folder.path());
    let blocks: Vec<(usize, usize)> = serde_json::from_value(blocks).expect("blocks");
    assert!(blocks.len() > 10);
    let path = folder.path().join("rows.avro");
    let mut bytes = fs::read(&path).expect("it was written");
    // In the third block the data, in the fifth the count and the size; and the last one ends early.
    bytes[blocks[2].0 + 20] ^= 0xff;
    bytes[blocks[4].0..blocks[4].0 + 2].fill(0xff);
    bytes.truncate(bytes.len() - 9);
    fs::write(&path, &bytes).expect("it was there");
    let program = pipeline(folder.path(), &json!({ "paths": ["rows.avro"] }));
    let summary = program.data("run", &[]);
    assert_eq!(program.data("verify", &[])["conserved"], true);

    let before = |block: usize| blocks[..block].iter().map(|it| it.1).sum::<usize>();
    let last = blocks.len() - 1;
    let lost = [2, 4, last].map(|block| before(block)..before(block + 1));
    let read: Vec<usize> =
        records(folder.path()).iter().map(|row| row["id"].as_u64().unwrap() as usize).collect();
    let whole: Vec<usize> =
        (0..1000).filter(|id| *id != 7 && !lost.iter().any(|it| it.contains(id))).collect();
    let of_third = lost[0].clone();
    // Of the third block the rows before the broken byte may still be had.
    let rest: Vec<usize> = read.iter().copied().filter(|id| !of_third.contains(id)).collect();
    assert_eq!(rest, whole);
    let letters = letters(folder.path());
    assert_eq!(summary["dead_lettered"], letters.len());
    let codes: Vec<&str> =
        letters.iter().filter_map(|it| it["etl"]["errorCode"].as_str()).collect();
    assert_eq!(
        codes,
        ["avro-not-finite", "avro-damaged", "avro-damaged", "avro-damaged"],
        "{letters:#?}"
    );
    for (letter, says) in letters.iter().zip([
        "`x` is not a finite number",
        &lost[0].end.to_string(),
        &format!("bytes {} to", blocks[4].0),
        "a block is larger than what is left of the file",
    ]) {
        let message = letter["etl"]["errorMessage"].as_str().expect("a message");
        assert!(message.contains(says), "{says}: {message}");
    }
}
