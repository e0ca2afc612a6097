//! What values become, against a slow reference and against the published tables.

use super::{
    reference::{Node, unquote},
    *,
};
use crate::{Presence, Values, description::TimestampFormat};

/// The first row's cell as the published tables write it.
fn cell(column: &Column, kind: &Kind) -> String {
    cell_of(column, kind, 0)
}

fn cell_of(column: &Column, kind: &Kind, row: usize) -> String {
    let presence = Presence::from_byte(column.presence_of(row)).expect("a presence");
    match presence {
        Presence::Value => match (&column.values, kind) {
            (Values::Boolean(values), _) => (values[row] == 1).to_string(),
            (Values::Int64(values), _) => values[row].to_string(),
            (Values::Float64(values), _) => format!("{:?}", values[row]),
            (Values::Timestamp(values), _) => format!("{} µs", values[row]),
            (Values::Date(values), _) => format!("day {}", values[row]),
            (Values::Utf8(values), _) => {
                format!("{:?}", std::str::from_utf8(values.get(row)).expect("UTF-8"))
            }
            (Values::Enumeration(values), _) => format!("code {}", values[row]),
            (Values::Json(values), _) => String::from_utf8_lossy(values.get(row)).into_owned(),
        },
        Presence::Missing => "missing".into(),
        Presence::Null => "null".into(),
        Presence::OtherType => "other type".into(),
        Presence::OutOfRange => "out of range".into(),
        Presence::Malformed => "malformed".into(),
    }
}

fn kind_of(name: &str) -> Kind {
    match name {
        "boolean" => Kind::Boolean,
        "int64" => Kind::Int64,
        "float64" => Kind::Float64,
        "rfc3339" => Kind::Timestamp(TimestampFormat::Rfc3339),
        "unix-seconds" => Kind::Timestamp(TimestampFormat::UnixSeconds),
        "unix-milliseconds" => Kind::Timestamp(TimestampFormat::UnixMilliseconds),
        "unix-microseconds" => Kind::Timestamp(TimestampFormat::UnixMicroseconds),
        "date" => Kind::Date,
        "utf8" => Kind::Utf8,
        "enumeration" => Kind::Enumeration(vec!["red".into(), "green".into()]),
        "json" => Kind::Json,
        other => panic!("the tables have a kind `{other}`"),
    }
}

