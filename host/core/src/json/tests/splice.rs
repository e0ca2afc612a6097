//! Splicing, against edits of a tree, and by example.

use super::{reference::Node, *};
use crate::{Binary, Column, Segment, Timestamp, Values, Write, description::TimestampFormat};

const STAMP: Stamp<'_> = Stamp { record_id: "id", processed: Timestamp(1_500_000) };

fn splice(
    record: &str,
    writes: &[Path],
    edits: &[Edit<'_>],
    layout: Layout,
) -> Result<String, WriteConflict> {
    let projector = Projector::new(&[], writes, layout).expect("valid writes");
    let mut projection = projector.projection();
    // A record before it, so that rows are told apart.
    projector.project(b"{\"a\":{\"b\":1},\"a\":2}", &mut projection).expect("valid");
    projector.project(record.as_bytes(), &mut projection).expect("valid");
    let mut out = b"before".to_vec();
    let mut splicer = projector.splicer();
    // Twice, nothing being left over from the first: as edits, and as columns of one row.
    let located = projection.located(1);
    let spliced = splicer.splice(record.as_bytes(), located, edits, STAMP, &mut out);
    let columns: Vec<_> = edits.iter().map(|edit| column_of(edit.change)).collect();
    let written = edits.iter().zip(&columns).map(|(edit, (column, kind))| WrittenColumn {
        path: edit.path,
        column,
        kind,
        places: None,
    });
    let written: Vec<_> = written.collect();
    let mut of_row = b"before".to_vec();
    let mut rows = splicer.rows(&written);
    let again = rows.splice(record.as_bytes(), located, 0, STAMP, &mut of_row);
    assert_eq!((&again, &of_row), (&spliced, &out), "columns are edits");
    assert!(spliced.is_ok() || out == b"before", "a conflict leaves no trace");
    spliced.map(|()| String::from_utf8(out).expect("UTF-8").split_off(6))
}

/// A column with a change in its one row.
fn column_of(change: Change<'_>) -> (Column, Kind) {
    let (values, kind) = match change {
        Change::Set(Value::Float64(value)) => (Values::Float64(vec![value]), Kind::Float64),
        Change::Set(Value::Date(days)) => (Values::Date(vec![days]), Kind::Date),
        Change::Set(Value::Timestamp(micros, format)) => {
            (Values::Timestamp(vec![micros]), Kind::Timestamp(format))
        }
        Change::Set(Value::Json(text)) => (Values::Json(Binary::from_iter([text])), Kind::Json),
        Change::Null | Change::Remove => (Values::Boolean(vec![0]), Kind::Boolean),
        other => panic!("no test sets {other:?}"),
    };
    let presence = match change {
        Change::Set(_) => vec![],
        Change::Null => vec![Write::Null as u8],
        Change::Remove => vec![Write::Remove as u8],
    };
    (Column { values, presence }, kind)
}

#[test]
fn a_row_without_a_place_in_a_column_is_left_as_it_is() {
    let projector = Projector::new(&[], &[path("b")], Layout::Flat).expect("valid writes");
    let mut projection = projector.projection();
    let column = Column { values: Values::Int64(vec![7, 8]), presence: vec![] };
    let places = [1, WrittenColumn::NOWHERE, 0];
    let kind = Kind::Int64;
    let written = [WrittenColumn { path: 0, column: &column, kind: &kind, places: Some(&places) }];
    let record = br#"{"a":1}"#;
    let mut out = Vec::new();
    for row in 0..3 {
        projection.clear();
        projector.project(record, &mut projection).expect("valid");
        let located = projection.located(0);
        let mut splicer = projector.splicer();
        let spliced = splicer.rows(&written).splice(record, located, row, STAMP, &mut out);
        spliced.expect("no conflict");
    }
    assert_eq!(out, br#"{"a":1,"b":8}{"a":1}{"a":1,"b":7}"#);
}

#[test]
fn only_what_may_have_a_line_break_is_said_to() {
    let projector = Projector::new(&[], &[path("b")], Layout::Flat).expect("valid writes");
    let mut projection = projector.projection();
    let records = [r#"{"a":1}"#, "{\"a\":\n1}", "{\"a\":1}\r", r#"{"a":"\n"}"#, r#" {"a": 1} "#];
    for record in records {
        projector.project(record.as_bytes(), &mut projection).expect("valid");
    }
    let may: Vec<_> = (0..5).map(|row| projection.located(row).may_break_lines()).collect();
    assert_eq!(may, [false, true, true, false, false]);
}

/// Sets each path to a raw text, `null`, or removes it where the text is `-`.
fn with(record: &str, layout: Layout, edits: &[(&str, &str)]) -> Result<String, WriteConflict> {
    let writes: Vec<Path> = edits.iter().map(|(text, _)| path(text)).collect();
    let edits: Vec<Edit<'_>> = edits
        .iter()
        .enumerate()
        .map(|(path, (_, text))| Edit { path, change: change(text) })
        .collect();
    splice(record, &writes, &edits, layout)
}

fn change(text: &str) -> Change<'_> {
    match text {
        "-" => Change::Remove,
        "null" => Change::Null,
        text => Change::Set(Value::Json(text.as_bytes())),
    }
}

#[track_caller]
fn flat(record: &str, edits: &[(&str, &str)], want: &str) {
    assert_eq!(with(record, Layout::Flat, edits).expect("no conflict"), want);
}

#[test]
fn a_field_that_is_there_is_rewritten_in_place() {
    flat(r#" { "a" : 1E400 , "b" : [ 1 ] } "#, &[("a", "2")], r#" { "a" : 2 , "b" : [ 1 ] } "#);
    flat(r#"{"a":{"b":1,"c":-0}}"#, &[("a.b", "null")], r#"{"a":{"b":null,"c":-0}}"#);
    flat(r#"{"a":[1,{"b":2},3]}"#, &[("a[1].b", "9"), ("a[2]", "8")], r#"{"a":[1,{"b":9},8]}"#);
    flat(r#"{"\u0061":1}"#, &[("a", "2")], r#"{"\u0061":2}"#);
    flat("[1]", &[], "[1]");
    flat(" [1] ", &[("$", r#"{"x":1}"#)], r#" {"x":1} "#);
}

#[test]
fn a_field_that_is_not_there_joins_its_parent() {
    flat(r#"{"a":1}"#, &[("x", "1"), ("y", "2")], r#"{"a":1,"x":1,"y":2}"#);
    flat("{}", &[("x", "1"), ("y", "2")], r#"{"x":1,"y":2}"#);
    flat("{ \n}", &[("x", "1")], "{\"x\":1 \n}");
    flat(r#"{ "a": 1 }"#, &[("x", "1")], r#"{ "a": 1,"x":1 }"#);
    let created = r#"{"a":1,"m":{"x":1,"n":{"y":2},"z":3},"q":4}"#;
    flat(r#"{"a":1}"#, &[("m.x", "1"), ("m.n.y", "2"), ("q", "4"), ("m.z", "3")], created);
    flat(
        r#"{"m":{"k":0},"a":1}"#,
        &[("m.x", "1"), ("b", "2")],
        r#"{"m":{"k":0,"x":1},"a":1,"b":2}"#,
    );
    flat(r#"{"a":1}"#, &[("['x\"y']", "1")], r#"{"a":1,"x\"y":1}"#);
}

#[test]
fn removal_leaves_the_right_commas() {
    let record = r#"{ "a": 1, "b": 2, "c": 3 }"#;
    flat(record, &[("a", "-")], r#"{ "b": 2, "c": 3 }"#);
    flat(record, &[("b", "-")], r#"{ "a": 1, "c": 3 }"#);
    flat(record, &[("c", "-")], r#"{ "a": 1, "b": 2 }"#);
    flat(record, &[("a", "-"), ("b", "-")], r#"{ "c": 3 }"#);
    flat(record, &[("b", "-"), ("c", "-")], r#"{ "a": 1 }"#);
    flat(record, &[("a", "-"), ("c", "-")], r#"{ "b": 2 }"#);
    flat(record, &[("a", "-"), ("b", "-"), ("c", "-")], "{  }");
    flat(record, &[("c", "-"), ("d", "4")], r#"{ "a": 1, "b": 2,"d":4 }"#);
    flat(record, &[("a", "-"), ("b", "-"), ("c", "-"), ("d", "4")], r#"{ "d":4 }"#);
    flat(record, &[("x", "-"), ("a.y", "-"), ("q[3].z", "-")], record);
}

#[test]
fn duplicates_go_with_a_write() {
    let record = r#"{"a":"secret","b":1,"\u0061":"secret too","a":"last"}"#;
    flat(record, &[("a", "\"x\"")], r#"{"b":1,"a":"x"}"#);
    flat(record, &[("a", "-")], r#"{"b":1}"#);
    flat(record, &[("b", "2")], r#"{"a":"secret","b":2,"\u0061":"secret too","a":"last"}"#);
    // Those of the parents, too, and also where the last one has no such field.
    let record = r#"{"m":{"a":"secret"},"m":{"a":1,"a":2},"n":0,"m":{"k":1}}"#;
    flat(record, &[("m.a", "-")], r#"{"n":0,"m":{"k":1}}"#);
    flat(record, &[("m.a", "5")], r#"{"n":0,"m":{"k":1,"a":5}}"#);
}

#[test]
fn what_cannot_be_written_conflicts() {
    #[track_caller]
    fn conflict(record: &str, edits: &[(&str, &str)], at: &str, reason: Conflict) {
        let conflict = with(record, Layout::Flat, edits).expect_err("a conflict");
        assert_eq!(conflict, WriteConflict { path: path(at), reason });
    }
    conflict("[1]", &[("a", "1")], "a", Conflict::NotAnObject);
    conflict("7", &[("a", "-")], "a", Conflict::NotAnObject);
    conflict("[1]", &[("[0]", "1")], "[0]", Conflict::NotAnObject);
    conflict(r#"{"a":1}"#, &[("a.b", "1")], "a.b", Conflict::ParentType);
    conflict(r#"{"a":null}"#, &[("a.b", "null")], "a.b", Conflict::ParentType);
    conflict(r#"{"a":[]}"#, &[("a.b", "1")], "a.b", Conflict::ParentType);
    conflict(r#"{"a":{}}"#, &[("a[0]", "1")], "a[0]", Conflict::ParentType);
    conflict(r#"{"a":[1]}"#, &[("a[1]", "1")], "a[1]", Conflict::IndexOutOfRange);
    conflict(r#"{}"#, &[("a.b[0]", "1")], "a.b[0]", Conflict::IndexOutOfRange);
    conflict(r#"{"a":[1]}"#, &[("a[0]", "-")], "a[0]", Conflict::RemovesElement);
    conflict("{}", &[("$", "-")], "$", Conflict::RemovesRecord);
    let writes = [path("a")];
    for value in [
        Value::Float64(f64::NAN),
        Value::Float64(f64::INFINITY),
        Value::Timestamp(i64::MIN, TimestampFormat::Rfc3339),
        Value::Timestamp(253_402_300_800_000_000, TimestampFormat::Rfc3339),
        Value::Date(i32::MAX),
        Value::Date(i32::MIN),
    ] {
        let edits = [Edit { path: 0, change: Change::Set(value) }];
        for record in ["{}", r#"{"a":1}"#] {
            let conflict = splice(record, &writes, &edits, Layout::Flat).expect_err("a conflict");
            assert_eq!(conflict, WriteConflict { path: path("a"), reason: Conflict::NoText });
        }
    }
}

#[test]
fn later_edits_win() {
    flat("{}", &[("a", "1"), ("a", "2")], r#"{"a":2}"#);
    flat("{}", &[("a.b", "1"), ("a", "2")], r#"{"a":2}"#);
    flat("{}", &[("a", r#"{"b":1,"c":2}"#), ("a.b", "3")], r#"{"a":{"b":3,"c":2}}"#);
    flat(r#"{"a":{"b":1}}"#, &[("a", "-"), ("a.b", "3")], r#"{"a":{"b":3}}"#);
    flat(r#"{"x":0}"#, &[("$", r#"{"y":1}"#), ("z", "2")], r#"{"y":1,"z":2}"#);
    // An edit that a later one makes void can't conflict.
    flat(
        r#"{"a":5}"#,
        &[("a.b", "1"), ("c", "{}"), ("c.d", "1"), ("a", "2")],
        r#"{"a":2,"c":{"d":1}}"#,
    );
    let conflict = with("{}", Layout::Flat, &[("a", "{oops"), ("a.b", "3")]).expect_err("conflict");
    assert_eq!(conflict.reason, Conflict::InvalidJson);
}

#[test]
fn nested_puts_fields_under_one_key() {
    let nested =
        |record, edits: &[(&str, &str)]| with(record, Layout::Nested { key: "new".into() }, edits);
    let got = nested(r#"{"a":1}"#, &[("a", "2"), ("m.x", "3")]).expect("no conflict");
    assert_eq!(got, r#"{"a":1,"new":{"a":2,"m":{"x":3}}}"#);
    let got = nested(r#"{"a":1,"new":{"k":0}}"#, &[("b", "2")]).expect("no conflict");
    assert_eq!(got, r#"{"a":1,"new":{"k":0,"b":2}}"#);
    let got = nested(r#"{"a":1,"b":{"c":1,"d":2}}"#, &[("a", "-"), ("b.c", "-")]);
    assert_eq!(got.expect("no conflict"), r#"{"b":{"d":2}}"#);
    assert_eq!(nested("{}", &[("$", "[1]")]).expect("no conflict"), r#"{"new":[1]}"#);
    assert!(nested(r#"{"new":1}"#, &[("b", "2")]).is_err());
    assert!(nested("[]", &[("b", "2")]).is_err());
    let elements = Projector::new(&[], &[path("a[0]")], Layout::Nested { key: "new".into() });
    assert_eq!(elements.err(), Some(InvalidProjection::ElementNeedsFlat(path("a[0]"))));
}

#[test]
fn an_envelope_takes_any_record() {
    let envelope = Envelope {
        source: "orders".into(),
        processing_stage: "enrich \"1\"".into(),
        version: "2".into(),
    };
    for record in ["{\"a\":1}", "[1]", " 1E400", "null"] {
        let got = with(
            record,
            Layout::Envelope(envelope.clone()),
            &[("a", "2"), ("m.x", "3"), ("gone", "-")],
        );
        let want = [
            r#"{"original_data":"#,
            record,
            r#","enriched_data":{"a":2,"m":{"x":3}},"record_id":"id","#,
            r#""processed_timestamp":"1970-01-01T00:00:01.500Z","metadata":{"source":"orders","#,
            r#""processing_stage":"enrich \"1\"","version":"2"}}"#,
        ]
        .concat();
        assert_eq!(got.expect("no conflict"), want);
    }
    let empty = with("1", Layout::Envelope(envelope), &[]).expect("no conflict");
    assert!(empty.starts_with(r#"{"original_data":1,"enriched_data":{},"record_id""#));
}

#[test]
fn changes_come_out_of_reply_columns() {
    let kind = Kind::Enumeration(vec!["red".into(), "green".into()]);
    let column =
        Column { values: Values::Enumeration(vec![1, 0, 0, 0]), presence: vec![0, 1, 2, 3] };
    let changes: Vec<_> = (0..4).map(|row| Change::of(&column, &kind, row)).collect();
    let green = Change::Set(Value::Utf8(b"green"));
    assert_eq!(changes, [Some(green), None, Some(Change::Null), Some(Change::Remove)]);
}

proptest! {
    #![proptest_config(cases(1000))]

    /// What comes out is what the same edits of a tree give, and all that was not edited has its
    /// bytes.
    #[test]
    fn splicing_is_editing_a_tree(
        text in json(),
        edits in proptest::collection::vec(
            (any_path(), prop_oneof![3 => json().prop_map(Some), 1 => Just(None)]), 1..6),
    ) {
        let writes: Vec<Path> = edits.iter().map(|(path, _)| path.clone()).collect();
        let edits_of: Vec<Edit<'_>> = edits.iter().enumerate().map(|(path, (_, value))| Edit {
            path,
            change: value.as_ref().map_or(Change::Remove, |text| Change::Set(Value::Json(text.as_bytes()))),
        }).collect();
        let got = splice(&text, &writes, &edits_of, Layout::Flat);

        let mut tree = Node::parse(&text);
        let is_object = matches!(tree, Node::Object(_));
        let mut possible = true;
        for (i, (path, value)) in edits.iter().enumerate() {
            let is_void = edits[i + 1..].iter().any(|(later, _)| later.contains(path));
            let value = value.as_deref().map(Node::parse);
            if !is_void {
                possible &= is_object && tree.edit(path, value.as_ref());
            }
        }
        prop_assert_eq!(got.is_ok(), possible, "{:?}", got);
        if let Ok(got) = got {
            prop_assert!(Validator::default().validate(got.as_bytes()).is_ok(), "{}", got);
            prop_assert_eq!(Node::parse(&got).sorted(), tree.sorted(), "{}", got);
        }
    }

    /// The other layouts are splices as well: under a key, and into nothing.
    #[test]
    fn layouts_are_splices_elsewhere(
        text in json(),
        edits in proptest::collection::vec((any_keys(), json()), 1..5),
    ) {
        let writes: Vec<Path> = edits.iter().map(|(path, _)| path.clone()).collect();
        let edits: Vec<Edit<'_>> = edits.iter().enumerate().map(|(path, (_, value))| Edit {
            path,
            change: Change::Set(Value::Json(value.as_bytes())),
        }).collect();
        let under = |path: &Path| {
            Path([Segment::Key("new".into())].into_iter().chain(path.0.clone()).collect())
        };
        let prefixed: Vec<Path> = writes.iter().map(under).collect();
        let nested = splice(&text, &writes, &edits, Layout::Nested { key: "new".into() });
        prop_assert_eq!(nested, splice(&text, &prefixed, &edits, Layout::Flat));

        let envelope =
            Envelope { source: "s".into(), processing_stage: "p".into(), version: "v".into() };
        let wrapped = splice(&text, &writes, &edits, Layout::Envelope(envelope));
        match splice("{}", &writes, &edits, Layout::Flat) {
            Ok(enriched) => {
                let want = format!("{{\"original_data\":{text},\"enriched_data\":{enriched},");
                prop_assert!(wrapped.expect("no conflict").starts_with(&want));
            }
            conflict => prop_assert_eq!(wrapped, conflict),
        }
    }

    /// Writing what is there changes no byte, white space included, where there is no duplicate.
    #[test]
    fn writing_what_is_there_changes_nothing(text in json(), path in any_path()) {
        let Some(value) = Node::parse(&text).get(&path.0).map(Node::compact) else { return Ok(()) };
        let reads = [(path.clone(), Kind::Json)];
        let projector = Projector::new(&reads, &[path], Layout::Flat).expect("valid");
        let mut projection = projector.projection();
        projector.project(text.as_bytes(), &mut projection).expect("valid");
        if !projection.located(0).duplicates.is_empty() || !text.trim_start().starts_with('{') {
            return Ok(());
        }
        let Values::Json(raw) = &projection.columns[0].values else { panic!("json") };
        let raw = if value == "null" { &b"null"[..] } else { raw.get(0) };
        let edits = [Edit { path: 0, change: Change::Set(Value::Json(raw)) }];
        let mut out = Vec::new();
        let located = projection.located(0);
        projector.splicer().splice(text.as_bytes(), located, &edits, STAMP, &mut out).expect("fits");
        prop_assert_eq!(String::from_utf8(out).expect("UTF-8"), text);
    }
}

/// A path of members.
fn any_keys() -> impl Strategy<Value = Path> {
    let key = prop::sample::select(&KEYS[..]).prop_map(|key| Segment::Key(key.to_owned()));
    proptest::collection::vec(key, 1..4).prop_map(Path)
}

#[test]
fn segments_are_what_the_tests_take_them_for() {
    assert_eq!(path("a[0].b").0.len(), 3);
    assert_eq!(path("['a.b']").0, [Segment::Key("a.b".into())]);
}
