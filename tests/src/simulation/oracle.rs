//! What has to hold, whatever happens: checked at every write, and at the end.
//!
//! | | promise |
//! |---|---|
//! | I1 | a record that the producer was told was taken is delivered, dropped or a dead letter |
//! | I2 | each of these in one place, once |
//! | I3 | a checkpoint never moves back, and what is finished stays finished |
//! | I4 | only whoever has the lease moves a checkpoint, and each write moves the fence by one |
//! | I5 | a shard is taken when all before it are finished |
//! | I6 | records of a key are delivered in their order, and counted in it |
//! | I7 | whatever the checkpoint has passed is durable |
//! | I8 | the counts of every intent add up, and each range is in the ledger when it is committed |
//! | I9 | once nothing goes wrong any more, everything is done within a bounded time |
//! | I10 | the same intent makes the same bytes, and what it excludes stays excluded |
//! | I11 | a host that is fenced was fenced by another |

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use tidegate_connectors::leases::{LeaseRecord, LeaseWrite, MemoryTable};
use tidegate_core::{
    Digest,
    checkpoint::{Lease, Manifest},
    source::PartitionId,
};
use tidegate_pipeline::{Event, memory::MemorySink};
use tokio::time::Instant;

use super::{
    ledger::Ledger,
    stream::{Fate, Produced, Shard, Stream},
};

/// Knows the truth, and hears of everything.
pub(super) struct Oracle {
    stream: Stream,
    archive: MemorySink,
    letters: MemorySink,
    ledger: Ledger,
    table: OnceLock<MemoryTable>,
    started: Instant,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    violations: Vec<String>,
    trace: Vec<String>,
    /// The last intent of each range that was stored.
    intents: BTreeMap<(PartitionId, u64), Intended>,
    /// Who took each partition last, and at which counter.
    taken: BTreeMap<PartitionId, (String, u64)>,
    ranges: u64,
}

/// What an intent says that a later one of the same range has to say too.
struct Intended {
    /// Of the lease that it was stored under: hosts hear in another order than it is done in.
    counter: u64,
    generation: Digest,
    build: i64,
    end: String,
    excluded: BTreeSet<String>,
    made: Vec<String>,
}

/// Where the records of a shard are.
#[derive(Default)]
struct Places {
    delivered: BTreeMap<(String, u64), u64>,
    letters: BTreeMap<u64, u64>,
}

/// A line of an object.
struct Delivered {
    key: String,
    number: u64,
    count: u64,
}

/// What the end came to.
pub(super) struct Sum {
    pub(super) produced: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
}

impl Oracle {
    pub(super) fn new(
        stream: Stream,
        archive: MemorySink,
        letters: MemorySink,
        ledger: Ledger,
    ) -> Self {
        let (table, heard) = Default::default();
        Oracle { stream, archive, letters, ledger, table, started: Instant::now(), heard }
    }

    /// It may look at the table from here on.
    pub(super) fn sees(&self, table: MemoryTable) {
        let _ = self.table.set(table);
    }

    /// A promise was broken.
    pub(super) fn broken(&self, what: String) {
        let at = self.at();
        let mut heard = self.heard();
        heard.trace.push(format!("{at} BROKEN {what}"));
        heard.violations.push(format!("{at} {what}"));
    }

    /// Something was done to the fleet.
    pub(super) fn note(&self, what: &str) {
        let at = self.at();
        self.heard().trace.push(format!("{at} {what}"));
    }

    /// A host says what happens.
    pub(super) fn event(&self, host: &str, event: &Event) {
        let at = self.at();
        self.heard().trace.push(format!("{at} {host} {event:?}"));
    }

    /// A row was written.
    pub(super) fn wrote(&self, write: &LeaseWrite) {
        let at = self.at();
        let LeaseWrite { host, before, after } = write;
        self.heard().trace.push(format!("{at} {host} wrote {after:?}"));
        if let (Some(before), Some(after)) = (before, after) {
            self.compare(host, before, after);
        }
    }

    fn compare(&self, host: &str, before: &LeaseRecord, after: &LeaseRecord) {
        let shard = &*after.partition.0;
        let position =
            |it: &LeaseRecord| it.checkpoint.resume.as_ref().map_or(0, |it| it.position.offset());
        let (was, is) = (position(before), position(after));
        let (from, to) = (&before.checkpoint, &after.checkpoint);
        if is < was || to.next_range < from.next_range || (from.finished && !to.finished) {
            self.broken(format!("I3: {host} moved the checkpoint of {shard} from {was} to {is}"));
        }
        let may_write = before.hands_over.as_ref().or(before.owner.as_ref());
        if from != to && may_write.is_none_or(|it| it.0 != host) {
            self.broken(format!("I4: {host} moved the checkpoint of {shard} of {may_write:?}"));
        }
        if after.counter != before.counter && after.counter != before.counter + 1 {
            let (was, is) = (before.counter, after.counter);
            self.broken(format!("I4: {host} moved the fence of {shard} from {was} to {is}"));
        }
        let has = |it: &LeaseRecord| {
            it.hands_over.is_none() && it.owner.as_ref().is_some_and(|it| it.0 == host)
        };
        if has(after) && !has(before) {
            let taken = (host.to_owned(), after.counter);
            self.heard().taken.insert(after.partition.clone(), taken);
            self.was_taken(host, shard);
        }
        if to.next_range > from.next_range || (to.finished && !from.finished) {
            self.heard().ranges += u64::from(to.next_range > from.next_range);
            let row = self.ledger.row(shard, from.next_range);
            if to.next_range > from.next_range && row.is_none_or(|row| row.records != is - was) {
                let range = from.next_range;
                self.broken(format!("I8: range {range} of {shard} is in the ledger as {row:?}"));
            }
            self.committed(shard, was, is, to.finished);
        }
    }