/// The tables in `docs/json.md` whose first column is headed `JSON` say what is so.
#[test]
fn the_published_tables_are_true() {
    let page = include_str!("../../../../../docs/json.md");
    let mut kinds: Vec<Kind> = Vec::new();
    let mut checked = 0;
    for line in page.lines().filter(|line| !line.starts_with("|--")) {
        let Some(row) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else {
            kinds.clear();
            continue;
        };
        let cells: Vec<&str> = row.split(" | ").map(|cell| cell.trim().trim_matches('`')).collect();
        if cells[0] == "JSON" {
            kinds = cells[1..].iter().map(|name| kind_of(name)).collect();
            continue;
        }
        for (want, kind) in cells[1..].iter().zip(&kinds) {
            let record = format!("{{\"x\":{}}}", cells[0]);
            let columns = project(&record, &[(path("x"), kind.clone())]).expect("valid JSON");
            assert_eq!(&cell(&columns[0], kind), want, "{} as {kind}", cells[0]);
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} cells were found");
}

/// A number's digits before and behind the point once the exponent and `places` are applied.
fn expand(raw: &str, places: i64) -> (bool, String, String) {
    let (negative, raw) = raw.strip_prefix('-').map_or((false, raw), |rest| (true, rest));
    let lower = raw.to_ascii_lowercase();
    let (mantissa, exponent) = lower.split_once('e').unwrap_or((&lower, "0"));
    let exponent: i64 = exponent.parse::<i64>().expect("a small exponent") + places;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{whole}{fraction}{}", "0".repeat(2000), "0".repeat(2000));
    let point = (2000 + whole.len() as i64 + exponent) as usize;
    (negative, digits[..point].trim_start_matches('0').to_owned(), digits[point..].to_owned())
}

/// The slow reference of a conversion.
fn expected(node: Option<&Node>, kind: &Kind) -> String {
    let Some(node) = node else { return "missing".into() };
    let compact = node.compact();
    let is_string = compact.starts_with('"');
    let is_number = compact.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    if compact == "null" {
        return "null".into();
    }
    let scaled = |places, exact_only, unit: &str| {
        let (negative, whole, fraction) = expand(&compact, places);
        let exact = fraction.bytes().all(|digit| digit == b'0');
        let mut value: i128 = match whole.len() {
            0 => 0,
            1..=30 => whole.parse().expect("digits"),
            _ => i128::MAX / 2,
        };
        if negative {
            value = -value - i128::from(!exact);
        }
        match i64::try_from(value) {
            Err(_) => "out of range".into(),
            Ok(_) if exact_only && !exact => "malformed".into(),
            Ok(value) => format!("{value}{unit}"),
        }
    };
    let text = || unquote(&compact);
    match kind {
        Kind::Boolean if compact == "true" || compact == "false" => compact,
        Kind::Int64 if is_number => scaled(0, true, ""),
        Kind::Float64 if is_number => match compact.parse::<f64>().expect("a number") {
            value if value.is_finite() => format!("{value:?}"),
            _ => "out of range".into(),
        },
        Kind::Timestamp(TimestampFormat::Rfc3339) | Kind::Date if is_string => "malformed".into(),
        Kind::Timestamp(TimestampFormat::UnixSeconds) if is_number => scaled(6, false, " µs"),
        Kind::Timestamp(TimestampFormat::UnixMilliseconds) if is_number => scaled(3, false, " µs"),
        Kind::Timestamp(TimestampFormat::UnixMicroseconds) if is_number => scaled(0, true, " µs"),
        Kind::Utf8 if is_string => text().map_or("malformed".into(), |text| format!("{text:?}")),
        Kind::Enumeration(dictionary) if is_string => match text() {
            None => "malformed".into(),
            Some(text) => match dictionary.iter().position(|entry| *entry == text) {
                Some(code) => format!("code {code}"),
                None => "out of range".into(),
            },
        },
        Kind::Json => compact,
        _ => "other type".into(),
    }
}

fn any_kind() -> impl Strategy<Value = Kind> {
    use TimestampFormat::*;
    prop::sample::select(vec![
        Kind::Boolean,
        Kind::Int64,
        Kind::Float64,
        Kind::Timestamp(Rfc3339),
        Kind::Timestamp(UnixSeconds),
        Kind::Timestamp(UnixMilliseconds),
        Kind::Timestamp(UnixMicroseconds),
        Kind::Date,
        Kind::Utf8,
        Kind::Enumeration(vec!["".into(), "a".into()]),
        Kind::Json,
    ])
}

proptest! {
    #![proptest_config(cases(400))]

    /// Invariant: a value never depends on what else is read, and is what a slow parser finds.
    #[test]
    fn values_are_what_a_slow_parser_finds(
        text in json(),
        reads in proptest::collection::vec((any_path(), any_kind()), 1..8),
    ) {
        let tree = Node::parse(&text);
        let all = project(&text, &reads).expect("valid");
        for ((path, kind), column) in reads.iter().zip(&all) {
            let mut got = cell(column, kind);
            if *kind == Kind::Json && column.presence_of(0) == 0 {
                got = Node::parse(&got).compact();
            }
            prop_assert_eq!(got, expected(tree.get(&path.0), kind), "{} as {}", path, kind);
            let alone = project(&text, &[(path.clone(), kind.clone())]).expect("valid");
            prop_assert_eq!(&alone[0], column);
        }
    }

    /// A row is the same in a batch as alone, whatever came before it.
    #[test]
    fn rows_do_not_depend_on_their_batch(
        texts in proptest::collection::vec((json(), any::<bool>()), 1..8),
        reads in proptest::collection::vec((any_path(), any_kind()), 1..4),
    ) {
        let projector = Projector::new(&reads, &[], Layout::Flat).expect("valid reads");
        let mut projection = projector.projection();
        let mut read = Vec::new();
        for (text, damage) in &texts {
            let text = if *damage { format!("{text}}}") } else { text.clone() };
            let accepted = projector.project(text.as_bytes(), &mut projection).is_ok();
            prop_assert_eq!(accepted, !damage);
            read.extend(accepted.then_some(text));
        }
        prop_assert_eq!(projection.rows(), read.len());
        for (row, text) in read.iter().enumerate() {
            let alone = project(text, &reads).expect("valid");
            for ((column, alone), (_, kind)) in projection.columns.iter().zip(&alone).zip(&reads) {
                prop_assert_eq!(column.values.len(), read.len());
                prop_assert_eq!(cell_of(column, kind, row), cell(alone, kind));
            }
        }
    }

    #[test]
    fn numbers_are_exact(text in number()) {
        let node = Node::Leaf(text.clone());
        for kind in ["int64", "float64", "unix-seconds", "unix-milliseconds", "unix-microseconds"] {
            let kind = kind_of(kind);
            let columns = project(&text, &[(Path::ROOT, Kind::Json)]).expect("valid");
            prop_assert_eq!(cell(&columns[0], &Kind::Json), text.as_str());
            let record = format!("[{text}]");
            let columns = project(&record, &[(path("[0]"), kind.clone())]).expect("valid");
            prop_assert_eq!(cell(&columns[0], &kind), expected(Some(&node), &kind), "{}", text);
        }
    }

    #[test]
    fn timestamps_are_read_as_jiff_reads_them(
        date in (0i64..=9999, 0i64..=13, 0i64..=32),
        time in (0i64..=24, 0i64..=60, 0i64..=61),
        fraction in prop_oneof![Just(String::new()), "\\.[0-9]{0,9}"],
        zone in prop_oneof![3 => Just("Z".to_owned()), 1 => "[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]"],
    ) {
        let text = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{fraction}{zone}",
            date.0, date.1, date.2, time.0, time.1, time.2
        );
        let want = text.parse::<jiff::Timestamp>().ok().map(|time| {
            i64::try_from(time.as_nanosecond().div_euclid(1000)).expect("in range")
        });
        // jiff's range ends some hours before the year 9999 does.
        if want.is_some() || date.0 < 9999 {
            prop_assert_eq!(time_text::parse_timestamp(text.as_bytes()), want, "{}", text);
        }
        let day = &text[..10];
        let epoch = jiff::civil::date(1970, 1, 1);
        let want = day.parse::<jiff::civil::Date>().ok().map(|date| {
            epoch.until((jiff::Unit::Day, date)).expect("in range").get_days()
        });
        let bytes: &[u8; 10] = day.as_bytes().try_into().expect("ten bytes");
        prop_assert_eq!(time_text::parse_date(bytes), want, "{}", day);
    }

    #[test]
    fn damaged_timestamps_are_malformed_or_as_jiff_reads_them(
        at in any::<prop::sample::Index>(),
        byte in prop::sample::select(&b"0159-+:.TtZz /"[..]),
        remove in any::<bool>(),
    ) {
        let mut text = b"2026-02-28T23:59:59.123456+01:30".to_vec();
        let at = at.index(text.len());
        if remove { text.remove(at); } else { text[at] = byte; }
        if let Some(got) = time_text::parse_timestamp(&text) {
            let text = std::str::from_utf8(&text).expect("ASCII");
            let want: jiff::Timestamp = text.parse().expect(text);
            prop_assert_eq!(i128::from(got), want.as_nanosecond().div_euclid(1000));
        }
    }

    #[test]
    fn timestamps_round_trip(micros in -62_167_219_200_000_000i64..253_402_300_800_000_000) {
        for name in ["rfc3339", "unix-seconds", "unix-milliseconds", "unix-microseconds"] {
            let kind = kind_of(name);
            let Kind::Timestamp(format) = kind else { panic!("a timestamp") };
            let mut text = b"[".to_vec();
            write_timestamp(micros, format, &mut text);
            text.push(b']');
            let text = String::from_utf8(text).expect("UTF-8");
            let columns = project(&text, &[(path("[0]"), kind.clone())]).expect("valid");
            prop_assert_eq!(cell(&columns[0], &kind), format!("{micros} µs"), "{}", text);
        }
        let mut text = Vec::new();
        time_text::push_timestamp(micros, &mut text);
        let text = String::from_utf8(text).expect("UTF-8");
        if let Ok(time) = jiff::Timestamp::from_microsecond(micros) {
            let shown = time.to_string();
            prop_assert_eq!(text.len() <= 20, time.subsec_nanosecond() == 0);
            prop_assert_eq!(text.parse::<jiff::Timestamp>().expect("valid"), time, "{}", shown);
        }
        prop_assert!(time_text::timestamp_has_text(micros));
    }

    #[test]
    fn texts_round_trip(text in ".{0,80}", float in any::<f64>()) {
        let mut written = Vec::new();
        write_string(text.as_bytes(), &mut written);
        let raw = std::str::from_utf8(&written).expect("UTF-8");
        prop_assert_eq!(unquote(raw).expect("valid"), text);
        if float.is_finite() {
            let mut written = Vec::new();
            write_float64(float, &mut written);
            let raw = std::str::from_utf8(&written).expect("UTF-8");
            prop_assert_eq!(raw.parse::<f64>().expect("a number").to_bits(), float.to_bits());
            prop_assert!(Validator::default().validate(&written).is_ok());
        }
    }
}

