use super::*;
use crate::{
    column::{Column, Presence, Values},
    description::Kind,
    json::{Layout, Projector},
};

fn parse(json: &str) -> Condition {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn refuse(json: &str) -> String {
    serde_json::from_str::<Condition>(json).expect_err(json).to_string()
}

/// Which of the records meet the condition, through the projector.
fn met(condition: &str, records: &[&str]) -> Vec<bool> {
    let compiled = parse(condition).compile().expect(condition);
    let reads: Vec<_> = compiled
        .reads
        .iter()
        .map(|(origin, kind)| match origin {
            Origin::Field(path) => (path.clone(), kind.clone()),
            other => panic!("{other} is no field"),
        })
        .collect();
    let projector = Projector::new(&reads, &[], Layout::Flat).expect("fields can be read");
    let mut projection = projector.projection();
    for record in records {
        projector.project(record.as_bytes(), &mut projection).expect("records are JSON");
    }
    let columns: Vec<&Column> = projection.columns.iter().collect();
    compiled.evaluate(&columns, records.len())
}

const VALUES: [&str; 9] = [
    r#"{}"#,
    r#"{"a":null}"#,
    r#"{"a":true}"#,
    r#"{"a":5}"#,
    r#"{"a":5.5}"#,
    r#"{"a":"five"}"#,
    r#"{"a":"2026-03-01T12:00:00Z"}"#,
    r#"{"a":"2026-03-01"}"#,
    r#"{"a":[5]}"#,
];

/// The indices of `VALUES` that meet a condition.
fn which(condition: &str) -> Vec<usize> {
    let met = met(condition, &VALUES);
    (0..met.len()).filter(|row| met[*row]).collect()
}

#[test]
fn missing_and_null_meet_only_their_own_test() {
    assert_eq!(which(r#"{"field":"a","exists":false}"#), [0]);
    assert_eq!(which(r#"{"field":"a","equals":null}"#), [1]);
    assert_eq!(which(r#"{"field":"a","exists":true}"#), [2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(which(r#"{"field":"a","in":[null,"five"]}"#), [1, 5]);
}

#[test]
fn a_test_is_met_by_values_of_its_type() {
    assert_eq!(which(r#"{"field":"a","equals":true}"#), [2]);
    assert_eq!(which(r#"{"field":"a","equals":5}"#), [3]);
    assert_eq!(which(r#"{"field":"a","equals":5.0}"#), [3]);
    assert_eq!(which(r#"{"field":"a","in":[5.5,"five",true]}"#), [2, 4, 5]);
    assert_eq!(which(r#"{"field":"a","in":[]}"#), [0usize; 0]);
    assert_eq!(which(r#"{"field":"a","range":{"min":5,"below":5.5}}"#), [3]);
    assert_eq!(which(r#"{"field":"a","range":{"above":5,"max":5.5}}"#), [4]);
    assert_eq!(which(r#"{"field":"a","range":{"min":"2026-03-01T11:00:00-01:00"}}"#), [6]);
    assert_eq!(which(r#"{"field":"a","range":{"max":"2026-03-01"}}"#), [7]);
    assert_eq!(which(r#"{"field":"a","range":{"min":"f"}}"#), [5]);
    assert_eq!(which(r#"{"field":"a","prefix":"2026-03"}"#), [6, 7]);
}

#[test]
fn conditions_combine() {
    let five = r#"{"field":"a","in":[5,"five"]}"#;
    let text = r#"{"field":"a","prefix":""}"#;
    assert_eq!(which(&format!(r#"{{"all":[{five},{text}]}}"#)), [5]);
    assert_eq!(which(&format!(r#"{{"any":[{five},{text}]}}"#)), [3, 5, 6, 7]);
    assert_eq!(which(&format!(r#"{{"not":{text}}}"#)), [0, 1, 2, 3, 4, 8]);
    assert_eq!(which(&format!(r#"{{"all":[{five},{{"not":{text}}}]}}"#)), [3]);
    assert_eq!(which(r#"{"all":[]}"#).len(), VALUES.len());
    assert_eq!(which(r#"{"any":[]}"#), [0usize; 0]);
}

#[test]
fn large_integers_are_compared_as_integers() {
    let records = [r#"{"n":9007199254740992}"#, r#"{"n":9007199254740993}"#];
    assert_eq!(met(r#"{"field":"n","range":{"min":9007199254740993}}"#, &records), [false, true]);
    assert_eq!(met(r#"{"field":"n","equals":9007199254740993}"#, &records), [false, true]);
}

#[test]
fn columns_are_shared_between_tests() {
    let condition = r#"{"any":[{"field":"a","equals":"x"},{"field":"a","prefix":"y"},
        {"field":"a","exists":false},{"field":"b","equals":"x"}]}"#;
    assert_eq!(parse(condition).compile().expect("it is sound").reads.len(), 3);
}

#[test]
fn host_values_are_tested_in_their_kind() {
    let late = parse(r#"{"field":"@arrival-time","range":{"min":"2026-01-01T00:00:00Z"}}"#);
    let compiled = late.compile().expect("a time is compared with times");
    let column = Column {
        values: Values::Timestamp(vec![0, 1_800_000_000_000_000, 0]),
        presence: vec![0, 0, Presence::Missing as u8],
    };
    assert_eq!(compiled.evaluate(&[&column], 3), [false, true, false]);
    assert!(matches!(compiled.reads[..], [(Origin::Host(_), Kind::Timestamp(_))]));

    let refused = |json| parse(json).compile().expect_err(json).to_string();
    assert_eq!(
        refused(r#"{"field":"@batch-time","equals":5}"#),
        "`@batch-time`: it is of kind timestamp, which can't be tested as int64"
    );
    assert_eq!(
        refused(r#"{"field":"@batch-time","range":{"min":"soon"}}"#),
        "`@batch-time`: \"soon\" is no RFC 3339 timestamp such as \"2026-03-01T12:00:00Z\""
    );
    assert_eq!(
        refused(r#"{"field":"a","range":{"min":1,"max":"z"}}"#),
        "`a`: `range` mixes numbers and texts"
    );
}

#[test]
fn what_is_no_condition_says_what_would_be() {
    for (json, want) in [
        ("{}", "a condition is one of `all`, `any`, `not`, or `field` with a test; found nothing"),
        (r#"{"field":"a"}"#, "`field: a` has no test; give exactly one of"),
        (r#"{"field":"a","equals":1,"exists":true}"#, "`field: a` has `equals` and `exists`"),
        (r#"{"equals":1}"#, "found `equals`"),
        (r#"{"all":[],"field":"a","equals":1}"#, "found `field` and `all` and `equals`"),
        (r#"{"field":"a","is":1}"#, "unknown field `is`"),
        (r#"{"field":"a..b","equals":1}"#, "`field`: `a..b` is not a path"),
        (r#"{"field":"@id","equals":1}"#, "`@id` is no host value; there are @record-id"),
        (r#"{"field":"a","range":{}}"#, "`range` of `a` has no bound"),
        (r#"{"field":"a","equals":[1]}"#, "null, a boolean, a number or a text"),
    ] {
        let error = refuse(json);
        assert!(error.contains(want), "{json}: {error}");
    }
}

#[test]
fn conditions_are_written_as_they_are_read() {
    for json in [
        r#"{"all":[{"field":"a.b","equals":null},{"not":{"field":"@source","prefix":"x"}}]}"#,
        r#"{"any":[{"field":"a","in":[1,2.5,"x",true]},{"field":"a","exists":false}]}"#,
        r#"{"field":"a","range":{"min":1,"below":9}}"#,
    ] {
        assert_eq!(serde_json::to_string(&parse(json)).expect("it is JSON"), json);
    }
}
