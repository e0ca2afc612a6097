//! The chain against a slow reference: records as `serde_json` values, one row at a time, edited
//! one field after the other, under random plans of random plugins.
//!
//! Both sides share what a plugin decides for a row ([`Decision`]), which is a hash of what it
//! reads. Everything around it (projection, overlays, selection, state, fan-out, isolation,
//! splicing, routing, the ledger) is done twice.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};
use tidegate_core::{
    Batch, Column, Condition, Kind, Presence, Reply, TransformFactory, Values,
    column::Binary,
    transform::{Breach, TransformError, Verdict},
};
use tidegate_pipeline::{
    PlanSpec,
    plan::{Breaker, SinkSpec, StageSpec, StateScope, Unrouted},
    states::NoStates,
};

use crate::{
    plugins::{Scripted, description, keyed},
    support::{batches, plan, reasons, try_run, values},
};

const CASES: u64 = 600;

#[test]
fn the_chain_does_what_the_reference_does() {
    let mut met = [0; 4];
    for seed in 0..CASES {
        met.iter_mut().zip(check(seed)).for_each(|(met, count)| *met += count);
    }
    assert!(met.iter().all(|count| *count > CASES), "each fate is met: {met:?}");
}

/// Runs one random plan both ways; returns how many records met each fate.
fn check(seed: u64) -> [u64; 4] {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1);
    let stages: Vec<Stage> = (0..random.below(5)).map(|i| Stage::random(i, &mut random)).collect();
    let filter = random.one_in(3).then(|| Test::random(&mut random));
    let routes: Vec<Option<Test>> = (0..1 + random.below(3))
        .map(|_| random.one_in(2).then(|| Test::random(&mut random)))
        .collect();
    let unrouted = if random.one_in(2) { Unrouted::Drop } else { Unrouted::DeadLetter };
    let records: Vec<String> = (0..random.below(60)).map(|_| record(&mut random)).collect();
    let size = 1 + random.below(30) as usize;

    let mut spec = PlanSpec::new("model", "input");
    spec.unrouted = unrouted;
    spec.filter = filter.as_ref().map(Test::condition);
    spec.stages = stages.iter().map(Stage::spec).collect();
    for (i, route) in routes.iter().enumerate() {
        let when = route.as_ref().map(Test::condition);
        spec.sinks.push(SinkSpec { when, ..SinkSpec::new(&format!("sink-{i}")) });
    }
    let output = try_run(&plan(spec), &batches(&records, size), &NoStates, vec![])
        .unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));

    let mut reference = Reference::new(stages, filter, routes, unrouted);
    records.iter().for_each(|record| reference.take(record));
    for (i, want) in reference.sinks.iter().enumerate() {
        assert_eq!(&values(&output, i), want, "seed {seed}, sink {i}");
    }
    let dead: Vec<_> = reasons(&output).into_iter().map(|(_, _, payload)| payload).collect();
    assert_eq!(dead, reference.dead, "seed {seed}");
    let counts = &output.counts;
    let have = [&counts.filtered, &counts.dropped, &counts.delivered, &counts.dead_lettered];
    assert_eq!(have.map(|tally| tally.records), reference.counts, "seed {seed}");
    let states: usize = reference.states.iter().map(BTreeMap::len).sum();
    assert_eq!(output.states.len(), states, "seed {seed}");
    reference.counts
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

const PATHS: [&str; 6] = ["a", "b", "c", "o.x", "o.y", "o"];
const WORDS: [&str; 4] = ["red", "green", "blue", "x\"y"];

fn record(random: &mut Random) -> String {
    if random.one_in(30) {
        return "{\"a\":".to_owned();
    }
    let mut record = Map::new();
    for key in ["a", "b", "c"] {
        if !random.one_in(4) {
            record.insert(key.to_owned(), scalar(random));
        }
    }
    if !random.one_in(3) {
        let mut object = Map::new();
        for key in ["x", "y", "z"] {
            if random.one_in(2) {
                object.insert(key.to_owned(), scalar(random));
            }
        }
        record.insert("o".to_owned(), Value::Object(object));
    }
    Value::Object(record).to_string()
}

