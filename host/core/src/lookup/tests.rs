use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn column(name: &str, kind: Kind) -> TableColumn {
    TableColumn { name: name.to_owned(), kind }
}

fn texts(values: &[&str]) -> Column {
    Column { values: Values::Utf8(values.iter().collect()), presence: Vec::new() }
}

fn numbers(values: &[i64]) -> Column {
    Column { values: Values::Int64(values.to_vec()), presence: Vec::new() }
}

fn with_presence(column: Column, presence: &[u8]) -> Column {
    Column { presence: presence.to_vec(), ..column }
}

fn airports(on_duplicate: OnDuplicate) -> TableBuilder {
    let columns = vec![column("code", Kind::Utf8), column("altitude", Kind::Int64)];
    TableBuilder::new(TableSchema::new("airports", columns, &["code"], on_duplicate).unwrap())
}

#[track_caller]
fn altitudes(table: &LookupTable, keys: Column) -> Column {
    let (mut matches, mut found) = (Matches::default(), Column::empty(&Kind::Int64));
    table.find(&[&keys], keys.values.len(), &mut matches);
    table.gather(1, &matches, &mut found);
    found
}

#[test]
fn a_miss_is_missing_and_a_null_cell_is_null() {
    let mut builder = airports(OnDuplicate::Refuse);
    builder.append(&[texts(&["JFK", "LGA"]), numbers(&[13, 22])]).unwrap();
    builder
        .append(&[texts(&["EWR"]), with_presence(numbers(&[0]), &[Presence::Missing as u8])])
        .unwrap();
    let table = builder.finish(Digest::of(b"")).unwrap();
    assert_eq!((table.rows(), table.keys()), (3, 3));
    let found = altitudes(&table, texts(&["LGA", "JFK", "LGA"]));
    assert_eq!(found, with_presence(numbers(&[22, 13, 22]), &[0, 0, 0]));
    let found = altitudes(&table, texts(&["EWR", "CDG", "LGA"]));
    assert_eq!(found.presence, [Presence::Null as u8, Presence::Missing as u8, 0]);
    // A key that the record lacks is found nowhere, whatever stands in its slot.
    let found = altitudes(&table, with_presence(texts(&["LGA", "LGA"]), &[2, 0]));
    assert_eq!(found.presence, [Presence::Missing as u8, 0]);
}

#[test]
fn a_table_without_rows_has_nothing() {
    let table = airports(OnDuplicate::Refuse).finish(Digest::of(b"")).unwrap();
    let found = altitudes(&table, texts(&["LGA", ""]));
    assert_eq!(found, with_presence(numbers(&[0, 0]), &[1, 1]));
    assert_eq!(altitudes(&table, texts(&[])).values.len(), 0);
}

#[test]
fn duplicates_are_refused_by_their_rows_unless_one_counts() {
    let rows = || [texts(&["a", "b", "a", "b", "a"]), numbers(&[0, 1, 2, 3, 4])];
    let built = |on_duplicate| {
        let mut builder = airports(on_duplicate);
        builder.append(&rows()).unwrap();
        builder.finish(Digest::of(b""))
    };
    let error = built(OnDuplicate::Refuse).unwrap_err();
    let pairs = vec![(0, 2), (1, 3), (0, 4)];
    assert_eq!(error, BuildError::Duplicates { count: 3, pairs });
    for (on_duplicate, expected) in [(OnDuplicate::First, [0, 1]), (OnDuplicate::Last, [4, 3])] {
        let table = built(on_duplicate).unwrap();
        assert_eq!((table.rows(), table.keys()), (5, 2));
        assert_eq!(altitudes(&table, texts(&["a", "b"])), numbers(&expected));
    }
}

#[test]
fn a_key_without_a_value_is_refused() {
    let mut builder = airports(OnDuplicate::Refuse);
    builder.append(&[texts(&["a"]), numbers(&[0])]).unwrap();
    let error = builder.append(&[with_presence(texts(&["b", ""]), &[0, 2]), numbers(&[1, 2])]);
    assert_eq!(error, Err(BuildError::Key { row: 2, column: "code".to_owned() }));
}

#[test]
fn schemas_that_can_not_be_are_refused() {
    let made = |columns: &[(&str, Kind)], key: &[&str]| {
        let columns = columns.iter().map(|(name, kind)| column(name, kind.clone())).collect();
        TableSchema::new("t", columns, key, OnDuplicate::Refuse).unwrap_err().to_string()
    };
    let text = |name| (name, Kind::Utf8);
    assert!(made(&[text("a")], &[]).contains("`t` has none"));
    assert!(made(&[text("a")], &["b"]).contains("`b`, which is no column"));
    assert!(made(&[text("a")], &["a", "a"]).contains("`a` twice"));
    assert!(made(&[text("a"), text("a")], &["a"]).contains("two columns named `a`"));
    assert!(made(&[("a", Kind::Float64)], &["a"]).contains("kind float64, which is no key"));
    assert!(made(&[("a", Kind::Enumeration(vec![]))], &["a"]).contains("enumeration"));
}

#[test]
fn kinds_of_one_type_of_json_are_readable_as_each_other() {
    let rfc3339 = || Kind::Timestamp(TimestampFormat::Rfc3339);
    let seconds = || Kind::Timestamp(TimestampFormat::UnixSeconds);
    assert!(is_readable_as(&Kind::Int64, &Kind::Float64));
    assert!(is_readable_as(&Kind::Utf8, &Kind::Enumeration(vec![])));
    assert!(is_readable_as(&rfc3339(), &Kind::Utf8));
    assert!(is_readable_as(&seconds(), &Kind::Int64));
    assert!(is_readable_as(&Kind::Boolean, &Kind::Json));
    assert!(!is_readable_as(&rfc3339(), &seconds()));
    assert!(!is_readable_as(&Kind::Utf8, &Kind::Int64));
    assert!(!is_readable_as(&Kind::Boolean, &Kind::Int64));
}

