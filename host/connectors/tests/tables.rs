//! What loading a look-up table promises: cells as `docs/json.md` converts them, the same of every
//! format; a digest of content and schema; and a table whole or not at all, with lines.

#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::{collections::BTreeMap, fs, io::Write, sync::Arc};

use proptest::prelude::*;
use tempfile::TempDir;
use tidegate_connectors::{
    sources::{Compression, CsvColumns, TextEncoding},
    tables::{CsvTable, TableError, TableFormat, TableSpec, load},
};
use tidegate_core::{
    Column, Kind, LookupTable, Presence, Values,
    description::TimestampFormat,
    lookup::{Matches, OnDuplicate, TableColumn},
    parquet::{Codec, Field, Room, RowFormat, RowGroupLimit, Schema, Writer},
};

const SECONDS: Kind = Kind::Timestamp(TimestampFormat::UnixSeconds);
const RFC_3339: Kind = Kind::Timestamp(TimestampFormat::Rfc3339);

fn spec(format: TableFormat, columns: &[(&str, Kind)], key: &[&str]) -> TableSpec {
    let column =
        |(name, kind): &(&str, Kind)| TableColumn { name: (*name).into(), kind: kind.clone() };
    TableSpec {
        name: "t".into(),
        format,
        compression: Compression::ByExtension,
        columns: columns.iter().map(column).collect(),
        paths: BTreeMap::new(),
        key: key.iter().map(|part| (*part).into()).collect(),
        nulls: vec![String::new()],
        on_duplicate: OnDuplicate::Refuse,
    }
}

fn csv(columns: &[(&str, Kind)], key: &[&str]) -> TableSpec {
    spec(TableFormat::Csv(CsvTable::default()), columns, key)
}

fn load_bytes(name: &str, bytes: &[u8], spec: &TableSpec) -> Result<Arc<LookupTable>, TableError> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, bytes).unwrap();
    load(&path, spec)
}

fn load_text(text: &str, spec: &TableSpec) -> Result<Arc<LookupTable>, TableError> {
    load_bytes("table", text.as_bytes(), spec)
}

#[track_caller]
fn refused(text: &str, spec: &TableSpec) -> String {
    load_text(text, spec).expect_err("it is no table").to_string()
}

/// A column of the rows that have these keys, all of them texts.
#[track_caller]
fn cells(table: &LookupTable, column: &str, keys: &[&str]) -> Column {
    let place = table.schema().column(column).unwrap();
    let key = Column { values: Values::Utf8(keys.iter().collect()), presence: Vec::new() };
    let (mut matches, mut found) =
        (Matches::default(), Column::empty(&table.schema().columns()[place].kind));
    table.find(&[&key], keys.len(), &mut matches);
    table.gather(place, &matches, &mut found);
    found
}

#[test]
fn every_format_gives_the_same_cells() {
    let columns = [
        ("id", Kind::Utf8),
        ("n", Kind::Int64),
        ("x", Kind::Float64),
        ("yes", Kind::Boolean),
        ("at", RFC_3339),
        ("since", SECONDS),
        ("day", Kind::Date),
        ("raw", Kind::Json),
    ];
    let texts = [
        (
            TableFormat::Csv(CsvTable::default()),
            "other,id,n,x,yes,at,since,day,raw\r\n\
             -,\"a,\"\"b\"\"\",9007199254740993,2.50,true,2026-03-01T12:00:00+02:00,1.5,1970-01-02,\
             \"{\"\"k\"\": 1E400}\"\r\n\
             -,b,,,,,,,\r\n",
        ),
        (
            TableFormat::Ndjson,
            "{\"id\":\"a,\\\"b\\\"\",\"n\":9007199254740993,\"x\":2.50,\"yes\":true,\
             \"at\":\"2026-03-01T12:00:00+02:00\",\"since\":1.5,\"day\":\"1970-01-02\",\
             \"raw\":{\"k\": 1E400}}\n\n{\"id\":\"b\",\"n\":null,\"x\":null}",
        ),
        (
            TableFormat::Json,
            " [ {\"id\":\"a,\\\"b\\\"\",\"n\":9007199254740993,\"x\":2.50,\"yes\":true,\
             \"at\":\"2026-03-01T12:00:00+02:00\",\"since\":1.5,\"day\":\"1970-01-02\",\
             \"raw\":{\"k\": 1E400}} ,\n{\"id\":\"b\",\"n\":null}\n]\n",
        ),
    ];
    for (format, text) in texts {
        let table = load_text(text, &spec(format.clone(), &columns, &["id"])).unwrap();
        assert_eq!((table.rows(), table.keys()), (2, 2), "{format:?}");
        let found = |column: &str| {
            let found = cells(&table, column, &["a,\"b\"", "b", "c"]);
            let null = [0, Presence::Null as u8, Presence::Missing as u8];
            assert_eq!(found.presence, null, "{format:?} {column}");
            found.values
        };
        assert!(matches!(found("n"), Values::Int64(n) if n[0] == 9_007_199_254_740_993));
        assert!(matches!(found("x"), Values::Float64(x) if x[0] == 2.5));
        assert!(matches!(found("yes"), Values::Boolean(yes) if yes[0] == 1));
        assert!(matches!(found("at"), Values::Timestamp(at) if at[0] == 1_772_359_200_000_000));
        assert!(matches!(found("since"), Values::Timestamp(at) if at[0] == 1_500_000));
        assert!(matches!(found("day"), Values::Date(day) if day[0] == 1));
        assert!(matches!(found("raw"), Values::Json(raw) if raw.get(0) == b"{\"k\": 1E400}"));
    }
}