fn scalar(random: &mut Random) -> Value {
    match random.below(8) {
        0 => Value::Null,
        1 => Value::Bool(random.one_in(2)),
        2..5 => json!(random.below(4)),
        _ => json!(random.pick(&WORDS)),
    }
}

/// A test that both sides can do.
#[derive(Clone, Debug)]
struct Test {
    path: &'static str,
    asks: Value,
}

impl Test {
    fn random(random: &mut Random) -> Self {
        let path = random.pick(&PATHS[..5]);
        let asks = match random.below(4) {
            0 => json!({ "exists": random.one_in(2) }),
            1 => json!({ "equals": scalar(random) }),
            2 => json!({ "range": { "below": 2 } }),
            _ => json!({ "in": ["green", 1, 3, "blue"] }),
        };
        Test { path, asks }
    }

    fn condition(&self) -> Condition {
        let mut written = self.asks.clone();
        written["field"] = json!(self.path);
        serde_json::from_value(written).expect("it is a condition")
    }

    fn is_met(&self, record: &Value) -> bool {
        let found = get(record, self.path);
        if let Some(exists) = self.asks.get("exists") {
            return match found {
                None => *exists == json!(false),
                Some(Value::Null) => false,
                Some(_) => *exists == json!(true),
            };
        }
        let Some(found) = found else { return false };
        if let Some(wanted) = self.asks.get("equals") {
            return found == wanted;
        }
        if self.asks.get("range").is_some() {
            return found.as_i64().is_some_and(|value| value < 2);
        }
        self.asks["in"].as_array().expect("a list").contains(found)
    }
}

fn get<'a>(record: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(record, |value, key| value.get(key))
}