/// How values are written is pinned.
#[test]
fn writing_is_pinned() {
    let float = |value| {
        let mut out = Vec::new();
        write_float64(value, &mut out);
        String::from_utf8(out).expect("UTF-8")
    };
    let floats = [3.0, -0.0, 0.1, 1e15, 1e16, 1e21, 1.5e-7, 123456.789, f64::MAX, 5e-324];
    let want = "3.0 -0.0 0.1 1000000000000000.0 1e+16 1e+21 1.5e-7 123456.789 \
                1.7976931348623157e+308 5e-324";
    assert_eq!(floats.map(float).join(" "), want);

    let time = |micros| {
        let mut out = Vec::new();
        for name in ["rfc3339", "unix-seconds", "unix-milliseconds", "unix-microseconds"] {
            let Kind::Timestamp(format) = kind_of(name) else { panic!("a timestamp") };
            write_timestamp(micros, format, &mut out);
            out.push(b' ');
        }
        String::from_utf8(out).expect("UTF-8")
    };
    assert_eq!(time(0), r#""1970-01-01T00:00:00Z" 0 0 0 "#);
    assert_eq!(time(1_500_000), r#""1970-01-01T00:00:01.500Z" 1.5 1500 1500000 "#);
    assert_eq!(
        time(1_772_366_400_000_001),
        r#""2026-03-01T12:00:00.000001Z" 1772366400.000001 1772366400000.001 1772366400000001 "#
    );
    assert_eq!(time(-1), r#""1969-12-31T23:59:59.999999Z" -0.000001 -0.001 -1 "#);

    let mut out = Vec::new();
    write_string("a\"\\/\u{8}\u{c}\n\r\t\u{1}\u{7f}é😀".as_bytes(), &mut out);
    let want = "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\u{7f}é😀\"";
    assert_eq!(String::from_utf8(out).expect("UTF-8"), want);
    let mut out = Vec::new();
    write_date(20_513, &mut out);
    write_date(-719_528, &mut out);
    assert_eq!(out, b"\"2026-03-01\"\"0000-01-01\"");
}
