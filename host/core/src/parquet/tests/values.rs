//! Each type of a column as JSON, from files that are written with the library itself.

use parquet::{
    column::writer::ColumnWriter,
    data_type::{ByteArray, FixedLenByteArray, Int96},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

use super::*;

/// What a column is written of.
pub(super) enum Raw<'a> {
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Int96(&'a [[u32; 3]]),
    Float(&'a [f32]),
    Double(&'a [f64]),
    Bytes(&'a [&'a [u8]]),
    Fixed(&'a [&'a [u8]]),
}

/// A column, with its definition and repetition levels where it has any.
pub(super) type RawColumn<'a> = (Raw<'a>, Option<&'a [i16]>, Option<&'a [i16]>);

pub(super) fn file(message: &str, columns: &[RawColumn<'_>]) -> Vec<u8> {
    let message = Arc::new(parse_message_type(message).expect(message));
    let properties = Arc::new(WriterProperties::default());
    let mut file = SerializedFileWriter::new(Vec::new(), message, properties).expect("a file");
    let mut group = file.next_row_group().expect("a row group");
    for (raw, definitions, repetitions) in columns {
        let mut column = group.next_column().expect("a column").expect("one is left");
        let written = match (column.untyped(), raw) {
            (ColumnWriter::Int32ColumnWriter(column), Raw::Int32(values)) => {
                column.write_batch(values, *definitions, *repetitions)
            }
            (ColumnWriter::Int64ColumnWriter(column), Raw::Int64(values)) => {
                column.write_batch(values, *definitions, *repetitions)
            }
            (ColumnWriter::Int96ColumnWriter(column), Raw::Int96(values)) => {
                let values: Vec<Int96> =
                    values.iter().map(|words| Int96::from(words.to_vec())).collect();
                column.write_batch(&values, *definitions, *repetitions)
            }
            (ColumnWriter::FloatColumnWriter(column), Raw::Float(values)) => {
                column.write_batch(values, *definitions, *repetitions)
            }
            (ColumnWriter::DoubleColumnWriter(column), Raw::Double(values)) => {
                column.write_batch(values, *definitions, *repetitions)
            }
            (ColumnWriter::ByteArrayColumnWriter(column), Raw::Bytes(values)) => {
                let values: Vec<ByteArray> =
                    values.iter().map(|bytes| ByteArray::from(bytes.to_vec())).collect();
                column.write_batch(&values, *definitions, *repetitions)
            }
            (ColumnWriter::FixedLenByteArrayColumnWriter(column), Raw::Fixed(values)) => {
                let values: Vec<FixedLenByteArray> =
                    values.iter().map(|bytes| FixedLenByteArray::from(bytes.to_vec())).collect();
                column.write_batch(&values, *definitions, *repetitions)
            }
            _ => panic!("the column is of another type"),
        };
        written.expect("the column takes it");
        column.close().expect("the column is whole");
    }
    group.close().expect("the row group is whole");
    file.into_inner().expect("the file is whole")
}

/// Reads a file with one required column `v`, and says what its values are.
fn check(of: &str, raw: Raw<'_>, wanted: &[&str]) {
    check_as(of, raw, RowFormat::default(), wanted);
}

fn check_as(of: &str, raw: Raw<'_>, format: RowFormat, wanted: &[&str]) {
    let file = file(&format!("message m {{ required {of}; }}"), &[(raw, None, None)]);
    let rows = read(&file, 0, format).expect(of);
    let wanted: Vec<String> = wanted
        .iter()
        .map(|value| match value.split_once(' ') {
            Some((value, code)) if code.starts_with("parquet-") => {
                format!("{{\"v\":{value}}} {code}")
            }
            _ => format!("{{\"v\":{value}}}"),
        })
        .collect();
    assert_eq!(rows, wanted, "{of}");
}

#[test]
fn numbers() {
    check("int32 v", Raw::Int32(&[-1, 0, i32::MAX]), &["-1", "0", "2147483647"]);
    check("int32 v (UINT_32)", Raw::Int32(&[-1, 7]), &["4294967295", "7"]);
    check("int64 v (UINT_64)", Raw::Int64(&[-1]), &["18446744073709551615"]);
    check("int32 v (INTEGER(8,true))", Raw::Int32(&[-128]), &["-128"]);
    check("float v", Raw::Float(&[0.1, 3.0, -1e30]), &["0.1", "3.0", "-1e+30"]);
    check("double v", Raw::Double(&[0.1, 3.0]), &["0.1", "3.0"]);
    check(
        "double v",
        Raw::Double(&[f64::NAN, f64::NEG_INFINITY]),
        &["\"NaN\" parquet-not-finite", "\"-Infinity\" parquet-not-finite"],
    );
    let as_null = RowFormat { not_finite_as_null: true, ..RowFormat::default() };
    check_as("float v", Raw::Float(&[f32::INFINITY, 1.5]), as_null, &["null", "1.5"]);
    check("fixed_len_byte_array(2) v (FLOAT16)", Raw::Fixed(&[&[0, 0x3e]]), &["1.5"]);
}

#[test]
fn decimals_keep_all_their_digits() {
    check("int32 v (DECIMAL(9,2))", Raw::Int32(&[1230, -5, 0]), &["12.30", "-0.05", "0.00"]);
    check("int64 v (DECIMAL(18,0))", Raw::Int64(&[-42]), &["-42"]);
    check(
        "binary v (DECIMAL(38,3))",
        Raw::Bytes(&[&[0xff], &[1, 0], &[]]),
        &["-0.001", "0.256", "0.000"],
    );
    check(
        "fixed_len_byte_array(16) v (DECIMAL(38,2))",
        Raw::Fixed(&[&[0x7f; 16]]),
        &["1694739631331732739601904907601355406.07"],
    );
    check(
        "binary v (DECIMAL(38,3))",
        Raw::Bytes(&[&[0; 33]]),
        &["\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\" parquet-out-of-range"],
    );
}

#[test]
fn times() {
    check(
        "int32 v (DATE)",
        Raw::Int32(&[20_513, -1, i32::MAX]),
        &["\"2026-03-01\"", "\"1969-12-31\"", "2147483647 parquet-out-of-range"],
    );
    check(
        "int64 v (TIMESTAMP(MILLIS,true))",
        Raw::Int64(&[1_772_366_400_250, -1, i64::MAX]),
        &[
            "\"2026-03-01T12:00:00.250Z\"",
            "\"1969-12-31T23:59:59.999Z\"",
            "9223372036854775 parquet-out-of-range",
        ],
    );
    check(
        "int64 v (TIMESTAMP_MICROS)",
        Raw::Int64(&[1_772_366_400_000_001, 1_772_366_400_000_000]),
        &["\"2026-03-01T12:00:00.000001Z\"", "\"2026-03-01T12:00:00Z\""],
    );
    let nanos = Raw::Int64(&[1_772_366_400_000_000_001, 1_772_366_400_000_002_000, i64::MIN]);
    check(
        "int64 v (TIMESTAMP(NANOS,false))",
        nanos,
        &[
            "\"2026-03-01T12:00:00.000000001\"",
            "\"2026-03-01T12:00:00.000002\"",
            "\"1677-09-21T00:12:43.145224192\"",
        ],
    );
    let as_utc = RowFormat { local_as_utc: true, ..RowFormat::default() };
    check_as(
        "int64 v (TIMESTAMP(MILLIS,false))",
        Raw::Int64(&[0]),
        as_utc,
        &["\"1970-01-01T00:00:00Z\""],
    );
    // Noon of the day after the epoch, and a nanosecond before midnight of the day before it.
    let [noon, late] = [43_200_000_000_000u64, 86_399_999_999_999];
    let words = |nanos: u64, day| [nanos as u32, (nanos >> 32) as u32, day];
    check(
        "int96 v",
        Raw::Int96(&[words(noon, 2_440_589), words(late, 2_440_587)]),
        &["\"1970-01-02T12:00:00Z\"", "\"1969-12-31T23:59:59.999999999Z\""],
    );
    check(
        "int64 v (TIME(MICROS,true))",
        Raw::Int64(&[0, 86_399_999_999, 86_400_000_000, -1]),
        &[
            "\"00:00:00\"",
            "\"23:59:59.999999\"",
            "86400000000 parquet-out-of-range",
            "-1 parquet-out-of-range",
        ],
    );
    check("int32 v (TIME_MILLIS)", Raw::Int32(&[3_661_001]), &["\"01:01:01.001\""]);
}

#[test]
fn texts_and_bytes() {
    check(
        "binary v (STRING)",
        Raw::Bytes(&[b"a\"b", b"", b"\xff"]),
        &["\"a\\\"b\"", "\"\"", "\"/w==\" parquet-invalid-utf8"],
    );
    check("binary v (ENUM)", Raw::Bytes(&[b"x"]), &["\"x\""]);
    check("binary v", Raw::Bytes(&[b"x"]), &["\"eA==\""]);
    check(
        "binary v (JSON)",
        Raw::Bytes(&[b" {\"a\": 1} ", b"1,\"b\":2"]),
        &["{\"a\": 1}", "\"MSwiYiI6Mg==\" parquet-invalid-json"],
    );
    check(
        "fixed_len_byte_array(16) v (UUID)",
        Raw::Fixed(&[&[0, 17, 34, 51, 68, 85, 102, 119, 136, 153, 170, 187, 204, 221, 238, 255]]),
        &["\"00112233-4455-6677-8899-aabbccddeeff\""],
    );
    check(
        "fixed_len_byte_array(12) v (INTERVAL)",
        Raw::Fixed(&[&[1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 0, 0]]),
        &["{\"months\":1,\"days\":2,\"milliseconds\":259}"],
    );
}