#[test]
fn columns_of_json_lie_where_their_paths_say() {
    let mut spec = spec(TableFormat::Ndjson, &[("id", Kind::Utf8), ("risk", Kind::Int64)], &["id"]);
    spec.paths.insert("id".into(), "merchant.id".parse().unwrap());
    spec.paths.insert("risk".into(), "scores[1]".parse().unwrap());
    let table = load_text("{\"merchant\":{\"id\":\"m\"},\"scores\":[1,2]}", &spec).unwrap();
    assert_eq!(cells(&table, "risk", &["m"]).values, Values::Int64(vec![2]));
}

#[test]
fn csv_is_read_as_it_is_said_to_be() {
    let mut spec = csv(&[("id", Kind::Utf8), ("n", Kind::Int64)], &["id"]);
    spec.nulls = vec!["NA".into()];
    spec.format = TableFormat::Csv(CsvTable {
        columns: CsvColumns::Named { names: vec!["n".into(), "id".into()], skip_header: true },
        delimiter: b';',
        quote: None,
        trim: true,
        ..CsvTable::default()
    });
    let table = load_text("\u{feff}x;y\n\n 7 ; \"a\nNA;b\n8;", &spec).unwrap();
    let found = cells(&table, "n", &["\"a", "b", ""]);
    assert_eq!(found, Column { values: Values::Int64(vec![7, 0, 8]), presence: vec![0, 2, 0] });
}

#[test]
fn csv_is_converted_from_the_character_set_that_is_said() {
    let text = "\u{feff}id,n\r\n\"k\u{f6}ln, \u{410}\",1\r\n\"two\nlines\",2\n";
    let utf16 =
        |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    for (name, bytes) in [
        ("utf-16le", utf16(u16::to_le_bytes)),
        ("utf-16be", utf16(u16::to_be_bytes)),
        (
            "gb18030",
            [b"id,n\n\"k".as_slice(), b"\x81\x30\x89\x34ln, \xa7\xa1\",1\n\"two\nlines\",2"]
                .concat(),
        ),
        ("utf-8", text.as_bytes().to_vec()),
    ] {
        let mut spec = csv(&[("id", Kind::Utf8), ("n", Kind::Int64)], &["id"]);
        let utf8 = load_text(text, &spec).unwrap().digest();
        let encoding = TextEncoding::named(name).unwrap();
        spec.format = TableFormat::Csv(CsvTable { encoding, ..CsvTable::default() });
        let table = load_bytes("table", &bytes, &spec).unwrap();
        let found = cells(&table, "n", &["k\u{f6}ln, \u{410}", "two\nlines"]);
        assert_eq!(found.values, Values::Int64(vec![1, 2]), "{name}");
        assert_eq!(table.digest() == utf8, name == "utf-8", "the character set is decisive");
    }
    let mut spec = csv(&[("id", Kind::Utf8)], &["id"]);
    let encoding = TextEncoding::named("shift_jis").unwrap();
    spec.format = TableFormat::Csv(CsvTable { encoding, ..CsvTable::default() });
    let error = load_bytes("table", b"id\na\n\x81\n\x93\xfa\n", &spec).unwrap_err().to_string();
    assert_eq!(error, "1 of its rows can't be taken: line 3: it is not Shift_JIS");
    let error = load_bytes("table", b"id\x81\na\n", &spec).unwrap_err().to_string();
    assert!(error.contains("its header is not Shift_JIS"), "{error}");
}