    fn was_taken(&self, host: &str, shard: &str) {
        let leases = self.table.get().map(MemoryTable::leases).unwrap_or_default();
        let parents = self.stream.look(shard, |it| it.parents.clone()).unwrap_or_default();
        for parent in parents {
            let row = leases.iter().find(|it| *it.partition.0 == *parent);
            // A row that is gone was finished: that is checked where it is deleted.
            if row.is_some_and(|it| !it.checkpoint.finished) {
                self.broken(format!("I5: {host} took {shard} before {parent} was finished"));
            }
        }
    }

    fn committed(&self, shard: &str, from: u64, to: u64, finished: bool) {
        let Some(truth) = self.stream.look(shard, Shard::clone) else {
            return self.broken(format!("I1: there is no shard {shard}"));
        };
        if finished && (!truth.closed || to < truth.records.len() as u64) {
            let records = truth.records.len();
            self.broken(format!("I1: {shard} was finished at {to} of {records}"));
        }
        let places = self.places(shard);
        for position in from + 1..=to {
            let Some(record) = truth.records.get(position as usize - 1) else {
                return self.broken(format!("I3: the checkpoint of {shard} passed its end"));
            };
            if let Err(what) = is_right(record, position, &places) {
                self.broken(format!("I7: the checkpoint of {shard} passed {position}: {what}"));
            }
        }
    }

    /// An intent was stored.
    pub(super) fn intended(&self, lease: &Lease, manifest: &Manifest, build: i64) {
        let shard = &lease.partition;
        let range = manifest.range;
        if !manifest.counts.conserved() {
            self.broken(format!("I8: range {range} of {shard}: {:?}", manifest.counts));
        }
        let excluded = manifest.exclusions.iter().map(|it| it.position.to_string());
        let made = manifest.objects.iter().map(|it| format!("{:?}", it.digest));
        let now = Intended {
            counter: lease.counter,
            generation: manifest.generation,
            build,
            end: manifest.end.position.to_string(),
            excluded: excluded.collect(),
            made: made.collect(),
        };
        let mut heard = self.heard();
        let before = heard.intents.get(&(shard.clone(), range));
        if before.is_some_and(|it| it.counter > now.counter) {
            return;
        }
        let before = heard.intents.insert((shard.clone(), range), now);
        let now = &heard.intents[&(shard.clone(), range)];
        let what = before.and_then(|before| {
            let same = before.generation == now.generation;
            if before.end != now.end {
                Some("ends elsewhere")
            } else if same && !before.excluded.is_subset(&now.excluded) {
                Some("has back what was excluded")
            } else if same
                && before.build == now.build
                && before.excluded == now.excluded
                && before.made != now.made
            {
                Some("makes other bytes")
            } else {
                None
            }
        });
        drop(heard);
        if let Some(what) = what {
            self.broken(format!("I10: range {range} of {shard} {what}"));
        }
    }

    /// A host has heard that somebody else has a lease.
    pub(super) fn fenced(&self, lease: &Lease) {
        let last = (lease.owner.0.clone(), lease.counter);
        if self.heard().taken.get(&lease.partition) == Some(&last) {
            let (owner, shard) = (&lease.owner.0, &lease.partition);
            self.broken(format!("I11: {owner} is fenced from {shard}, which nobody else took"));
        }
    }

    /// Whether everything is done. Says what is not.
    pub(super) fn unfinished(&self) -> Option<String> {
        let leases = self.table.get().map(MemoryTable::leases).unwrap_or_default();
        self.stream.shards().into_iter().find_map(|(name, shard)| {
            let Some(row) = leases.iter().find(|it| *it.partition.0 == *name) else {
                // Forgotten by the stream, and then by the table.
                return (!shard.closed).then(|| format!("{name} has no lease"));
            };
            let done = row.checkpoint.resume.as_ref().map_or(0, |it| it.position.offset());
            let all = shard.records.len() as u64;
            let missing = done < all || row.checkpoint.finished != shard.closed;
            let closed = if shard.closed { ", closed" } else { "" };
            missing.then(|| format!("{name} is done up to {done} of {all}{closed}: {row:?}"))
        })
    }

