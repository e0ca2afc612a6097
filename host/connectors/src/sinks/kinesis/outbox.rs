//! Lines on their way into a stream, each key in its order.
//!
//! Kinesis does not promise the order of the records of one request, and takes a record although an
//! earlier one of the request was refused. So a request has one record of a key at most, and the
//! next one of that key goes when it was taken. A key whose record was refused is held: nothing of it
//! is sent again in this attempt.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use bytes::Bytes;
use tidegate_core::sink::Object;

use crate::{
    aggregate::{self, RECORD_BYTES_MORE},
    sinks::lines::{Line, lines, rest_of},
};

/// What one request takes.
const RECORDS_MAX: usize = 500;

/// An aggregate is no larger: what the Kinesis Producer Library makes where nothing is said, and its
/// readers are used to. A line that has more alone is a record of its own.
const AGGREGATE_BYTES_MAX: usize = 51_200;

/// No line comes after this one.
const NONE: u32 = u32::MAX;

/// Lines that are to be sent.
pub(super) struct Outbox<'o> {
    objects: &'o [Object],
    lines: Vec<Line>,
    /// For each line the next one of its key.
    next: Vec<u32>,
    taken: Vec<bool>,
    /// The first line of each key that nothing holds, the earliest on top.
    ready: BinaryHeap<Reverse<u32>>,
    request_bytes_max: usize,
    aggregates: bool,
}

/// A record of a request.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) data: Bytes,
    /// Its first line, and how many there are.
    first: u32,
    lines: u32,
}

impl Entry {
    /// What it counts for in a request.
    fn bytes(&self) -> usize {
        self.key.len() + self.data.len()
    }
}

impl<'o> Outbox<'o> {
    /// All lines of some objects.
    pub(super) fn new(objects: &'o [Object], request_bytes_max: usize, aggregates: bool) -> Self {
        let lines = lines(objects);
        let mut next = vec![NONE; lines.len()];
        let mut ready = Vec::new();
        let mut last: HashMap<&[u8], u32> = HashMap::new();
        for (line, place) in lines.iter().zip(0..) {
            match last.insert(line.key(objects), place) {
                Some(before) => next[before as usize] = place,
                None => ready.push(Reverse(place)),
            }
        }
        let (taken, ready) = (vec![false; lines.len()], ready.into());
        Outbox { objects, lines, next, taken, ready, request_bytes_max, aggregates }
    }

    /// Whether nothing may be sent any more.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// As many records as fit into one request, and at least one where there is any. They are under
    /// way until [`Outbox::answered`].
    pub(super) fn request(&mut self) -> Vec<Entry> {
        let mut request = Vec::new();
        let mut bytes = 0;
        while request.len() < RECORDS_MAX {
            let Some(Reverse(first)) = self.ready.pop() else { break };
            let entry = self.entry(first);
            bytes += entry.bytes();
            if bytes > self.request_bytes_max && !request.is_empty() {
                self.ready.push(Reverse(first));
                break;
            }
            request.push(entry);
        }
        request
    }

    /// A record that begins with a line: that alone, or as many of its key as one aggregate holds.
    fn entry(&self, first: u32) -> Entry {
        let key =
            String::from_utf8_lossy(self.lines[first as usize].key(self.objects)).into_owned();
        let mut lines = 1;
        if self.aggregates {
            let mut bytes = aggregate::bytes_before(&key);
            let fitting = self.from(first).take_while(|line| {
                bytes += self.data(*line).len() + RECORD_BYTES_MORE;
                bytes <= AGGREGATE_BYTES_MAX
            });
            lines = fitting.count().max(1) as u32;
        }
        let data = match lines {
            1 => self.data(first),
            lines => {
                let records = self.from(first).take(lines as usize).map(|line| self.data(line));
                aggregate::seal(&key, records).into()
            }
        };
        Entry { key, data, first, lines }
    }

    /// A line and those of its key that come after it.
    fn from(&self, first: u32) -> impl Iterator<Item = u32> {
        let next = |line: &u32| Some(self.next[*line as usize]).filter(|next| *next != NONE);
        std::iter::successors(Some(first), next)
    }

    fn data(&self, line: u32) -> Bytes {
        let line = &self.lines[line as usize];
        self.objects[line.object].content.slice(line.bare(self.objects))
    }

    /// A request was answered: which of its records were taken.
    pub(super) fn answered(&mut self, request: &[Entry], taken: impl Fn(usize) -> bool) {
        for (place, entry) in request.iter().enumerate() {
            if !taken(place) {
                continue;
            }
            let mut at = entry.first;
            for _ in 0..entry.lines {
                self.taken[at as usize] = true;
                at = self.next[at as usize];
            }
            if at != NONE {
                self.ready.push(Reverse(at));
            }
        }
    }

    /// How many lines are not taken.
    pub(super) fn left(&self) -> usize {
        self.taken.iter().filter(|taken| !**taken).count()
    }