#[test]
fn compressed_files_are_read_by_their_extension() {
    let spec = csv(&[("id", Kind::Utf8)], &["id"]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"id\na\nb\n").unwrap();
    let table = load_bytes("table.csv.gz", &gzip.finish().unwrap(), &spec).unwrap();
    assert_eq!(table.keys(), 2);
}

#[test]
fn the_digest_is_of_content_and_schema() {
    let columns = [("id", Kind::Utf8), ("n", Kind::Int64)];
    let of = |text: &str, spec: &TableSpec| load_text(text, spec).unwrap().digest();
    let text = "id,n\na,1\n";
    let first = of(text, &csv(&columns, &["id"]));
    assert_eq!(first, of(text, &csv(&columns, &["id"])));
    assert_ne!(first, of("id,n\na,2\n", &csv(&columns, &["id"])));
    assert_ne!(first, of(text, &csv(&columns, &["n"])));
    assert_ne!(first, of(text, &csv(&[("id", Kind::Utf8), ("n", Kind::Float64)], &["id"])));
    let mut other = csv(&columns, &["id"]);
    other.nulls.push("NA".into());
    assert_ne!(first, of(text, &other));
    let mut other = csv(&columns, &["id"]);
    other.on_duplicate = OnDuplicate::First;
    assert_ne!(first, of(text, &other));
}