    /// Looks at all that there is.
    pub(super) fn sum_up(&self) -> Sum {
        let mut sum = Sum { produced: 0, lost: 0, duplicated: 0 };
        let mut by_key: BTreeMap<String, Vec<Counted>> = BTreeMap::new();
        for (name, shard) in self.stream.shards() {
            let places = self.places(&name);
            for (index, record) in shard.records.iter().enumerate() {
                let position = index as u64 + 1;
                sum.produced += 1;
                let (delivered, letters) = places.of(record, position);
                sum.duplicated += u64::from(delivered + letters > 1);
                let is_nowhere = delivered + letters == 0 && record.fate != Fate::Dropped;
                sum.lost += u64::from(is_nowhere);
                if let Err(what) = is_right(record, position, &places) {
                    self.broken(format!("I1, I2: {position} of {name}: {what}"));
                }
                let counted = Counted { number: record.number, is_counted: letters == 0 };
                by_key.entry(record.key.clone()).or_default().push(counted);
            }
            self.is_in_order(&name, &shard);
        }
        self.are_counted(by_key);
        sum
    }

    /// I6: within a shard the records of a key lie in its objects as they lie in it.
    fn is_in_order(&self, name: &str, shard: &Shard) {
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for line in self.lines(name) {
            let known = shard.records.iter().any(|it| it.key == line.key);
            let before = last.insert(line.key.clone(), line.number);
            if !known || before.is_some_and(|it| it >= line.number) {
                let Delivered { key, number, .. } = line;
                self.broken(format!("I6: {key} {number} is out of order in {name}"));
            }
        }
    }

    /// I6: the count of a record is how many of its key came before it and were counted.
    fn are_counted(&self, by_key: BTreeMap<String, Vec<Counted>>) {
        let mut expected: BTreeMap<(String, u64), u64> = BTreeMap::new();
        for (key, mut records) in by_key {
            records.sort_by_key(|it| it.number);
            let mut count = 0;
            for record in records {
                count += u64::from(record.is_counted);
                expected.insert((key.clone(), record.number), count);
            }
        }
        for line in self.lines("") {
            let Delivered { key, number, count } = line;
            let right = expected.get(&(key.clone(), number)).copied();
            if right != Some(count) {
                self.broken(format!("I6: {key} {number} is counted as {count}, not {right:?}"));
            }
        }
    }

    pub(super) fn told(&self) -> (Vec<String>, Vec<String>, u64) {
        let mut heard = self.heard();
        let Heard { violations, trace, ranges, .. } = std::mem::take(&mut *heard);
        (violations, trace, ranges)
    }

    fn places(&self, shard: &str) -> Places {
        let mut places = Places::default();
        for line in self.lines(shard) {
            *places.delivered.entry((line.key, line.number)).or_default() += 1;
        }
        let of_shard = format!("{shard}-");
        for (key, content) in self.letters.objects() {
            if !key.starts_with(&of_shard) {
                continue;
            }
            for line in lines_of(&content) {
                let position = line["etl"]["position"].as_str().and_then(|it| it.parse().ok());
                *places.letters.entry(position.unwrap_or_default()).or_default() += 1;
            }
        }
        places
    }

    /// The lines of a shard's objects, or of all of them.
    fn lines(&self, shard: &str) -> Vec<Delivered> {
        let of_shard = if shard.is_empty() { String::new() } else { format!("{shard}-") };
        let mut lines = Vec::new();
        for (key, content) in self.archive.objects() {
            if key.starts_with(&of_shard) {
                lines.extend(lines_of(&content).map(|line| Delivered {
                    key: line["key"].as_str().unwrap_or_default().to_owned(),
                    number: line["number"].as_u64().unwrap_or(u64::MAX),
                    count: line["count"].as_u64().unwrap_or(u64::MAX),
                }));
            }
        }
        lines
    }

    fn at(&self) -> String {
        format!("{:9.3}s", self.started.elapsed().as_secs_f64())
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        // Nothing in it is ever half changed.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A record among those of its key.
struct Counted {
    number: u64,
    is_counted: bool,
}

impl Places {
    /// How often a record was delivered, and how often it is a dead letter.
    fn of(&self, record: &Produced, position: u64) -> (u64, u64) {
        let id = (record.key.clone(), record.number);
        let delivered = self.delivered.get(&id).copied().unwrap_or_default();
        (delivered, self.letters.get(&position).copied().unwrap_or_default())
    }
}

/// Whether a record that is done is where it belongs.
fn is_right(record: &Produced, position: u64, places: &Places) -> Result<(), String> {
    let found = places.of(record, position);
    let right = match record.fate {
        Fate::Good => found == (1, 0),
        Fate::Dropped => found == (0, 0),
        Fate::Poison | Fate::Torn => found == (0, 1),
        Fate::Slow => found == (1, 0) || found == (0, 1),
    };
    let Produced { key, number, fate } = record;
    let (delivered, letters) = found;
    right.then_some(()).ok_or_else(|| {
        format!(
            "{key} {number} ({fate:?}) was delivered {delivered} times, a dead letter {letters}"
        )
    })
}

fn lines_of(content: &[u8]) -> impl Iterator<Item = serde_json::Value> {
    let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    // A line that is no JSON is no record, and is missed where it should be one.
    lines.map(|line| serde_json::from_slice(line).unwrap_or_default())
}