/// A plugin, as both sides know it.
#[derive(Clone, Debug)]
struct Stage {
    name: String,
    seed: u64,
    reads: Vec<(&'static str, Kind)>,
    writes: Vec<(&'static str, Kind)>,
    required: bool,
    keyed: bool,
    fans_out: bool,
    when: Option<Test>,
}

fn words(words: &[&str]) -> Kind {
    Kind::Enumeration(words.iter().map(|word| (*word).to_owned()).collect())
}

impl Stage {
    fn random(index: u64, random: &mut Random) -> Self {
        let read = |random: &mut Random| {
            let kinds =
                [Kind::Int64, Kind::Utf8, Kind::Boolean, Kind::Json, words(&["red", "green"])];
            (*random.pick(&PATHS), random.pick(&kinds).clone())
        };
        let keyed = random.one_in(4);
        let mut reads: Vec<_> = (0..1 + random.below(4)).map(|_| read(random)).collect();
        if keyed {
            reads[0] = (*random.pick(&PATHS[..3]), random.pick(&[Kind::Int64, Kind::Utf8]).clone());
        }
        let mut writes = Vec::new();
        let paths: &[&'static str] = match random.below(4) {
            0 => &["o", "a"],
            1 => &["o.x", "b", "a"],
            2 => &["a", "c", "o.y", "o.x"],
            _ => &["b"],
        };
        for path in paths {
            if random.one_in(2) {
                let kinds = [Kind::Int64, Kind::Utf8, Kind::Boolean, words(&["green", "blue"])];
                let kind = if *path == "o" { Kind::Json } else { random.pick(&kinds).clone() };
                writes.push((*path, kind));
            }
        }
        Stage {
            name: format!("stage-{index}"),
            seed: random.next(),
            reads,
            writes,
            required: random.one_in(4),
            keyed,
            fans_out: random.one_in(4),
            when: random.one_in(3).then(|| Test::random(random)),
        }
    }

    fn spec(&self) -> StageSpec {
        let mut description = description(&self.reads, &self.writes);
        description.reads[0].required = self.required;
        if self.keyed {
            description = keyed(description);
        }
        let stage = self.clone();
        let plugin: Arc<dyn TransformFactory> =
            Arc::new(Scripted::new(&self.name, description, move |batch, _| stage.reply(batch)));
        let mut spec = StageSpec::new(&self.name, plugin);
        spec.when = self.when.as_ref().map(Test::condition);
        spec.state.scope = StateScope::Partition;
        spec.breaker = Breaker { per_thousand: 1000, window: 1000 };
        spec
    }

    /// What the plugin makes of a row, of whose key there were `count` rows with this one.
    fn decide(&self, cells: &[String], count: u64) -> Decision {
        let mut random = Random(self.seed ^ count.wrapping_mul(77));
        for byte in cells.iter().flat_map(|cell| cell.bytes().chain([0])) {
            random.0 = random.0.wrapping_mul(31).wrapping_add(u64::from(byte));
        }
        let verdict = match random.below(14) {
            0 => return Decision::Poison,
            1 => Verdict::Drop,
            2 => Verdict::Reject,
            _ => Verdict::Emit,
        };
        let children = if self.fans_out { random.below(4) } else { 1 };
        let row = |random: &mut Random| {
            self.writes.iter().map(|(path, kind)| Written::random(path, kind, random)).collect()
        };
        Decision::Rows(verdict, (0..children).map(|_| row(&mut random)).collect())
    }

    /// The plugin's side: columns to a reply.
    fn reply(&self, batch: &Batch<'_>) -> Result<Reply, TransformError> {
        let mut reply = Reply::default();
        let states = &batch.states.values;
        let mut counts: Vec<u64> = (0..states.len())
            .map(|key| states.get(key).try_into().map_or(0, u64::from_le_bytes))
            .collect();
        let mut outputs: Vec<(u32, Vec<Written>)> = Vec::new();
        for row in 0..batch.rows {
            let cells: Vec<String> = batch
                .columns
                .iter()
                .zip(&self.reads)
                .map(|(column, (_, kind))| cell(column, kind, row as usize))
                .collect();
            let count = match batch.states.rows.get(row as usize) {
                Some(key) => {
                    counts[*key as usize] += 1;
                    counts[*key as usize]
                }
                None => 0,
            };
            let Decision::Rows(verdict, children) = self.decide(&cells, count) else {
                let row = (count % 2 == 0).then_some(row);
                return Err(TransformError { row, ..TransformError::new(Breach::Trap, "poison") });
            };
            reply.verdicts.push(verdict as u8);
            reply.findings.rows.push(row);
            reply.findings.rules.push(0);
            outputs.extend(children.into_iter().map(|written| (row, written)));
        }
        if self.fans_out && outputs.is_empty() {
            // No parents at all would mean one row for each.
            for verdict in reply.verdicts.iter_mut().filter(|verdict| **verdict == 0) {
                *verdict = Verdict::Drop as u8;
            }
            let leave = || self.writes.iter().map(|_| Written::Leave).collect();
            outputs = (0..batch.rows).map(|row| (row, leave())).collect();
        } else if self.fans_out {
            reply.parents = outputs.iter().map(|(row, _)| *row).collect();
        }
        for (i, (_, kind)) in self.writes.iter().enumerate() {
            reply.columns.push(column(kind, outputs.iter().map(|(_, written)| &written[i])));
        }
        if self.keyed {
            for (key, count) in counts.iter().enumerate() {
                reply.states.keys.push(key as u32);
                reply.states.values.push(&count.to_le_bytes());
            }
        }
        Ok(reply)
    }
}

enum Decision {
    Poison,
    /// The verdict, and what is written to each child.
    Rows(Verdict, Vec<Vec<Written>>),
}

#[derive(Clone, Debug)]
enum Written {
    Leave,
    Null,
    Remove,
    Set(Value),
}

impl Written {
    fn random(path: &str, kind: &Kind, random: &mut Random) -> Self {
        match (random.below(6), kind) {
            (0, _) => Written::Leave,
            // Nothing can be written under a null.
            (1, _) if path != "o" => Written::Null,
            (2, _) => Written::Remove,
            (_, Kind::Int64) => Written::Set(json!(random.below(4))),
            (_, Kind::Boolean) => Written::Set(json!(random.one_in(2))),
            (_, Kind::Utf8) => Written::Set(json!(random.pick(&WORDS))),
            (_, Kind::Enumeration(words)) => Written::Set(json!(random.pick(words))),
            (_, _) => Written::Set(json!({ "x": scalar(random), "w": scalar(random) })),
        }
    }

    fn apply(&self, row: &mut Row, path: &str) {
        let (parent, key) = match path.split_once('.') {
            Some((parent, key)) => (Some(parent), key),
            None => (None, path),
        };
        let value = match self {
            Written::Leave => return,
            Written::Remove => return row.remove(parent, key),
            Written::Null => Value::Null,
            Written::Set(value) => value.clone(),
        };
        match parent {
            Some(parent) => {
                row.lends_parent |= row.record.get(parent).is_none();
                row.record[parent][key] = value;
            }
            None => {
                row.lends_parent &= key != "o";
                row.record[key] = value;
            }
        }
    }
}

/// A record on its way through the reference.
#[derive(Clone, Debug)]
struct Row {
    record: Value,
    /// The object `o` is there only since something was written into it: it goes with the last
    /// of that.
    lends_parent: bool,
}

impl Row {
    fn remove(&mut self, parent: Option<&str>, key: &str) {
        let holder = match parent {
            Some(parent) => self.record.get_mut(parent),
            None => Some(&mut self.record),
        };
        let Some(object) = holder.and_then(Value::as_object_mut) else { return };
        object.remove(key);
        let is_empty = object.is_empty();
        if let (Some(parent), true, true) = (parent, is_empty, self.lends_parent) {
            self.remove(None, parent);
        }
        self.lends_parent &= parent.is_some() || key != "o";
    }
}

/// A column of writes.
fn column<'a>(kind: &Kind, written: impl Iterator<Item = &'a Written>) -> Column {
    let mut column = Column::empty(kind);
    for write in written {
        let value = match write {
            Written::Set(value) => value.clone(),
            _ => Value::Null,
        };
        column.presence.push(match write {
            Written::Set(_) => 0,
            Written::Leave => 1,
            Written::Null => 2,
            Written::Remove => 3,
        });
        match (&mut column.values, kind) {
            (Values::Int64(values), _) => values.push(value.as_i64().unwrap_or(0)),
            (Values::Boolean(values), _) => values.push(u8::from(value == json!(true))),
            (Values::Utf8(values), _) => values.push(value.as_str().unwrap_or("").as_bytes()),
            (Values::Json(values), _) => values.push(value.to_string().as_bytes()),
            (Values::Enumeration(codes), Kind::Enumeration(words)) => {
                let code = words.iter().position(|word| value == json!(word));
                codes.push(code.unwrap_or(0) as u32);
            }
            (other, _) => panic!("not written here: {other:?}"),
        }
    }
    column
}

/// What a plugin sees of a cell, as a text; out of a column.
fn cell(column: &Column, kind: &Kind, row: usize) -> String {
    let presence = column.presence_of(row);
    if presence != Presence::Value as u8 {
        return presence.to_string();
    }
    let text = |texts: &Binary| String::from_utf8(texts.get(row).to_vec()).expect("UTF-8");
    match (&column.values, kind) {
        (Values::Int64(values), _) => format!("0:{}", values[row]),
        (Values::Boolean(values), _) => format!("0:{}", values[row] != 0),
        (Values::Utf8(texts), _) => format!("0:{}", text(texts)),
        (Values::Json(texts), _) => {
            let value = serde_json::from_str(&text(texts)).expect("JSON");
            format!("0:{}", canonical(&value))
        }
        (Values::Enumeration(codes), Kind::Enumeration(words)) => {
            format!("0:{}", words[codes[row] as usize])
        }
        (other, _) => panic!("not read here: {other:?}"),
    }
}

/// The same out of a value.
fn reference_cell(record: &Value, path: &str, kind: &Kind) -> String {
    let Some(found) = get(record, path) else { return (Presence::Missing as u8).to_string() };
    match (found, kind) {
        (Value::Null, _) => (Presence::Null as u8).to_string(),
        (Value::Number(number), Kind::Int64) => format!("0:{number}"),
        (Value::Bool(value), Kind::Boolean) => format!("0:{value}"),
        (Value::String(text), Kind::Utf8) => format!("0:{text}"),
        (Value::String(text), Kind::Enumeration(words)) if words.contains(text) => {
            format!("0:{text}")
        }
        (Value::String(_), Kind::Enumeration(_)) => (Presence::OutOfRange as u8).to_string(),
        (value, Kind::Json) => format!("0:{}", canonical(value)),
        _ => (Presence::OtherType as u8).to_string(),
    }
}

/// The text of a value with its members in order.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            let members: Vec<_> = sorted
                .into_iter()
                .map(|(key, value)| format!("{key}:{}", canonical(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        other => other.to_string(),
    }
}

/// The reference.
struct Reference {
    stages: Vec<Stage>,
    filter: Option<Test>,
    routes: Vec<Option<Test>>,
    unrouted: Unrouted,
    /// For each stage, the rows of each key.
    states: Vec<BTreeMap<String, u64>>,
    sinks: Vec<Vec<Value>>,
    dead: Vec<String>,
    /// Filtered, dropped, delivered, dead-lettered.
    counts: [u64; 4],
}

impl Reference {
    fn new(
        stages: Vec<Stage>,
        filter: Option<Test>,
        routes: Vec<Option<Test>>,
        unrouted: Unrouted,
    ) -> Self {
        Reference {
            states: vec![BTreeMap::new(); stages.len()],
            sinks: vec![Vec::new(); routes.len()],
            dead: Vec::new(),
            counts: [0; 4],
            stages,
            filter,
            routes,
            unrouted,
        }
    }

    /// One record, through everything.
    fn take(&mut self, text: &str) {
        // What became of its parts, in the order of `counts`.
        let mut fates = [false; 4];
        match serde_json::from_str::<Value>(text) {
            Err(_) => fates[3] = true,
            Ok(record) if self.filter.as_ref().is_some_and(|test| !test.is_met(&record)) => {
                fates[0] = true;
            }
            Ok(record) => {
                let mut rows = vec![Row { record, lends_parent: false }];
                for stage in 0..self.stages.len() {
                    rows = rows
                        .into_iter()
                        .flat_map(|row| self.step(stage, row, &mut fates))
                        .collect();
                }
                rows.into_iter().for_each(|row| self.route(row.record, &mut fates));
            }
        }
        let place = [3, 2, 1, 0].into_iter().find(|place| fates[*place]).expect("some fate");
        self.counts[place] += 1;
        if place == 3 {
            self.dead.push(text.to_owned());
        }
    }

    fn step(&mut self, index: usize, row: Row, fates: &mut [bool; 4]) -> Vec<Row> {
        let stage = &self.stages[index];
        if stage.when.as_ref().is_some_and(|test| !test.is_met(&row.record)) {
            return vec![row];
        }
        let cells: Vec<String> = stage
            .reads
            .iter()
            .map(|(path, kind)| reference_cell(&row.record, path, kind))
            .collect();
        if (stage.required || stage.keyed) && !cells[0].starts_with("0:") {
            fates[3] = true;
            return Vec::new();
        }
        let counted = self.states[index].get(&cells[0]).copied().unwrap_or(0) + 1;
        let count = if stage.keyed { counted } else { 0 };
        let Decision::Rows(verdict, children) = stage.decide(&cells, count) else {
            fates[3] = true;
            return Vec::new();
        };
        if stage.keyed {
            self.states[index].insert(cells[0].clone(), counted);
        }
        match verdict {
            Verdict::Emit if !children.is_empty() => {}
            Verdict::Reject => {
                fates[3] = true;
                return Vec::new();
            }
            _ => {
                fates[1] = true;
                return Vec::new();
            }
        }
        let child = |written: &Vec<Written>| {
            let mut child = row.clone();
            for (write, (path, _)) in written.iter().zip(&stage.writes) {
                write.apply(&mut child, path);
            }
            child
        };
        children.iter().map(child).collect()
    }

    fn route(&mut self, row: Value, fates: &mut [bool; 4]) {
        let mut routed = false;
        for (route, sink) in self.routes.iter().zip(&mut self.sinks) {
            if route.as_ref().is_none_or(|test| test.is_met(&row)) {
                sink.push(row.clone());
                routed = true;
            }
        }
        match (routed, self.unrouted) {
            (true, _) => fates[2] = true,
            (false, Unrouted::Drop) => fates[0] = true,
            (false, Unrouted::DeadLetter) => fates[3] = true,
        }
    }
}
