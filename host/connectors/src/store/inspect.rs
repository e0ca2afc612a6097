//! Looking at a store: what was done, for `verify`, `dlq` and tests.

use std::path::Path;

use rusqlite::{Connection, params};
use tidegate_core::{
    Digest, Timestamp,
    checkpoint::{
        Checkpoint, Manifest, OwnerId, StateChange, StateRow, StoreError, StoreErrorKind,
    },
    source::PartitionId,
};

use super::{
    Generation, Pin, Redriven, Swap, failed, operations::from_json, redriven, schema, swaps,
};

/// A partition as it stands in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRecord {
    /// Its name.
    pub id: PartitionId,
    /// Who holds it; none where it was handed over.
    pub owner: Option<OwnerId>,
    /// How far it is done.
    pub checkpoint: Checkpoint,
    /// A range whose intent is stored and that is not committed.
    pub pending: Option<Manifest>,
}

/// Reads a store without changing it. Also while a host runs: what one call sees is one moment.
/// Calls block.
pub struct StoreInspector {
    connection: Connection,
}

impl StoreInspector {
    /// Opens the store in a data directory.
    pub fn open(data_directory: &Path) -> Result<Self, StoreError> {
        let connection = schema::open_to_inspect(&data_directory.join(schema::FILE))?;
        Ok(StoreInspector { connection })
    }

    /// All partitions, by name.
    pub fn partitions(&self) -> Result<Vec<PartitionRecord>, StoreError> {
        let mut found = Vec::new();
        self.each(
            "SELECT name, owner, resume, next_range, finished, manifest
             FROM partitions LEFT JOIN intents ON intents.partition = partitions.id ORDER BY name",
            [],
            |row| {
                found.push(PartitionRecord {
                    id: PartitionId(get::<String>(row, 0)?.into()),
                    owner: get::<Option<String>>(row, 1)?.map(OwnerId),
                    checkpoint: Checkpoint {
                        resume: json(row, 2)?,
                        next_range: get::<i64>(row, 3)? as u64,
                        finished: get(row, 4)?,
                    },
                    pending: json(row, 5)?,
                });
                Ok(())
            },
        )?;
        Ok(found)
    }

    /// How many partitions were finished and are forgotten: their ranges are not among those that are
    /// told here.
    pub fn forgotten(&self) -> Result<u64, StoreError> {
        let there = "SELECT count(*) FROM sqlite_schema WHERE name = 'forgotten'";
        // An older file has none, and none are forgotten there.
        let count = |sql| self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        match count(there).map_err(reading)? {
            0 => Ok(0),
            _ => Ok(count("SELECT partitions FROM forgotten").map_err(reading)? as u64),
        }
    }

    /// The manifests of a partition's committed ranges, in order, one at a time.
    pub fn manifests(
        &self,
        partition: &PartitionId,
        mut visit: impl FnMut(Manifest) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.each(
            "SELECT manifest FROM ranges
             JOIN partitions ON partitions.id = ranges.partition
             WHERE partitions.name = ?1 ORDER BY range",
            params![partition.0],
            |row| visit(from_json(&get::<String>(row, 0)?)?),
        )
    }

    /// A partition's current states, by stage and key, one at a time; each as the change that made
    /// it, which is never a removal. Those that have expired are among them until a commit takes
    /// them away.
    pub fn states(
        &self,
        partition: &PartitionId,
        mut visit: impl FnMut(StateChange) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.each(
            "SELECT stages.name, key, version, expires_at, hash_key, bytes FROM states
             JOIN partitions ON partitions.id = states.partition
             JOIN stages ON stages.id = states.stage
             WHERE partitions.name = ?1 ORDER BY stages.name, key",
            params![partition.0],
            |row| {
                let state = StateRow {
                    version: get(row, 2)?,
                    expires_at: get::<Option<i64>>(row, 3)?.map(Timestamp),
                    hash_key: get::<Option<[u8; 16]>>(row, 4)?.map(u128::from_be_bytes),
                    bytes: get(row, 5)?,
                };
                visit(StateChange {
                    stage: get::<String>(row, 0)?.into(),
                    key: u128::from_be_bytes(get(row, 1)?),
                    state: Some(state),
                })
            },
        )
    }

    /// The generations that have served, oldest first.
    pub fn generations(&self) -> Result<Vec<Generation>, StoreError> {
        let mut found = Vec::new();
        self.each(
            "SELECT digest, recorded_at, contents FROM generations ORDER BY recorded_at, digest",
            [],
            |row| {
                let digest = get::<String>(row, 0)?.parse::<Digest>().map_err(|error| {
                    let message = "the store holds a digest that is none";
                    StoreError::new(StoreErrorKind::Conflict, message, error)
                })?;
                found.push(Generation {
                    digest,
                    recorded_at: Timestamp(get(row, 1)?),
                    contents: get(row, 2)?,
                });
                Ok(())
            },
        )?;
        Ok(found)
    }

    /// The attempts to make a generation serve, oldest first.
    pub fn swaps(&self) -> Result<Vec<Swap>, StoreError> {
        let mut found: Vec<Swap> = Vec::new();
        self.each(swaps::SELECT, [], |row| {
            found.push(swaps::read(row)?);
            Ok(())
        })?;
        self.each(swaps::SELECT_EFFECTS, [], |row| {
            let (number, effect) = swaps::read_effect(row)?;
            if let Ok(place) = found.binary_search_by_key(&number, |swap| swap.number) {
                found[place].effects.push(effect);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// What an operator wants instead of what the files make.
    pub fn pin(&self) -> Result<Option<Pin>, StoreError> {
        swaps::pin(&self.connection)
    }

    /// The letters that were redriven, or are to be, by partition and position, one at a time.
    pub fn redriven(
        &self,
        mut visit: impl FnMut(Redriven) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.each(redriven::SELECT, [], |row| visit(redriven::read(row)?))
    }

    fn each(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        mut visit: impl FnMut(&rusqlite::Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare(sql).map_err(reading)?;
        let mut rows = statement.query(params).map_err(reading)?;
        while let Some(row) = rows.next().map_err(reading)? {
            visit(row)?;
        }
        Ok(())
    }
}

fn reading(error: rusqlite::Error) -> StoreError {
    failed("read the store", error)
}

pub(super) fn get<T: rusqlite::types::FromSql>(
    row: &rusqlite::Row<'_>,
    column: usize,
) -> Result<T, StoreError> {
    row.get(column).map_err(reading)
}

fn json<T: serde::de::DeserializeOwned>(
    row: &rusqlite::Row<'_>,
    column: usize,
) -> Result<Option<T>, StoreError> {
    get::<Option<String>>(row, column)?.as_deref().map(from_json).transpose()
}
