//! From keys to rows: an index of row numbers by the hash of the key.
//!
//! A slot is a row's number and one byte of its hash. A key is compared where it stands, in the
//! table's columns. With a load of half to seven eighths that is 6 to 10 bytes a row, whatever the
//! key is made of.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::NO_ROW;
use crate::column::{Column, Values};

/// Rows by the hash of their key.
pub(super) struct Index(HashTable<u32>);

/// Where each key of a batch was found. Keeps its memory from batch to batch.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    rows: Vec<u32>,
    hashes: Vec<u64>,
    misses: usize,
}

impl Matches {
    /// Whether the key of a row of the batch was found.
    pub fn is_hit(&self, row: usize) -> bool {
        self.rows[row] != NO_ROW
    }

    /// How many keys were not found, those without a value included.
    pub fn misses(&self) -> usize {
        self.misses
    }

    pub(super) fn rows(&self) -> &[u32] {
        &self.rows
    }
}

impl Index {
    /// An index with room for so many rows, so that it never grows.
    pub(super) fn with_capacity(rows: usize) -> Self {
        Index(HashTable::with_capacity(rows))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.allocation_size()
    }

    /// Enters a row of some columns, with the hash of its key; or gives the row that has the key
    /// already.
    pub(super) fn enter(&mut self, columns: &[&Column], row: u32, hash: u64) -> Option<&mut u32> {
        let same = |known: &u32| same_key(columns, *known as usize, columns, row as usize);
        let rehash = |row: &u32| hash_of(columns, *row as usize);
        match self.0.entry(hash, same, rehash) {
            hashbrown::hash_table::Entry::Occupied(known) => Some(known.into_mut()),
            hashbrown::hash_table::Entry::Vacant(free) => {
                free.insert(row);
                None
            }
        }
    }

    /// Finds the keys of a batch.
    pub(super) fn find(
        &self,
        columns: &[&Column],
        key: &[&Column],
        rows: usize,
        into: &mut Matches,
    ) {
        let Matches { rows: found, hashes, misses } = into;
        found.clear();
        hash(key, 0..rows, hashes);
        // What is hashed and compared is settled once a batch, not once a row.
        match (columns, key) {
            ([column], [key]) => match (&column.values, &key.values) {
                (Values::Int64(of_table), Values::Int64(values))
                | (Values::Timestamp(of_table), Values::Timestamp(values)) => {
                    self.probe(hashes, found, |known, row| of_table[known] == values[row]);
                }
                (Values::Utf8(of_table), Values::Utf8(values)) => {
                    self.probe(hashes, found, |known, row| of_table.get(known) == values.get(row));
                }
                _ => self.probe(hashes, found, |known, row| same(column, known, key, row)),
            },
            _ => self.probe(hashes, found, |known, row| same_key(columns, known, key, row)),
        }
        // A row whose key is incomplete has an arbitrary value in its place.
        for part in key.iter().filter(|part| !part.presence.is_empty()) {
            for (row, presence) in found.iter_mut().zip(&part.presence) {
                *row |= if *presence == 0 { 0 } else { NO_ROW };
            }
        }
        *misses = found.iter().filter(|row| **row == NO_ROW).count();
    }

    #[inline]
    fn probe(&self, hashes: &[u64], found: &mut Vec<u32>, same: impl Fn(usize, usize) -> bool) {
        found.extend(hashes.iter().enumerate().map(|(row, hash)| {
            let known = self.0.find(*hash, |known| same(*known as usize, row));
            known.copied().unwrap_or(NO_ROW)
        }));
    }
}

/// Hashes some rows of a key: a hash a row, each part's seeded with that of the part before.
///
/// The function is no secret and need not be one: what is entered is the operator's own.
pub(super) fn hash(key: &[&Column], rows: std::ops::Range<usize>, into: &mut Vec<u64>) {
    into.clear();
    into.resize(rows.len(), 0);
    for part in key {
        let rows = rows.clone();
        match &part.values {
            Values::Boolean(values) => mix(into, values[rows].iter().map(|it| [*it])),
            Values::Int64(values) | Values::Timestamp(values) => {
                mix(into, values[rows].iter().map(|it| it.to_le_bytes()));
            }
            Values::Date(values) => mix(into, values[rows].iter().map(|it| it.to_le_bytes())),
            Values::Float64(values) => {
                mix(into, values[rows].iter().map(|it| it.to_bits().to_le_bytes()));
            }
            Values::Enumeration(values) => {
                mix(into, values[rows].iter().map(|it| it.to_le_bytes()));
            }
            Values::Utf8(values) | Values::Json(values) => {
                mix(into, rows.map(|row| values.get(row)));
            }
        }
    }
}

fn mix<T: AsRef<[u8]>>(hashes: &mut [u64], parts: impl Iterator<Item = T>) {
    for (hash, part) in hashes.iter_mut().zip(parts) {
        *hash = xxh3_64_with_seed(part.as_ref(), *hash);
    }
}

fn hash_of(key: &[&Column], row: usize) -> u64 {
    let mut one = Vec::with_capacity(1);
    hash(key, row..row + 1, &mut one);
    one[0]
}

fn same_key(a: &[&Column], i: usize, b: &[&Column], j: usize) -> bool {
    a.iter().zip(b).all(|(a, b)| same(a, i, b, j))
}

/// Whether two values are the same.
///
/// # Panics
/// When the columns are of different kinds: then no key would ever be found, and nobody would know.
#[inline]
fn same(a: &Column, i: usize, b: &Column, j: usize) -> bool {
    match (&a.values, &b.values) {
        (Values::Boolean(a), Values::Boolean(b)) => a[i] == b[j],
        (Values::Int64(a), Values::Int64(b)) | (Values::Timestamp(a), Values::Timestamp(b)) => {
            a[i] == b[j]
        }
        (Values::Date(a), Values::Date(b)) => a[i] == b[j],
        (Values::Utf8(a), Values::Utf8(b)) => a.get(i) == b.get(j),
        _ => panic!("a key is looked up by columns of its own kinds"),
    }
}
