//! The dead letters that were tried again: which, as what, and what became of them.

use rusqlite::{Connection, Row, params};
use tidegate_core::{
    Digest, Position, Timestamp,
    checkpoint::{Manifest, Outcome, StoreError, StoreErrorKind},
    source::PartitionId,
};

use super::{
    failed,
    inspect::get,
    operations::{execute, prepare},
};

/// A dead letter that is redriven. It is named by its record and by how often that had been
/// redriven before: each attempt that fails leaves a letter of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redriven {
    /// The partition that the record was first read from.
    pub origin: PartitionId,
    /// Its position there.
    pub position: Position,
    /// How often it had been redriven when the letter was written.
    pub redrives: u32,
    /// The partition as which it is redriven.
    pub partition: PartitionId,
    /// By which of the redrives, from 1.
    pub redrive: u64,
    /// The key of the object that holds the letter.
    pub object: String,
    /// How large the record is.
    pub bytes: u64,
    /// Whether its source gave it a partition key.
    pub keyed: bool,
    /// What became of it; none until its range is committed.
    pub outcome: Option<RedriveOutcome>,
}

/// What became of a record that was redriven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedriveOutcome {
    /// What became of it.
    pub outcome: Outcome,
    /// By which generation.
    pub generation: Digest,
    /// The batch time of its range.
    pub at: Timestamp,
}

const OUTCOMES: [Outcome; 4] =
    [Outcome::Filtered, Outcome::Dropped, Outcome::Delivered, Outcome::DeadLettered];

/// Records the letters of a redrive.
pub(super) fn begin(connection: &Connection, letters: &[Redriven]) -> Result<(), StoreError> {
    let reading = |error| failed("read the store", error);
    let mut taken =
        prepare(connection, "SELECT EXISTS (SELECT 1 FROM partitions WHERE name = ?1)")?;
    let mut put = prepare(
        connection,
        "INSERT INTO redriven
             (origin, position, redrives, partition, redrive, object, bytes, keyed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
    )?;
    let conflict = |message: String| Err(StoreError::plain(StoreErrorKind::Conflict, message));
    for letter in letters {
        let Redriven { origin, position, partition, .. } = letter;
        if taken.query_row(params![partition.0], |row| row.get(0)).map_err(reading)? {
            return conflict(format!("there is a partition `{partition}` already"));
        }
        let put = put.execute(params![
            origin.0,
            blob(*position),
            letter.redrives,
            partition.0,
            letter.redrive as i64,
            letter.object,
            letter.bytes as i64,
            letter.keyed,
        ]);
        if put.map_err(|error| failed("write to the store", error))? == 0 {
            return conflict(format!("letter `{origin}:{position}` was redriven before"));
        }
    }
    Ok(())
}

/// Records what became of the letters of a range that is committed, in the same transaction.
pub(super) fn settle(
    connection: &Connection,
    partition: &PartitionId,
    manifest: &Manifest,
) -> Result<(), StoreError> {
    for it in &manifest.outcomes {
        execute(
            connection,
            "UPDATE redriven SET outcome = ?3, generation = ?4, redriven_at = ?5
             WHERE partition = ?1 AND position = ?2",
            params![
                partition.0,
                blob(it.position),
                it.outcome.name(),
                manifest.generation.to_string(),
                manifest.opened_at.0,
            ],
        )?;
    }
    Ok(())
}

/// All letters, in the order in which a redrive reads them.
pub(super) const SELECT: &str =
    "SELECT origin, position, redrives, partition, redrive, object, bytes, keyed,
            outcome, generation, redriven_at
     FROM redriven ORDER BY partition, position";

/// A row of [`SELECT`].
pub(super) fn read(row: &Row<'_>) -> Result<Redriven, StoreError> {
    let damaged =
        |what: &str| StoreError::plain(StoreErrorKind::Conflict, format!("the store holds {what}"));
    let outcome = match get::<Option<String>>(row, 8)? {
        None => None,
        Some(name) => Some(RedriveOutcome {
            outcome: OUTCOMES
                .into_iter()
                .find(|it| it.name() == name)
                .ok_or_else(|| damaged("an outcome that is none"))?,
            generation: get::<String>(row, 9)?
                .parse()
                .map_err(|_| damaged("a digest that is none"))?,
            at: Timestamp(get(row, 10)?),
        }),
    };
    Ok(Redriven {
        origin: PartitionId(get::<String>(row, 0)?.into()),
        position: position(&get::<Vec<u8>>(row, 1)?)
            .ok_or_else(|| damaged("a position that is none"))?,
        redrives: get(row, 2)?,
        partition: PartitionId(get::<String>(row, 3)?.into()),
        redrive: get::<i64>(row, 4)? as u64,
        object: get(row, 5)?,
        bytes: get::<i64>(row, 6)? as u64,
        keyed: get(row, 7)?,
        outcome,
    })
}

/// A position as bytes, which are in the order of positions.
fn blob(position: Position) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(position.0) {
        chunk.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

fn position(bytes: &[u8]) -> Option<Position> {
    let mut position = Position::default();
    let chunks = <&[u8; 32]>::try_from(bytes).ok()?.chunks_exact(8);
    for (word, chunk) in position.0.iter_mut().zip(chunks) {
        *word = u64::from_be_bytes(chunk.try_into().ok()?);
    }
    Some(position)
}
