//! The objects of a destination: rows are appended to the object of their directory, which is
//! closed when it is full and named after the range.
//!
//! Rows wait as plain bytes, and each object is compressed in one piece, by an encoder of its own,
//! when it is closed: at most one encoder's tables are in memory, however wide the tree is. Rows of
//! files of columns wait as columns, and are encoded a row group at a time.

use std::{io::Write, sync::Arc};

use bytes::Bytes;
use hashbrown::HashTable;
use tidegate_core::{
    Binary, Column, ObjectDigest,
    parquet::{self, Room},
    sink::{Object, Provenance},
};

use super::{
    buffers::Buffers,
    rows::{Content, Rows},
    tree::{ObjectName, TreePlan},
};
use crate::{
    plan::Compression,
    process::{ProcessError, RangeObject},
};

/// What is the same for all objects of a destination in a range.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    /// The destination's place in the plan.
    pub(crate) destination: usize,
    pub(crate) provenance: Arc<Provenance>,
    pub(crate) slug: String,
    pub(crate) range: u64,
    pub(crate) revision: u32,
    pub(crate) compression: Compression,
    /// The columns, where objects are files of such and no lines.
    pub(crate) schema: Option<Arc<parquet::Schema>>,
    pub(crate) part_records_max: u64,
    pub(crate) part_bytes_max: u64,
    pub(crate) buffers: Buffers,
}

/// The objects of one destination.
#[derive(Debug)]
pub(crate) struct Objects {
    naming: Naming,
    /// In the order in which rows turned up for them.
    leaves: Vec<Leaf>,
    /// Fingerprints of directories, to places in `leaves`.
    by_fingerprint: HashTable<usize>,
    fingerprint: Vec<u8>,
    closed: Vec<RangeObject>,
    /// Bytes in open and closed objects.
    bytes: usize,
}

/// A directory's open object.
#[derive(Debug)]
pub(crate) struct Leaf {
    fingerprint: Box<[u8]>,
    directory: String,
    part: u32,
    records: u64,
    /// The open object's rows.
    rows: Rows,
    /// The partition keys of its rows, where the destination wants them.
    keys: Binary,
    /// The open object, where it is a file of columns.
    table: Option<Box<parquet::Writer>>,
}

impl Objects {
    pub(crate) fn new(naming: Naming) -> Self {
        Objects {
            naming,
            leaves: Vec::new(),
            by_fingerprint: HashTable::new(),
            fingerprint: Vec::new(),
            closed: Vec::new(),
            bytes: 0,
        }
    }

    /// The place of the leaf that a row belongs to.
    pub(crate) fn leaf(&mut self, tree: &TreePlan, columns: &[&Column], row: usize) -> usize {
        if tree.is_flat() && !self.leaves.is_empty() {
            return 0;
        }
        self.fingerprint.clear();
        tree.fingerprint(columns, row, &mut self.fingerprint);
        let hash = xxhash_rust::xxh3::xxh3_64(&self.fingerprint);
        let found = self
            .by_fingerprint
            .find(hash, |leaf| *self.leaves[*leaf].fingerprint == *self.fingerprint);
        if let Some(leaf) = found {
            return *leaf;
        }
        self.new_leaf(hash, || tree.directory(columns, row))
    }

    /// The place of the only leaf of a destination without directories.
    pub(crate) fn only_leaf(&mut self) -> usize {
        if self.leaves.is_empty() { self.new_leaf(0, String::new) } else { 0 }
    }

    #[cold]
    fn new_leaf(&mut self, hash: u64, directory: impl FnOnce() -> String) -> usize {
        let directory = directory();
        // Values that are told apart may still share a directory: `5` and `"5"`.
        let known = self.leaves.iter().position(|leaf| leaf.directory == directory);
        let place = known.unwrap_or(self.leaves.len());
        let fingerprint: Box<[u8]> = self.fingerprint.as_slice().into();
        if known.is_some() {
            // Found by its directory again, as rare as it is, rather than by a second fingerprint.
            return place;
        }
        let (rows, keys) = (Rows::default(), Binary::default());
        let leaf = Leaf { fingerprint, directory, part: 0, records: 0, rows, keys, table: None };
        self.leaves.push(leaf);
        let leaves = &self.leaves;
        self.by_fingerprint.insert_unique(hash, place, |leaf| {
            xxhash_rust::xxh3::xxh3_64(&leaves[*leaf].fingerprint)
        });
        place
    }

    /// The last rows of a leaf's open object, to append one to.
    pub(crate) fn rows(&mut self, leaf: usize) -> &mut Vec<u8> {
        &mut self.leaves[leaf].rows.last
    }

    /// Notes the partition key of the row that is about to be counted.
    pub(crate) fn push_key(&mut self, leaf: usize, key: &[u8]) {
        self.leaves[leaf].keys.push(key);
        self.bytes += key.len() + size_of::<u32>();
    }

