//! What is noted of shards, in the data directory or where all hosts see it: when each was first seen,
//! and where it begins.
//!
//! `latest` means what is new from now on, and now is when a shard is first seen, not when its first
//! range is committed. So the time is written down before anything is read: a process that is killed
//! in between goes on from there. A shard that appears later is read from its beginning, whatever
//! the config says: its first records are what its parents' keys were written next.
//!
//! A shard stays noted until it was read to its end. So one that the stream drops before that is
//! missed, and its children still wait for it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Position, Timestamp,
    checkpoint::StoreError,
    source::{Partition, PartitionId},
};

/// The file in the data directory.
const FILE: &str = "kinesis.json";

/// Where a shard begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Beginning {
    /// With the oldest record that there is.
    TrimHorizon,
    /// With the first record that arrived at this time or later.
    At(Timestamp),
}

/// What is noted of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// When it was first seen, by the server's clock.
    pub(super) seen: Timestamp,
    pub(super) begins: Beginning,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) quiet: Option<Quiet>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) parents: Vec<PartitionId>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "hash_range")]
    pub(super) hash_range: Option<(u128, u128)>,
}

/// Nothing arrived in a shard for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Quiet {
    /// Behind this record; none where nothing was ever read.
    pub(super) after: Option<Position>,
    /// Up to this time.
    pub(super) until: Timestamp,
}

impl Note {
    fn begins_anew(&mut self, at: Option<Timestamp>, now: Timestamp) {
        self.begins = at.map_or(Beginning::TrimHorizon, Beginning::At);
        // What was dropped before is not asked for.
        self.seen = now;
        self.quiet = None;
    }

    /// Up to when there is nothing that was not read, where everything up to a record was, which
    /// arrived at some time.
    pub(super) fn done_until(&self, last: Option<(Position, Timestamp)>) -> Timestamp {
        let arrived = last.map_or(self.seen, |(_, arrival)| arrival);
        let quiet = self.quiet.filter(|it| it.after == last.map(|(position, _)| position));
        quiet.map_or(arrived, |it| it.until.max(arrived))
    }
}

/// The notes of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notes {
    /// Which stream: another one may have the same name later.
    pub(super) stream: String,
    /// When it was created.
    pub(super) created: Timestamp,
    pub(super) shards: BTreeMap<PartitionId, Note>,
}