    /// Objects with the lines that are not taken, in their order.
    pub(super) fn rest(&self) -> Vec<Object> {
        let left = self.lines.iter().zip(&self.taken).filter(|(_, taken)| !**taken);
        rest_of(self.objects, left.map(|(line, _)| line))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use proptest::prelude::*;
    use tidegate_core::Binary;

    use super::*;
    use crate::aggregate::Aggregate;

    fn object(lines: &[(&str, String)]) -> Object {
        let content: String = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
        let keys = Some(Arc::new(lines.iter().map(|(key, _)| key).collect::<Binary>()));
        Object { keys, ..Object::new("a", content) }
    }

    /// The records of an entry, as a reader finds them.
    fn records(entry: &Entry) -> Vec<String> {
        let text = |data: &Bytes| String::from_utf8(data.to_vec()).expect("lines are text");
        match Aggregate::parse(&entry.data).expect("sound") {
            None => vec![text(&entry.data)],
            Some(aggregate) => aggregate.records.iter().map(|it| text(&it.data)).collect(),
        }
    }

    fn sizes(lines: &[(&str, String)], aggregates: bool) -> Vec<usize> {
        let objects = [object(lines)];
        let mut outbox = Outbox::new(&objects, 5 << 20, aggregates);
        let mut sizes = Vec::new();
        while !outbox.is_empty() {
            let request = outbox.request();
            sizes.push(request.len());
            outbox.answered(&request, |_| true);
        }
        assert_eq!(outbox.left(), 0);
        sizes
    }

    #[test]
    fn a_request_has_as_many_records_as_it_may_and_one_of_a_key() {
        let keys: Vec<String> = (0..1001).map(|i| i.to_string()).collect();
        let of = |bytes: usize, count: usize| -> Vec<(&str, String)> {
            keys[..count].iter().map(|key| (key.as_str(), "x".repeat(bytes))).collect()
        };
        assert_eq!(sizes(&of(1, 1001), false), [500, 500, 1]);
        // Five of these with their keys are 5 MiB to the byte.
        assert_eq!(sizes(&of((1 << 20) - 1, 7), false), [5, 2]);
        assert_eq!(sizes(&of(1 << 20, 7), false), [4, 3]);
        assert_eq!(sizes(&of(6 << 20, 2), false), [1, 1]);
        let one_key = vec![("k", "x".to_owned()); 7];
        assert_eq!(sizes(&one_key, false), [1; 7]);
        assert_eq!(sizes(&one_key, true), [1]);
        assert_eq!(sizes(&[], false), [0; 0]);
    }

    #[test]
    fn an_aggregate_is_of_one_key_and_a_line_that_fills_one_is_a_record() {
        let lines = [
            ("a", "1".to_owned()),
            ("b", "2".to_owned()),
            ("a", "3".to_owned()),
            ("a", "x".repeat(AGGREGATE_BYTES_MAX)),
            ("a", "4".to_owned()),
        ];
        let objects = [object(&lines)];
        let mut outbox = Outbox::new(&objects, 5 << 20, true);
        let mut sent = Vec::new();
        while !outbox.is_empty() {
            let request = outbox.request();
            sent.push(request.iter().map(|it| (it.key.clone(), records(it))).collect::<Vec<_>>());
            outbox.answered(&request, |_| true);
        }
        let entry = |key: &str, lines: &[&str]| {
            (key.to_owned(), lines.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>())
        };
        let large = lines[3].1.as_str();
        assert_eq!(
            sent,
            [
                vec![entry("a", &["1", "3"]), entry("b", &["2"])],
                vec![entry("a", &[large])],
                vec![entry("a", &["4"])],
            ]
        );
    }

    proptest! {
        /// Whatever is refused, and however often what is left is tried again: each line is taken
        /// once, and those of a key in their order.
        #[test]
        fn each_key_keeps_its_order(
            keys in proptest::collection::vec(0..6u8, 1..200),
            refusals in proptest::collection::vec(any::<bool>(), 50..400),
            aggregates: bool,
        ) {
            let names = ["a", "b", "c", "d", "e", "f"];
            let lines: Vec<(&str, String)> = keys
                .iter()
                .enumerate()
                .map(|(i, key)| (names[usize::from(*key)], format!("{i}")))
                .collect();
            let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (key, line) in &lines {
                expected.entry((*key).to_owned()).or_default().push(line.clone());
            }
            let mut arrived: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let mut refusals = refusals.into_iter();
            let mut left = vec![object(&lines[..lines.len() / 2]), object(&lines[lines.len() / 2..])];
            left.retain(|object| !object.content.is_empty());
            while !left.is_empty() {
                let mut outbox = Outbox::new(&left, 5 << 20, aggregates);
                while !outbox.is_empty() {
                    let request = outbox.request();
                    let mut seen: Vec<&str> = request.iter().map(|it| it.key.as_str()).collect();
                    seen.sort_unstable();
                    seen.dedup();
                    prop_assert_eq!(seen.len(), request.len(), "one record of a key");
                    let taken: Vec<bool> =
                        request.iter().map(|_| !refusals.next().unwrap_or(false)).collect();
                    for (entry, _) in request.iter().zip(&taken).filter(|(_, taken)| **taken) {
                        let records = records(entry);
                        arrived.entry(entry.key.clone()).or_default().extend(records);
                    }
                    outbox.answered(&request, |place| taken[place]);
                }
                left = outbox.rest();
            }
            prop_assert_eq!(arrived, expected);
        }
    }
}