#[test]
fn rows_that_can_not_be_taken_are_told_by_their_lines_and_never_by_their_values() {
    let spec = csv(&[("id", Kind::Utf8), ("n", Kind::Int64)], &["id"]);
    let text = "id,n\na,1\n\"b\n\",secret\n,3\nd\n\"e\"x,1\nf,1.5\ng,99999999999999999999\n";
    let error = refused(text, &spec);
    assert_eq!(
        error,
        "6 of its rows can't be taken: line 3: `n` is not a number as JSON writes it: if it stands \
         for no value, say so under `nulls`; line 5: it has no `id`, which is part of the key; \
         line 6: it has 1 fields, and there are 2 columns; line 7: a quote is out of place; \
         line 8: `n` is not of the form of int64; and more"
    );
    let rows = "{\"id\":\"a\",\"n\":1}\n\n{\"id\":\n{\"id\":7,\"n\":\"secret\"}\n5\n";
    let ndjson = spec_of(TableFormat::Ndjson, &spec);
    let error = refused(rows, &ndjson);
    assert!(error.starts_with("4 of its rows can't be taken: line 3: "), "{error}");
    assert!(error.contains("line 4: `id` is not of the type of utf8"), "{error}");
    assert!(error.contains("line 4: `n` is not of the type of int64"), "{error}");
    assert!(error.contains("line 5: it has no `id`"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

fn spec_of(format: TableFormat, like: &TableSpec) -> TableSpec {
    TableSpec { format, ..like.clone() }
}

#[test]
fn duplicates_are_told_by_their_lines() {
    let mut spec = csv(&[("id", Kind::Utf8), ("n", Kind::Int64)], &["id"]);
    let text = "id,n\n\n\"a\",1\nb,2\n\n\"a\",3\n";
    let error = refused(text, &spec);
    assert!(error.contains("1 of its rows have the key of an earlier one"), "{error}");
    assert!(error.contains("line 6 that of line 3;"), "{error}");
    for (on_duplicate, expected) in [(OnDuplicate::First, 1), (OnDuplicate::Last, 3)] {
        spec.on_duplicate = on_duplicate;
        let table = load_text(text, &spec).unwrap();
        assert_eq!(cells(&table, "n", &["a"]).values, Values::Int64(vec![expected]));
    }
}

#[test]
fn files_that_are_no_table_are_refused() {
    let of_csv = csv(&[("id", Kind::Utf8)], &["id"]);
    assert!(refused("", &of_csv).contains("its header is missing"));
    assert!(refused("ID,n\n", &of_csv).contains("no column `id`: its columns are `ID`, `n`"));
    assert!(refused("id,id\n", &of_csv).contains("two columns `id`"));
    assert!(refused("\"id\n", &of_csv).contains("its header has a quote out of place"));
    // A quote that is never closed does not swallow the rest of the file.
    assert!(refused("id\n\"a\nb\n", &of_csv).contains("line 2: a quote is out of place"));
    let of_json = spec_of(TableFormat::Json, &of_csv);
    for (text, line, reason) in [
        ("", 1, "no `[` is here"),
        ("{\"id\":\"a\"}", 1, "no `[` is here"),
        ("[\n1]", 2, "an object is due"),
        ("[{\"id\":\"a\"},\n]", 2, "an object is due"),
        ("[{\"id\":\"a\"}\n{\"id\":\"b\"}]", 2, "`,` or `]` is due"),
        ("[{\"id\":\"a\"},\n{\"id\":", 2, "the row that begins here is no JSON"),
        ("[{\"id\":\"a\"}]\n\n5", 3, "something stands behind the array"),
        ("[{\"id\":\"a\"}", 1, "`,` or `]` is due"),
    ] {
        let error = refused(text, &of_json);
        assert!(error.starts_with(&format!("line {line}: ")), "{text:?}: {error}");
        assert!(error.contains(reason), "{text:?}: {error}");
    }
    assert_eq!(load_text("[]", &of_json).unwrap().keys(), 0);
    let missing = load("/nowhere/table.csv".as_ref(), &of_csv).unwrap_err();
    assert_eq!(missing.to_string(), "failed to read the file");
}

/// A file of columns, all of which have a value in each row.
fn parquet_file(columns: Vec<(&str, Kind, Values)>) -> Vec<u8> {
    let fields = columns.iter().map(|(name, kind, _)| Field {
        name: (*name).to_owned(),
        kind: kind.clone(),
        required: false,
    });
    let limit = RowGroupLimit { rows: 3, bytes: 1 << 20 };
    let schema = Schema::new(fields.collect(), Codec::Snappy, limit).unwrap();
    let mut writer = Writer::new(Arc::new(schema));
    let rows: Vec<u32> = (0..columns[0].2.len() as u32).collect();
    let columns: Vec<Column> =
        columns.into_iter().map(|it| Column { values: it.2, presence: Vec::new() }).collect();
    let columns: Vec<&Column> = columns.iter().collect();
    let mut done = 0;
    while done < rows.len() {
        let room = Room { rows: u64::MAX, bytes: u64::MAX };
        done += writer.push(&columns, &rows[done..], room).unwrap();
    }
    writer.finish().unwrap()
}

fn merchants() -> Vec<(&'static str, Kind, Values)> {
    let ids = ["a", "b", "c", "d", "e"];
    let places = ["{\"at\":[1]}", "{\"at\":[2]}", "{}", "{\"at\":null}", "{\"at\":[5]}"];
    vec![
        ("broken", Kind::Float64, Values::Float64(vec![f64::NAN; 5])),
        ("id", Kind::Utf8, Values::Utf8(ids.iter().collect())),
        ("n", Kind::Int64, Values::Int64(vec![1, 2, 3, 4, 9_007_199_254_740_993])),
        ("since", RFC_3339, Values::Timestamp(vec![1, 2, 3, 4, 1_772_359_200_000_000])),
        ("place", Kind::Json, Values::Json(places.iter().collect())),
    ]
}

fn parquet(columns: &[(&str, Kind)], key: &[&str]) -> TableSpec {
    spec(TableFormat::Parquet(RowFormat::default()), columns, key)
}

#[test]
fn of_a_file_of_columns_those_that_are_kept_are_read() {
    let file = parquet_file(merchants());
    // In another order than in the file, and without the column that no row could have a value of.
    let columns =
        [("where", Kind::Int64), ("since", RFC_3339), ("n", Kind::Int64), ("id", Kind::Utf8)];
    let mut spec = parquet(&columns, &["id"]);
    spec.paths.insert("where".into(), "place.at[0]".parse().unwrap());
    let table = load_bytes("table", &file, &spec).unwrap();
    assert_eq!((table.rows(), table.keys()), (5, 5));
    let found = |column: &str| cells(&table, column, &["e", "c", "a"]);
    // Where each has a value, nothing is said of presence.
    let of = |values| Column { values, presence: Vec::new() };
    assert_eq!(found("n"), of(Values::Int64(vec![9_007_199_254_740_993, 3, 1])));
    assert_eq!(found("since"), of(Values::Timestamp(vec![1_772_359_200_000_000, 3, 1])));
    let presence = vec![0, Presence::Null as u8, 0];
    assert_eq!(found("where"), Column { values: Values::Int64(vec![5, 0, 1]), presence });

    let mut other = spec.clone();
    other.format = TableFormat::Parquet(RowFormat { local_as_utc: true, ..RowFormat::default() });
    assert_ne!(table.digest(), load_bytes("table", &file, &other).unwrap().digest());
    assert_eq!(table.digest(), load_bytes("elsewhere", &file, &spec).unwrap().digest());
}

#[test]
fn files_of_columns_that_are_no_table_are_refused() {
    let refused = |file: &[u8], spec: &TableSpec| {
        load_bytes("table", file, spec).expect_err("it is no table").to_string()
    };
    let file = parquet_file(merchants());
    let error = refused(&file, &parquet(&[("id", Kind::Utf8), ("risk", Kind::Int64)], &["id"]));
    assert_eq!(
        error,
        "it has no column `risk`: its columns are `broken`, `id`, `n`, `since`, `place`"
    );
    let error = refused(&file, &parquet(&[("id", Kind::Utf8), ("n", Kind::Utf8)], &["id"]));
    assert!(error.starts_with("5 of its rows can't be taken: row 1: `n` is not of the"), "{error}");
    let error = refused(&file, &parquet(&[("id", Kind::Utf8), ("broken", Kind::Float64)], &["id"]));
    assert!(error.contains("row 1: `broken` is not a finite number"), "{error}");
    let finite = RowFormat { not_finite_as_null: true, ..RowFormat::default() };
    let columns = [("id", Kind::Utf8), ("broken", Kind::Float64)];
    let table = load_bytes("t", &file, &spec(TableFormat::Parquet(finite), &columns, &["id"]));
    let null = vec![Presence::Null as u8];
    assert_eq!(cells(&table.unwrap(), "broken", &["a"]).presence, null);

    let twice = vec![("id", Kind::Utf8, Values::Utf8(["a", "b", "a"].iter().collect()))];
    let of_ids = parquet(&[("id", Kind::Utf8)], &["id"]);
    let error = refused(&parquet_file(twice), &of_ids);
    assert!(error.contains("row 3 that of row 1;"), "{error}");
    assert!(refused(b"id\na\n", &of_ids).starts_with("it is no sound Parquet file"));
}

#[test]
fn a_row_is_read_wherever_a_piece_of_its_file_ends() {
    let columns = [("id", Kind::Utf8), ("n", Kind::Int64)];
    let spec = spec(TableFormat::Json, &columns, &["id"]);
    let (head, tail) =
        ("[{\"pad\":\n\"", r#"","id":"é\u00e9\\","n":-50,"f":-1.5e-7,"t":[true,null]}]"#);
    for end in 0..=tail.len() {
        // Files are read in pieces of this size.
        let pad = "x".repeat((256 << 10) - head.len() - end);
        let table = load_text(&format!("{head}{pad}{tail}"), &spec);
        let table = table.unwrap_or_else(|error| panic!("behind {:?}: {error}", tail.get(..end)));
        assert_eq!(cells(&table, "n", &["éé\\"]).values, Values::Int64(vec![-50]));
    }
    let broken = format!("{head}{}\",\"n\":-x}}]", "x".repeat((256 << 10) - head.len() - 6));
    let error = load_text(&broken, &spec).expect_err("a number has digits");
    assert!(error.to_string().contains("is no JSON"), "{error}");
}

proptest! {
    /// However many rows there are, and wherever pieces of the file end, each format gives back
    /// what was written.
    #[test]
    fn what_was_written_is_found(
        rows in prop::collection::btree_map("[a-z\"\\\\,\n é]{1,12}", any::<i64>(), 0..80),
        padding in 0usize..9000,
    ) {
        let columns = [("id", Kind::Utf8), ("n", Kind::Int64)];
        let keys: Vec<&str> = rows.keys().map(String::as_str).collect();
        let pad = "x".repeat(padding);
        let object = |(id, n): (&String, &i64)| {
            serde_json::json!({ "id": id, "n": n, "pad": pad }).to_string()
        };
        let objects: Vec<String> = rows.iter().map(object).collect();
        let quoted = |(id, n): (&String, &i64)| format!("{n},{pad},\"{}\"\n", id.replace('"', "\"\""));
        let text = format!("n,pad,id\n{}", rows.iter().map(quoted).collect::<String>());
        for (format, text) in [
            (TableFormat::Csv(CsvTable::default()), text),
            (TableFormat::Ndjson, objects.join("\n")),
            (TableFormat::Json, format!("[{}]", objects.join(" ,\n"))),
        ] {
            let table = load_text(&text, &spec(format, &columns, &["id"])).unwrap();
            prop_assert_eq!(table.keys(), rows.len());
            let found = cells(&table, "n", &keys);
            prop_assert_eq!(found.values, Values::Int64(rows.values().copied().collect()));
        }
    }

    /// Whatever is done to a file of columns, it is a table or it is refused.
    #[test]
    fn a_broken_file_of_columns_breaks_nothing_else(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = parquet_file(merchants());
        for (place, byte) in changes {
            let place = place.index(file.len());
            file[place] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let columns = [("id", Kind::Utf8), ("n", Kind::Int64), ("place", Kind::Json)];
        match load_bytes("table", &file, &parquet(&columns, &["id"])) {
            Ok(table) => prop_assert!(table.rows() <= 5),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