/// A part of a key in the model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Text(String),
    Number(i64),
    Day(i32),
    Truth(bool),
}

/// Of few values, so that keys meet.
fn part(kind: usize, draw: u8) -> Part {
    match kind {
        0 => Part::Text("x".repeat(usize::from(draw % 5))),
        1 => Part::Number(i64::from(draw % 7) - 3),
        2 => Part::Day(i32::from(draw % 4)),
        _ => Part::Truth(draw.is_multiple_of(2)),
    }
}

const KINDS: [Kind; 4] = [Kind::Utf8, Kind::Int64, Kind::Date, Kind::Boolean];

fn key_column(parts: impl Iterator<Item = Part>, kind: &Kind, presence: Vec<u8>) -> Column {
    let mut column = Column { presence, ..Column::empty(kind) };
    for part in parts {
        match (&mut column.values, part) {
            (Values::Utf8(values), Part::Text(text)) => values.push(text.as_bytes()),
            (Values::Int64(values), Part::Number(number)) => values.push(number),
            (Values::Date(values), Part::Day(day)) => values.push(day),
            (Values::Boolean(values), Part::Truth(truth)) => values.push(u8::from(truth)),
            _ => unreachable!("parts are drawn for their kind"),
        }
    }
    column
}

proptest! {
    /// A table answers as a map does, whatever its key is made of, in whatever chunks its rows
    /// came, and whichever of two rows with the same key counts.
    #[test]
    fn a_table_is_a_map(
        kinds in prop::collection::vec(0usize..4, 1..4),
        rows in prop::collection::vec((prop::collection::vec(any::<u8>(), 3), any::<bool>()), 0..60),
        asked in prop::collection::vec((prop::collection::vec(any::<u8>(), 3), 0u8..8), 0..60),
        chunk in 1usize..20,
        last in any::<bool>(),
    ) {
        let names: Vec<String> = (0..kinds.len()).map(|i| format!("k{i}")).collect();
        let mut columns: Vec<_> =
            names.iter().zip(&kinds).map(|(name, kind)| column(name, KINDS[*kind].clone())).collect();
        columns.insert(0, column("row", Kind::Int64));
        let key: Vec<&str> = names.iter().map(String::as_str).collect();
        let on_duplicate = if last { OnDuplicate::Last } else { OnDuplicate::First };
        let schema = TableSchema::new("t", columns, &key, on_duplicate).unwrap();

        let key_of = |draws: &[u8]| -> Vec<Part> {
            kinds.iter().zip(draws).map(|(kind, draw)| part(*kind, *draw)).collect()
        };
        let mut model: BTreeMap<Vec<Part>, Option<i64>> = BTreeMap::new();
        let mut builder = TableBuilder::new(schema);
        for (first, rows) in rows.chunks(chunk).enumerate() {
            let numbered = rows.iter().enumerate();
            let mut made = vec![Column {
                values: Values::Int64((0..rows.len()).map(|i| (first * chunk + i) as i64).collect()),
                presence: rows.iter().map(|(_, null)| u8::from(*null) * 2).collect(),
            }];
            for (place, kind) in kinds.iter().enumerate() {
                let parts = rows.iter().map(|(draws, _)| part(*kind, draws[place]));
                made.push(key_column(parts, &KINDS[*kind], Vec::new()));
            }
            for (i, (draws, null)) in numbered {
                let cell = (!null).then_some((first * chunk + i) as i64);
                match last {
                    true => drop(model.insert(key_of(draws), cell)),
                    false => drop(model.entry(key_of(draws)).or_insert(cell)),
                }
            }
            builder.append(&made).unwrap();
        }
        let table = builder.finish(Digest::of(b"")).unwrap();
        prop_assert_eq!((table.rows(), table.keys()), (rows.len(), model.len()));

        let keys: Vec<Column> = kinds
            .iter()
            .enumerate()
            .map(|(place, kind)| {
                let parts = asked.iter().map(|(draws, _)| part(*kind, draws[place]));
                // One key in eight lacks its first part.
                let lacks = |(_, draw): &(Vec<u8>, u8)| u8::from(place == 0 && *draw == 0);
                key_column(parts, &KINDS[*kind], asked.iter().map(lacks).collect())
            })
            .collect();
        let mut matches = Matches::default();
        table.find(&keys.iter().collect::<Vec<_>>(), asked.len(), &mut matches);
        let mut found = Column::empty(&Kind::Int64);
        table.gather(0, &matches, &mut found);
        let Values::Int64(values) = &found.values else { unreachable!() };
        let mut misses = 0;
        for (row, (draws, draw)) in asked.iter().enumerate() {
            let expected = if *draw == 0 { None } else { model.get(&key_of(draws)) };
            misses += usize::from(expected.is_none());
            prop_assert_eq!(matches.is_hit(row), expected.is_some());
            match expected {
                None => prop_assert_eq!(found.presence_of(row), Presence::Missing as u8),
                Some(None) => prop_assert_eq!(found.presence_of(row), Presence::Null as u8),
                Some(Some(cell)) => {
                    prop_assert_eq!((found.presence_of(row), values[row]), (0, *cell));
                }
            }
        }
        prop_assert_eq!(matches.misses(), misses);
    }
}