    /// Counts a row that was appended to a leaf and began at `start`, and closes the leaf's object
    /// if that filled it.
    pub(crate) fn appended(&mut self, leaf: usize, start: usize) -> Result<(), ProcessError> {
        let open = &mut self.leaves[leaf];
        open.records += 1;
        self.bytes += open.rows.last.len() - start;
        let Naming { destination, buffers, .. } = &self.naming;
        open.rows.settle(|| buffers.take(*destination));
        if open.records >= self.naming.part_records_max
            || (open.rows.len() + open.keys.bytes.len()) as u64 >= self.naming.part_bytes_max
        {
            self.close(leaf)?;
        }
        Ok(())
    }

    /// Appends rows of columns to a leaf, and closes its objects as they fill.
    pub(crate) fn append_columns(
        &mut self,
        leaf: usize,
        schema: &Arc<parquet::Schema>,
        columns: &[&Column],
        mut rows: &[u32],
    ) -> Result<(), ProcessError> {
        let Naming { part_records_max, part_bytes_max, .. } = self.naming;
        while !rows.is_empty() {
            let open = &mut self.leaves[leaf];
            let new = || Box::new(parquet::Writer::new(Arc::clone(schema)));
            let table = open.table.get_or_insert_with(new);
            let held = table.held_bytes();
            let room = Room {
                rows: part_records_max.saturating_sub(open.records),
                bytes: part_bytes_max.saturating_sub(table.pushed_bytes()),
            };
            let taken = table.push(columns, rows, room);
            let taken = match taken {
                Ok(taken) => taken,
                Err(source) => return Err(ProcessError::Encode { key: self.key(leaf), source }),
            };
            rows = &rows[taken..];
            open.records += taken as u64;
            self.bytes = self.bytes - held + table.held_bytes();
            if open.records >= part_records_max || table.pushed_bytes() >= part_bytes_max {
                self.close(leaf)?;
            }
        }
        Ok(())
    }

    /// Finishes the open object of a leaf.
    fn close(&mut self, leaf: usize) -> Result<(), ProcessError> {
        let key = self.key(leaf);
        let Leaf { rows, table, .. } = &mut self.leaves[leaf];
        let Naming { compression, .. } = &self.naming;
        if let Some(table) = table.take() {
            self.bytes -= table.held_bytes();
            let content = table.finish();
            let content =
                content.map_err(|source| ProcessError::Encode { key: key.clone(), source })?;
            let digest = ObjectDigest::of(&content);
            self.push_closed(leaf, key, Content::Bytes(content), digest);
            return Ok(());
        }
        self.bytes -= rows.len();
        let Naming { destination, buffers, .. } = &self.naming;
        buffers.note(*destination, rows.len());
        let (content, digest) = std::mem::take(rows).finish();
        let (content, digest) = match compression {
            Compression::None => (content, digest),
            compression => {
                let compressed = compress(content.as_ref(), *compression)
                    .map_err(|source| ProcessError::Encode { key: key.clone(), source })?;
                drop(buffers.lend(content));
                let digest = ObjectDigest::of(&compressed);
                (Content::Bytes(compressed), digest)
            }
        };
        self.push_closed(leaf, key, content, digest);
        Ok(())
    }

    /// The name of a leaf's open object.
    fn key(&self, leaf: usize) -> String {
        let Leaf { directory, part, .. } = &self.leaves[leaf];
        let Naming { slug, range, revision, compression, schema, .. } = &self.naming;
        let extension = match schema {
            Some(_) => parquet::EXTENSION,
            None => compression.extension(),
        };
        let name = ObjectName { slug, range: *range, revision: *revision, part: *part, extension };
        format!("{directory}{name}")
    }

    fn push_closed(&mut self, leaf: usize, key: String, content: Content, digest: ObjectDigest) {
        let Leaf { records, part, keys, .. } = &mut self.leaves[leaf];
        self.bytes += content.as_ref().len();
        let keys = (!keys.is_empty()).then(|| Arc::new(std::mem::take(keys)));
        let records = std::mem::take(records);
        *part += 1;
        let provenance = Some(self.naming.provenance.clone());
        let content = self.naming.buffers.lend(content);
        let object = Object { key, content, digest, provenance, keys };
        self.closed.push(RangeObject { destination: self.naming.destination, records, object });
    }

    /// How many bytes are held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many objects are open.
    pub(crate) fn open(&self) -> usize {
        self.leaves.iter().filter(|leaf| leaf.records > 0).count()
    }

    /// Closes everything: objects by directory, then in position order.
    pub(crate) fn finish(mut self) -> Result<Vec<RangeObject>, ProcessError> {
        for leaf in 0..self.leaves.len() {
            if self.leaves[leaf].records > 0 {
                self.close(leaf)?;
            }
        }
        self.closed.sort_by(|a, b| a.object.key.cmp(&b.object.key));
        Ok(self.closed)
    }
}

