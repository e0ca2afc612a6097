//! What is noted of shards in the data directory: when each was first seen, and where it begins.
//!
//! `latest` means what is new from now on, and now is when a shard is first seen, not when its first
//! range is committed. So the time is written down before anything is read: a process that is killed
//! in between goes on from there. A shard that appears later is read from its beginning, whatever
//! the config says: its first records are what its parents' keys were written next.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};
use tidegate_core::{Position, Timestamp, source::PartitionId};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// When it was first seen, by the server's clock.
    pub(super) seen: Timestamp,
    pub(super) begins: Beginning,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) quiet: Option<Quiet>,
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

    /// Notes shards that were never seen. Says whether there were any.
    pub(super) fn see<'a>(
        &mut self,
        shards: impl Iterator<Item = &'a PartitionId>,
        now: Timestamp,
        begins: Beginning,
    ) -> bool {
        let before = self.shards.len();
        for shard in shards {
            self.shards.entry(shard.clone()).or_insert(Note { seen: now, begins, quiet: None });
        }
        self.shards.len() > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(names: &[&str]) -> Vec<PartitionId> {
        names.iter().map(|name| PartitionId::from(*name)).collect()
    }

    #[test]
    fn a_shard_keeps_where_it_began() {
        let directory = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(Notes::load(directory.path()).expect("readable"), None);
        let (now, later) = (Timestamp(1_000), Timestamp(2_000));
        let mut notes =
            Notes { stream: "events".to_owned(), created: Timestamp(7), ..Notes::default() };
        assert!(notes.see(shards(&["a", "b"]).iter(), now, Beginning::At(now)));
        notes.save(directory.path()).expect("there is room");

        let mut again = Notes::load(directory.path()).expect("readable").expect("it was saved");
        assert_eq!(again, notes);
        assert!(!again.see(shards(&["a", "b"]).iter(), later, Beginning::TrimHorizon));
        assert!(again.see(shards(&["a", "b", "c"]).iter(), later, Beginning::TrimHorizon));
        again.save(directory.path()).expect("there is room");
        let found = Notes::load(directory.path()).expect("readable").expect("it was saved").shards;
        let of_first = Note { seen: now, begins: Beginning::At(now), quiet: None };
        let of_later = Note { seen: later, begins: Beginning::TrimHorizon, quiet: None };
        let ids = shards(&["a", "b", "c"]);
        let expected = ids.into_iter().zip([of_first, of_first, of_later]).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_quiet_time_counts_for_the_record_that_it_is_behind() {
        let position = |offset| Some((Position::from_offset(offset), Timestamp(500)));
        let quiet = |after| Some(Quiet { after, until: Timestamp(900) });
        let note = |quiet| Note { seen: Timestamp(100), begins: Beginning::TrimHorizon, quiet };
        assert_eq!(note(None).done_until(None), Timestamp(100));
        assert_eq!(note(None).done_until(position(7)), Timestamp(500));
        assert_eq!(note(quiet(None)).done_until(None), Timestamp(900));
        let behind = quiet(Some(Position::from_offset(7)));
        assert_eq!(note(behind).done_until(position(7)), Timestamp(900));
        assert_eq!(note(behind).done_until(position(6)), Timestamp(500), "7 was not committed");
        assert_eq!(note(behind).done_until(None), Timestamp(100));
    }

    #[test]
    fn a_file_that_is_no_note_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().expect("a temporary folder");
        fs::write(directory.path().join(FILE), b"{\"stream\":").expect("there is room");
        let error = Notes::load(directory.path()).expect_err("it is cut off");
        assert!(error.to_string().contains(FILE), "{error}");
    }
}