impl Notes {
    /// What was noted; none where nothing was. Blocks.
    pub(super) fn load(directory: &Path) -> io::Result<Option<Notes>> {
        let path = directory.join(FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let notes = serde_json::from_slice(&text);
        notes.map(Some).map_err(|error| {
            let message = format!("`{}` is not what was written there: {error}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        })
    }

    /// Writes them down, durably: all of them or none. Blocks.
    pub(super) fn save(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let path = directory.join(FILE);
        let new = directory.join(format!("{FILE}.new"));
        let mut file = File::create(&new)?;
        serde_json::to_writer(&mut file, self)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(directory)?.sync_all()
    }

    /// Notes a shard, if it was never seen.
    pub(super) fn see(&mut self, shard: &Partition, now: Timestamp, begins: Beginning) {
        self.shards.entry(shard.id.clone()).or_insert_with(|| Note {
            seen: now,
            begins,
            quiet: None,
            parents: shard.parents.clone(),
            hash_range: shard.hash_range,
        });
    }
}

/// Keeps notes where all hosts of a fleet see them, one for each shard, which the source alone reads.
#[async_trait]
pub trait ShardNotes: Send + Sync + std::fmt::Debug {
    /// All shards that are known.
    async fn load(&self) -> Result<Vec<NotedShard>, StoreError>;

    /// Notes a shard, unless somebody else has. Says whether it was done.
    async fn add(&self, shard: &Partition, note: &str) -> Result<bool, StoreError>;

    /// Replaces what is noted of a shard, by whoever reads it.
    async fn replace(&self, id: &PartitionId, note: &str) -> Result<(), StoreError>;
}

/// A shard that some host has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedShard {
    /// Which.
    pub id: PartitionId,
    /// What is noted of it; none where another program has put it there.
    pub note: Option<String>,
    /// It was read to its end.
    pub finished: bool,
}

/// A note of one shard, with the stream that it is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SharedNote {
    pub(super) created: Timestamp,
    #[serde(flatten)]
    pub(super) note: Note,
}

/// Where a shard begins that nobody has noted yet, beside those that are noted. What a host writes
/// when a stream is first seen goes from the youngest shard to the oldest. So one whose parents are
/// noted has appeared since then, and is read from its beginning; one whose parents are not was there
/// before, and whoever was to note it was stopped.
pub(super) fn begins_beside(
    noted: &[NotedShard],
    notes: &Notes,
    shard: &Partition,
    first: Beginning,
) -> Beginning {
    if noted.is_empty() {
        return first;
    }
    if shard.parents.iter().any(|parent| noted.iter().any(|it| it.id == *parent)) {
        return Beginning::TrimHorizon;
    }
    let times = notes.shards.values().filter_map(|note| match note.begins {
        Beginning::At(time) => Some(time),
        Beginning::TrimHorizon => None,
    });
    times.min().map_or(Beginning::TrimHorizon, Beginning::At)
}

/// Lets shards that a directory has notes of begin elsewhere, from a time on or with the oldest record
/// that there is. Says whether all of them are noted there; else nothing is done. Blocks.
pub fn begin_anew(
    directory: &Path,
    shards: &[PartitionId],
    at: Option<Timestamp>,
    now: Timestamp,
) -> io::Result<bool> {
    let Some(mut notes) = Notes::load(directory)? else { return Ok(false) };
    for id in shards {
        let Some(note) = notes.shards.get_mut(id) else { return Ok(false) };
        note.begins_anew(at, now);
    }
    notes.save(directory)?;
    Ok(true)
}

/// The same of one note that all hosts see; none where it is none.
pub fn note_anew(note: &str, at: Option<Timestamp>, now: Timestamp) -> Option<String> {
    let mut note: SharedNote = serde_json::from_str(note).ok()?;
    note.note.begins_anew(at, now);
    serde_json::to_string(&note).ok()
}

/// Two 128-bit numbers as decimal text, as Kinesis writes them: JSON numbers don't hold them.
mod hash_range {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        range: &Option<(u128, u128)>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        range.map(|(start, end)| (start.to_string(), end.to_string())).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<(u128, u128)>, D::Error> {
        let Some((start, end)) = Option::<(String, String)>::deserialize(deserializer)? else {
            return Ok(None);
        };
        let number = |text: String| text.parse().map_err(D::Error::custom);
        Ok(Some((number(start)?, number(end)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(name: &str) -> Partition {
        let hash_range = Some((7, u128::MAX));
        Partition { id: PartitionId::from(name), parents: vec!["p".into()], hash_range }
    }

    #[test]
    fn a_shard_keeps_where_it_began() {
        let directory = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(Notes::load(directory.path()).expect("readable"), None);
        let (now, later) = (Timestamp(1_000), Timestamp(2_000));
        let mut notes =
            Notes { stream: "events".to_owned(), created: Timestamp(7), ..Notes::default() };
        notes.see(&shard("a"), now, Beginning::At(now));
        notes.save(directory.path()).expect("there is room");

        let mut again = Notes::load(directory.path()).expect("readable").expect("it was saved");
        assert_eq!(again, notes);
        for name in ["a", "b"] {
            again.see(&shard(name), later, Beginning::TrimHorizon);
        }
        again.save(directory.path()).expect("there is room");
        let found = Notes::load(directory.path()).expect("readable").expect("it was saved").shards;
        let note = |seen, begins| {
            let Partition { parents, hash_range, .. } = shard("");
            Note { seen, begins, quiet: None, parents, hash_range }
        };
        let expected = [
            (shard("a").id, note(now, Beginning::At(now))),
            (shard("b").id, note(later, Beginning::TrimHorizon)),
        ];
        assert_eq!(found, expected.into());
    }

    #[test]
    fn a_quiet_time_counts_for_the_record_that_it_is_behind() {
        let position = |offset| Some((Position::from_offset(offset), Timestamp(500)));
        let quiet = |after| Some(Quiet { after, until: Timestamp(900) });
        let note = |quiet| Note {
            seen: Timestamp(100),
            begins: Beginning::TrimHorizon,
            quiet,
            parents: Vec::new(),
            hash_range: None,
        };
        assert_eq!(note(None).done_until(None), Timestamp(100));
        assert_eq!(note(None).done_until(position(7)), Timestamp(500));
        assert_eq!(note(quiet(None)).done_until(None), Timestamp(900));
        let behind = quiet(Some(Position::from_offset(7)));
        assert_eq!(note(behind).done_until(position(7)), Timestamp(900));
        assert_eq!(note(behind).done_until(position(6)), Timestamp(500), "7 was not committed");
        assert_eq!(note(behind).done_until(None), Timestamp(100));
    }

    #[test]
    fn a_shard_that_appears_begins_at_its_beginning_and_one_that_was_overlooked_where_it_would_have()
     {
        let noted = |names: &[&str]| -> Vec<NotedShard> {
            let one = |name: &&str| NotedShard { id: (*name).into(), note: None, finished: false };
            names.iter().map(one).collect()
        };
        let mut notes = Notes::default();
        notes.see(&shard("b"), Timestamp(9), Beginning::At(Timestamp(7)));
        let first = Beginning::At(Timestamp(50));
        // Its parent is `p`.
        let begins = |names: &[&str]| begins_beside(&noted(names), &notes, &shard("a"), first);
        assert_eq!(begins(&[]), first, "nobody has seen the stream");
        assert_eq!(begins(&["b"]), Beginning::At(Timestamp(7)), "as the others of the first look");
        assert_eq!(begins(&["b", "p"]), Beginning::TrimHorizon, "it appeared since");
        let older = begins_beside(&noted(&["x"]), &Notes::default(), &shard("a"), first);
        assert_eq!(older, Beginning::TrimHorizon, "another program has read the stream");
    }

    #[test]
    fn a_file_that_is_no_note_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().expect("a temporary folder");
        fs::write(directory.path().join(FILE), b"{\"stream\":").expect("there is room");
        let error = Notes::load(directory.path()).expect_err("it is cut off");
        assert!(error.to_string().contains(FILE), "{error}");
    }
}