/// One whole object, by an encoder of its own: nothing in it depends on another object, on the
/// clock or on how its rows arrived.
fn compress(rows: &[u8], compression: Compression) -> std::io::Result<Vec<u8>> {
    match compression {
        Compression::None => Ok(rows.to_vec()),
        Compression::Gzip { level } => {
            let level = flate2::Compression::new(level.min(9));
            // 255: an unknown operating system, so that all systems write the same header.
            let mut encoder =
                flate2::GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), level);
            encoder.write_all(rows)?;
            encoder.finish()
        }
        Compression::Zstd { level } => {
            let mut compressor = zstd::bulk::Compressor::new(level)?;
            compressor.include_checksum(true)?;
            compressor.compress(rows)
        }
    }
}

/// What [`compress`] was given, once more.
pub(crate) fn plain(content: &Bytes, compression: Compression) -> std::io::Result<Bytes> {
    let mut rows = Vec::new();
    match compression {
        Compression::None => return Ok(content.clone()),
        Compression::Gzip { .. } => {
            std::io::copy(&mut flate2::read::GzDecoder::new(&content[..]), &mut rows)?;
        }
        Compression::Zstd { .. } => zstd::stream::copy_decode(&content[..], &mut rows)?,
    }
    Ok(rows.into())
}

#[cfg(test)]
mod tests {

    use tidegate_core::{Digest, source::PartitionId};

    use super::*;
    use crate::encode::Tree;

    fn objects(compression: Compression, part_records_max: u64) -> Objects {
        Objects::new(Naming {
            destination: 3,
            provenance: Arc::new(Provenance {
                pipeline: "p".to_owned(),
                generation: Digest::of(b"plan"),
                partition: PartitionId::from("events"),
                range: 7,
                revision: 2,
            }),
            slug: slug_of_test(),
            range: 7,
            revision: 2,
            compression,
            schema: None,
            part_records_max,
            part_bytes_max: 1 << 20,
            buffers: Buffers::default(),
        })
    }

    fn slug_of_test() -> String {
        "events".to_owned()
    }

    #[test]
    fn keys_go_with_their_rows_and_are_held_like_them() {
        let mut objects = objects(Compression::None, 2);
        for (row, key) in [("a\n", "k1"), ("b\n", "k2"), ("c\n", "k1")] {
            let leaf = objects.only_leaf();
            let start = objects.rows(leaf).len();
            objects.rows(leaf).extend_from_slice(row.as_bytes());
            objects.push_key(leaf, key.as_bytes());
            objects.appended(leaf, start).expect("memory does not fail");
        }
        assert_eq!(objects.bytes(), 3 * (2 + 2 + 4));
        let made = objects.finish().expect("memory does not fail");
        let keys: Vec<_> = made.into_iter().map(|made| made.object.keys).collect();
        let binary = |keys: &[&str]| Some(Arc::new(keys.iter().collect::<Binary>()));
        assert_eq!(keys, [binary(&["k1", "k2"]), binary(&["k1"])]);
    }

    fn append(objects: &mut Objects, row: &str) {
        let tree = Tree::default().resolve(|_, _| 0);
        let leaf = objects.leaf(&tree, &[], 0);
        let start = objects.rows(leaf).len();
        objects.rows(leaf).extend_from_slice(row.as_bytes());
        objects.appended(leaf, start).expect("memory does not fail");
    }

    #[test]
    fn a_full_object_is_followed_by_the_next_part() {
        let mut objects = objects(Compression::None, 2);
        for row in ["a\n", "b\n", "c\n"] {
            append(&mut objects, row);
        }
        assert_eq!((objects.open(), objects.bytes()), (1, 6));
        let made = objects.finish().expect("memory does not fail");
        let made: Vec<_> = made
            .iter()
            .map(|made| {
                (made.destination, made.records, made.object.key.as_str(), &made.object.content[..])
            })
            .collect();
        assert_eq!(
            made,
            [
                (3, 2, "events-00000007-r2-0000.jsonl", &b"a\nb\n"[..]),
                (3, 1, "events-00000007-r2-0001.jsonl", &b"c\n"[..]),
            ]
        );
    }

    #[test]
    fn compressed_objects_hold_what_was_written_and_are_the_same_each_time() {
        for compression in [Compression::Gzip { level: 6 }, Compression::Zstd { level: 3 }] {
            let make = || {
                let mut objects = objects(compression, 10_000);
                (0..1000).for_each(|i| append(&mut objects, &format!("row {i}\n")));
                objects.finish().expect("memory does not fail").remove(0).object
            };
            let (one, other) = (make(), make());
            assert_eq!(one.content, other.content);
            assert_eq!(one.digest, ObjectDigest::of(&one.content));
            if let Compression::Gzip { .. } = compression {
                assert_eq!(one.content[4..8], [0; 4], "a time in the header");
            }
            let plain = plain(&one.content, compression).expect("it can be read");
            assert_eq!(plain, (0..1000).map(|i| format!("row {i}\n")).collect::<String>());
        }
    }
}
