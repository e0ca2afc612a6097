//! Files that are written are read back, and files of other writers are what they say.

mod damage;
mod nested;
mod values;

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Codec, Field, File, JsonRows, ReadError, Room, RowFormat, RowGroupLimit, Schema, Writer,
};
use crate::{
    column::{Binary, Column, Presence, Values},
    description::{Kind, TimestampFormat},
};

const ALL: Room = Room { rows: u64::MAX, bytes: u64::MAX };

/// All rows of a file behind some, however they are cut into reads.
fn read(file: &[u8], behind: u64, format: RowFormat) -> Result<Vec<String>, ReadError> {
    let open = || File::open(Arc::new(Bytes::copy_from_slice(file)), format);
    let mut all: Option<(Vec<String>, Vec<(usize, &'static str)>)> = None;
    for (rows_max, bytes_max) in [(usize::MAX, usize::MAX), (1, 1), (7, 100)] {
        let (mut texts, mut defects) = (Vec::new(), Vec::new());
        let mut rows = open()?.rows_behind(behind)?;
        while let Some(JsonRows { bytes, ends, defects: found }) = rows.read(rows_max, bytes_max)? {
            assert!((1..=rows_max).contains(&ends.len()));
            defects.extend(found.iter().map(|it| (texts.len() + it.row, it.code)));
            let mut start = 0;
            for end in ends {
                texts.push(String::from_utf8(bytes[start..end].to_vec()).expect("JSON is UTF-8"));
                start = end;
            }
        }
        let found = (texts, defects);
        assert!(all.is_none() || all.as_ref() == Some(&found), "reads of {rows_max} rows");
        all = Some(found);
    }
    let (mut texts, defects) = all.expect("it was read");
    defects.into_iter().for_each(|(row, code)| texts[row].push_str(&format!(" {code}")));
    Ok(texts)
}

fn field(name: &str, kind: Kind, required: bool) -> Field {
    Field { name: name.to_owned(), kind, required }
}

/// A column of every kind; a row in three lacks each value, in another way.
fn every_kind(rows: usize) -> (Vec<Field>, Vec<Column>) {
    let words = || vec!["low".to_owned(), "high".to_owned()];
    let fields = vec![
        field("id", Kind::Int64, true),
        field("is_new", Kind::Boolean, false),
        field("amount", Kind::Float64, false),
        field("at", Kind::Timestamp(TimestampFormat::Rfc3339), false),
        field("day", Kind::Date, false),
        field("name", Kind::Utf8, false),
        field("band", Kind::Enumeration(words()), false),
        field("rest", Kind::Json, false),
    ];
    let numbers = || 0..rows as i64;
    let presence = |which: usize| {
        let absent = [Presence::Missing, Presence::Null, Presence::OtherType];
        (0..rows).map(|row| if row % 3 == which { absent[which] as u8 } else { 0 }).collect()
    };
    let texts = |text: &dyn Fn(i64) -> String| numbers().map(text).collect::<Binary>();
    let columns = vec![
        Column { values: Values::Int64(numbers().collect()), presence: Vec::new() },
        Column {
            values: Values::Boolean(numbers().map(|i| (i % 2) as u8).collect()),
            presence: presence(0),
        },
        Column {
            values: Values::Float64(numbers().map(|i| i as f64 / 4.0).collect()),
            presence: presence(1),
        },
        Column {
            values: Values::Timestamp(numbers().map(|i| i * 1_500_000_250).collect()),
            presence: presence(2),
        },
        Column {
            values: Values::Date(numbers().map(|i| i as i32 - 1).collect()),
            presence: Vec::new(),
        },
        Column { values: Values::Utf8(texts(&|i| format!("n\"{}", i % 5))), presence: presence(1) },
        Column {
            values: Values::Enumeration(numbers().map(|i| (i % 2) as u32).collect()),
            presence: presence(2),
        },
        Column {
            values: Values::Json(texts(&|i| format!("{{\"i\":[{i}]}}"))),
            presence: presence(0),
        },
    ];
    (fields, columns)
}

/// Writes columns, handing over so many rows at a time.
fn write(
    (fields, columns): &(Vec<Field>, Vec<Column>),
    codec: Codec,
    row_group: RowGroupLimit,
    at_a_time: usize,
) -> Vec<u8> {
    let schema = Schema::new(fields.clone(), codec, row_group).expect("a schema");
    let mut writer = Writer::new(Arc::new(schema));
    let columns: Vec<&Column> = columns.iter().collect();
    let rows: Vec<u32> = (0..columns[0].values.len() as u32).collect();
    for mut rows in rows.chunks(at_a_time) {
        while !rows.is_empty() {
            let taken = writer.push(&columns, rows, ALL).expect("memory does not fail");
            assert!(taken > 0, "a row is taken at least");
            rows = &rows[taken..];
        }
    }
    writer.finish().expect("memory does not fail")
}

const CODECS: [Codec; 4] =
    [Codec::Plain, Codec::Snappy, Codec::Gzip { level: 6 }, Codec::Zstd { level: 3 }];

#[test]
fn rows_of_every_kind_are_read_back() {
    let columns = every_kind(9);
    for codec in CODECS {
        let file = write(&columns, codec, RowGroupLimit::default(), 4);
        let rows = read(&file, 0, RowFormat { omit_nulls: true, ..RowFormat::default() });
        let rows = rows.expect("it is sound");
        assert_eq!(rows.len(), 9);
        assert_eq!(
            rows[..3],
            [
                r#"{"id":0,"amount":0.0,"at":"1970-01-01T00:00:00Z","day":"1969-12-31","name":"n\"0","band":"low"}"#,
                r#"{"id":1,"is_new":true,"at":"1970-01-01T00:25:00.000250Z","day":"1970-01-01","band":"high","rest":{"i":[1]}}"#,
                r#"{"id":2,"is_new":false,"amount":0.5,"day":"1970-01-02","name":"n\"2","rest":{"i":[2]}}"#,
            ]
        );
        let with_nulls = read(&file, 8, RowFormat::default()).expect("it is sound");
        assert_eq!(
            with_nulls,
            [
                r#"{"id":8,"is_new":false,"amount":2.0,"at":null,"day":"1970-01-08","name":"n\"3","band":null,"rest":{"i":[8]}}"#
            ]
        );
    }
}

/// Invariant: the same rows, schema and limits give the same bytes.
#[test]
fn the_same_rows_give_the_same_bytes_however_they_come() {
    let columns = every_kind(5000);
    for codec in CODECS {
        for row_group in [
            RowGroupLimit::default(),
            RowGroupLimit { rows: 700, bytes: u64::MAX },
            RowGroupLimit { rows: u64::MAX, bytes: 10_000 },
        ] {
            let file = write(&columns, codec, row_group, 5000);
            for at_a_time in [1, 333, 1024, 5000] {
                let again = write(&columns, codec, row_group, at_a_time);
                assert!(again == file, "{codec:?} {row_group:?} {at_a_time}");
            }
        }
    }
}

#[test]
fn reading_goes_on_behind_any_row() {
    let row_group = RowGroupLimit { rows: 100, bytes: u64::MAX };
    let file = write(&every_kind(450), Codec::Zstd { level: 3 }, row_group, 450);
    let all = read(&file, 0, RowFormat::default()).expect("it is sound");
    assert_eq!(all.len(), 450);
    for behind in [1, 99, 100, 101, 250, 400, 449, 450] {
        let rest = read(&file, behind, RowFormat::default()).expect("it is sound");
        assert_eq!(rest, all[behind as usize..], "behind {behind}");
    }
}

#[test]
fn row_groups_end_where_their_limits_say_and_room_is_kept_to() {
    let (fields, columns) = every_kind(1000);
    let row_group = RowGroupLimit { rows: 300, bytes: u64::MAX };
    let schema = Arc::new(Schema::new(fields, Codec::Plain, row_group).expect("a schema"));
    let columns: Vec<&Column> = columns.iter().collect();
    let rows: Vec<u32> = (0..1000).collect();
    let mut writer = Writer::new(schema.clone());
    let taken = writer.push(&columns, &rows, Room { rows: 10, bytes: u64::MAX });
    assert_eq!(taken.expect("memory does not fail"), 10);
    let taken = writer.push(&columns, &rows[10..], Room { rows: u64::MAX, bytes: 1 });
    assert_eq!(taken.expect("memory does not fail"), 1, "the row that goes past it is taken");
    let before = (writer.held_bytes(), writer.pushed_bytes());
    assert_eq!(before.0 as u64, before.1, "nothing is encoded yet");
    let taken = writer.push(&columns, &rows[11..], ALL).expect("memory does not fail");
    assert_eq!(taken, 289, "the row group is full");
    assert!((writer.held_bytes() as u64) < writer.pushed_bytes(), "it is encoded");
    let file = writer.finish().expect("memory does not fail");
    assert_eq!(read(&file, 0, RowFormat::default()).expect("it is sound").len(), 300);
    let empty = schema.empty_file().expect("memory does not fail");
    assert_eq!(read(&empty, 0, RowFormat::default()).expect("it is sound").len(), 0);
}

#[test]
fn a_fingerprint_tells_files_apart() {
    let open = |file: Vec<u8>| File::open(Arc::new(Bytes::from(file)), RowFormat::default());
    let make = |rows| write(&every_kind(rows), Codec::Plain, RowGroupLimit::default(), 100);
    let [one, same, other] = [make(50), make(50), make(51)].map(|it| open(it).expect("sound"));
    assert_eq!(one.fingerprint(), same.fingerprint());
    assert_ne!(one.fingerprint(), other.fingerprint());
    assert_eq!((one.row_count(), other.row_count()), (50, 51));
    // Where a value differs and all lengths are the same, so do the statistics.
    let mut columns = every_kind(50);
    columns.1[0].values = Values::Int64((1..51).collect());
    let shifted = write(&columns, Codec::Plain, RowGroupLimit::default(), 100);
    assert_ne!(open(shifted).expect("sound").fingerprint(), one.fingerprint());
}
