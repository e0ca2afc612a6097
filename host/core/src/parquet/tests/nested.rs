//! Objects, arrays and maps out of levels.

use super::{
    values::{Raw, file},
    *,
};

fn check(message: &str, columns: &[super::values::RawColumn<'_>], wanted: &[&str]) {
    let file = file(message, columns);
    let rows = read(&file, 0, RowFormat::default()).expect(message);
    assert_eq!(rows, wanted, "{message}");
    for behind in 1..=wanted.len() {
        let rest = read(&file, behind as u64, RowFormat::default()).expect(message);
        assert_eq!(rest, wanted[behind..], "{message} behind {behind}");
    }
}

#[test]
fn objects_may_be_null_or_hold_nulls() {
    check(
        "message m { optional group a { optional group b { required int32 c; } optional int32 d; } }",
        &[(Raw::Int32(&[7]), Some(&[0, 1, 2]), None), (Raw::Int32(&[5]), Some(&[0, 2, 1]), None)],
        &[r#"{"a":null}"#, r#"{"a":{"b":null,"d":5}}"#, r#"{"a":{"b":{"c":7},"d":null}}"#],
    );
}

#[test]
fn lists_of_lists() {
    check(
        "message m { optional group a (LIST) { repeated group list { optional group element (LIST) \
         { repeated group list { optional int32 element; } } } } }",
        &[(
            Raw::Int32(&[1, 2, 3]),
            Some(&[0, 1, 2, 3, 5, 4, 5, 3, 5]),
            Some(&[0, 0, 0, 0, 0, 2, 1, 1, 1]),
        )],
        &[
            r#"{"a":null}"#,
            r#"{"a":[]}"#,
            r#"{"a":[null]}"#,
            r#"{"a":[[]]}"#,
            r#"{"a":[[1,null],[2],[],[3]]}"#,
        ],
    );
}

#[test]
fn lists_of_objects_with_lists() {
    check(
        "message m { required group a (LIST) { repeated group list { required group element { \
         required int32 x; repeated int32 y; } } } required int32 z; }",
        &[
            (Raw::Int32(&[1, 2, 3]), Some(&[1, 1, 0, 1]), Some(&[0, 1, 0, 0])),
            (Raw::Int32(&[10, 11, 30]), Some(&[2, 2, 1, 0, 2]), Some(&[0, 2, 1, 0, 0])),
            (Raw::Int32(&[7, 8, 9]), None, None),
        ],
        &[
            r#"{"a":[{"x":1,"y":[10,11]},{"x":2,"y":[]}],"z":7}"#,
            r#"{"a":[],"z":8}"#,
            r#"{"a":[{"x":3,"y":[30]}],"z":9}"#,
        ],
    );
}

#[test]
fn lists_as_old_writers_have_them() {
    let levels: (Option<&[i16]>, Option<&[i16]>) = (Some(&[2, 2, 0, 1]), Some(&[0, 1, 0, 0]));
    for message in [
        "message m { optional group a (LIST) { repeated int32 element; } }",
        "message m { optional group a (LIST) { repeated int32 array; } }",
    ] {
        check(
            message,
            &[(Raw::Int32(&[1, 2]), levels.0, levels.1)],
            &[r#"{"a":[1,2]}"#, r#"{"a":null}"#, r#"{"a":[]}"#],
        );
    }
    check(
        "message m { optional group a (LIST) { repeated group a_tuple { required int32 x; } } }",
        &[(Raw::Int32(&[1, 2]), levels.0, levels.1)],
        &[r#"{"a":[{"x":1},{"x":2}]}"#, r#"{"a":null}"#, r#"{"a":[]}"#],
    );
}

#[test]
fn maps_are_objects_where_their_keys_are_texts() {
    check(
        "message m { optional group a (MAP) { repeated group key_value { required binary key \
         (STRING); optional int32 value; } } }",
        &[
            (Raw::Bytes(&[b"x", b"y"]), Some(&[2, 2, 1, 0]), Some(&[0, 1, 0, 0])),
            (Raw::Int32(&[1]), Some(&[3, 2, 1, 0]), Some(&[0, 1, 0, 0])),
        ],
        &[r#"{"a":{"x":1,"y":null}}"#, r#"{"a":{}}"#, r#"{"a":null}"#],
    );
    check(
        "message m { required group a (MAP) { repeated group key_value { required int32 key; \
         required int32 value; } } }",
        &[
            (Raw::Int32(&[1, 2]), Some(&[1, 1]), Some(&[0, 1])),
            (Raw::Int32(&[3, 4]), Some(&[1, 1]), Some(&[0, 1])),
        ],
        &[r#"{"a":[{"key":1,"value":3},{"key":2,"value":4}]}"#],
    );
}

#[test]
fn nulls_are_left_out_of_objects_and_not_of_lists() {
    let file = file(
        "message m { optional group a { optional group b (LIST) { repeated group list { optional \
         int32 element; } } optional int32 c; } optional int32 d; }",
        &[
            (Raw::Int32(&[1]), Some(&[4, 3, 1]), Some(&[0, 1, 0])),
            (Raw::Int32(&[2]), Some(&[1, 2]), None),
            (Raw::Int32(&[]), Some(&[0, 0]), None),
        ],
    );
    let format = RowFormat { omit_nulls: true, ..RowFormat::default() };
    let rows = read(&file, 0, format).expect("it is sound");
    assert_eq!(rows, [r#"{"a":{"b":[1,null]}}"#, r#"{"a":{"c":2}}"#]);
}

#[test]
fn schemas_that_no_object_has_a_place_for_are_refused() {
    let twice = file(
        "message m { required int32 a; required int32 a; }",
        &[(Raw::Int32(&[1]), None, None), (Raw::Int32(&[1]), None, None)],
    );
    let error = read(&twice, 0, RowFormat::default()).expect_err("two columns of a name");
    assert!(error.to_string().contains("two fields named `a`"), "{error}");
    let mut deep = "required int32 v;".to_owned();
    for _ in 0..200 {
        deep = format!("required group g {{ {deep} }}");
    }
    let deep = file(&format!("message m {{ {deep} }}"), &[(Raw::Int32(&[1]), None, None)]);
    let error = read(&deep, 0, RowFormat::default()).expect_err("it is too deep");
    assert!(matches!(error, ReadError::Schema { .. }), "{error}");
}
