//! Which generations there were, what became of each attempt to make one serve, and where on each
//! partition it took effect.

use rusqlite::{Connection, OptionalExtension, Row, params};
use tidegate_core::{
    Digest, Position, Timestamp,
    checkpoint::{StateRow, StoreError, StoreErrorKind},
    source::PartitionId,
};

use super::{
    failed,
    inspect::get,
    operations::{execute, prepare},
};

/// Why a generation was to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SwapCause {
    /// The host started.
    Start,
    /// Files changed.
    Change,
    /// An operator wants an earlier generation back.
    Rollback,
}

/// How far an attempt to make a generation serve has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SwapState {
    /// Its files were read whole.
    Received,
    /// It is compiled, configured and checked.
    Verified,
    /// It serves, or has served.
    Serving,
    /// It never will: the reason is recorded.
    Refused,
}

/// An attempt to make a generation serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    /// Its number, from 1.
    pub number: u64,
    /// The generation; none where its files don't make one.
    pub generation: Option<Digest>,
    /// Why.
    pub cause: SwapCause,
    /// How far it has come.
    pub state: SwapState,
    /// When its files were read.
    pub received_at: Timestamp,
    /// When it was decided whether it serves.
    pub decided_at: Option<Timestamp>,
    /// Why it was refused.
    pub reason: Option<String>,
    /// Where it took effect, by partition.
    pub effects: Vec<SwapEffect>,
}

/// A generation took effect on a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwapEffect {
    /// Which.
    pub partition: PartitionId,
    /// Behind which position; none at its start.
    pub after: Option<Position>,
    /// From the last batch of the old generation to the first of the new one.
    pub pause_micros: u64,
}

/// A generation that an operator wants instead of the one that the files make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// What serves.
    pub serving: Digest,
    /// What the files make: once they make something else, that serves.
    pub instead_of: Digest,
}

/// A state that another version of a plugin wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignState {
    /// Where it lies, to go on behind it.
    pub place: (i64, Vec<u8>),
    /// The state.
    pub row: StateRow,
}

pub(super) const TABLES: &str = "
    -- Attempts to make a generation serve.
    CREATE TABLE swaps (
        number INTEGER PRIMARY KEY,
        generation TEXT,
        cause TEXT NOT NULL,
        state TEXT NOT NULL,
        received_at INTEGER NOT NULL,
        decided_at INTEGER,
        reason TEXT
    ) STRICT;

    CREATE TABLE swap_effects (
        swap INTEGER NOT NULL REFERENCES swaps,
        partition TEXT NOT NULL,
        after TEXT,
        pause_micros INTEGER NOT NULL,
        PRIMARY KEY (swap, partition)
    ) STRICT, WITHOUT ROWID;

    -- At most one row: what an operator wants instead of what the files make.
    CREATE TABLE pin (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        serving TEXT NOT NULL,
        instead_of TEXT NOT NULL
    ) STRICT;
";

fn word<T: serde::Serialize>(value: T) -> String {
    let value = serde_json::to_value(value).ok();
    value.and_then(|it| it.as_str().map(str::to_owned)).expect("an enum of plain words")
}

fn from_word<T: serde::de::DeserializeOwned>(word: String) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(word)).map_err(|error| {
        StoreError::new(StoreErrorKind::Conflict, "the store holds a word that is none", error)
    })
}

fn digest(text: &str) -> Result<Digest, StoreError> {
    text.parse().map_err(|error| {
        StoreError::new(StoreErrorKind::Conflict, "the store holds a digest that is none", error)
    })
}

/// Records an attempt, and gives its number.
pub(super) fn receive(
    connection: &Connection,
    generation: Option<Digest>,
    cause: SwapCause,
    at: Timestamp,
) -> Result<u64, StoreError> {
    execute(
        connection,
        "INSERT INTO swaps (generation, cause, state, received_at) VALUES (?1, ?2, ?3, ?4)",
        params![generation.map(|it| it.to_string()), word(cause), word(SwapState::Received), at.0],
    )?;
    Ok(connection.last_insert_rowid() as u64)
}

/// Moves an attempt on.
pub(super) fn advance(
    connection: &Connection,
    swap: u64,
    state: SwapState,
    generation: Option<Digest>,
    at: Timestamp,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    let decided = matches!(state, SwapState::Serving | SwapState::Refused).then_some(at.0);
    execute(
        connection,
        "UPDATE swaps SET state = ?2, generation = coalesce(?3, generation),
         decided_at = coalesce(?4, decided_at), reason = ?5 WHERE number = ?1",
        params![swap as i64, word(state), generation.map(|it| it.to_string()), decided, reason],
    )
}

/// Records that an attempt took effect.
pub(super) fn took_effect(
    connection: &Connection,
    swap: u64,
    effect: &SwapEffect,
) -> Result<(), StoreError> {
    execute(
        connection,
        "INSERT OR REPLACE INTO swap_effects (swap, partition, after, pause_micros)
         VALUES (?1, ?2, ?3, ?4)",
        params![
            swap as i64,
            effect.partition.0,
            effect.after.map(|it| it.to_string()),
            i64::try_from(effect.pause_micros).unwrap_or(i64::MAX)
        ],
    )
}

/// Says what an operator wants, or that they want what the files make.
pub(super) fn set_pin(connection: &Connection, pin: Option<Pin>) -> Result<(), StoreError> {
    execute(connection, "DELETE FROM pin", [])?;
    let Some(Pin { serving, instead_of }) = pin else { return Ok(()) };
    execute(
        connection,
        "INSERT INTO pin (id, serving, instead_of) VALUES (1, ?1, ?2)",
        params![serving.to_string(), instead_of.to_string()],
    )
}

/// What an operator wants instead of what the files make.
pub(super) fn pin(connection: &Connection) -> Result<Option<Pin>, StoreError> {
    let found = prepare(connection, "SELECT serving, instead_of FROM pin")?
        .query_row([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
        .optional()
        .map_err(|error| failed("read the pin", error))?;
    let pin = |(serving, instead_of): (String, String)| {
        Ok(Pin { serving: digest(&serving)?, instead_of: digest(&instead_of)? })
    };
    found.map(pin).transpose()
}

/// The next states of a stage that have another version than this, in the order of their places.
pub(super) fn foreign_states(
    connection: &Connection,
    stage: &str,
    version: u32,
    after: Option<(i64, Vec<u8>)>,
    most: u32,
) -> Result<Vec<ForeignState>, StoreError> {
    let reading = |error| failed("read states", error);
    let (partition, key) = after.unwrap_or((i64::MIN, Vec::new()));
    let mut statement = prepare(
        connection,
        "SELECT partition, key, version, expires_at, hash_key, bytes FROM states
         WHERE stage = (SELECT id FROM stages WHERE name = ?1) AND version <> ?2
           AND (partition, key) > (?3, ?4)
         ORDER BY partition, key LIMIT ?5",
    )?;
    let rows = statement.query_map(params![stage, version, partition, key, most], |row| {
        Ok(ForeignState {
            place: (row.get(0)?, row.get(1)?),
            row: StateRow {
                version: row.get(2)?,
                expires_at: row.get::<_, Option<i64>>(3)?.map(Timestamp),
                hash_key: row.get::<_, Option<[u8; 16]>>(4)?.map(u128::from_be_bytes),
                bytes: row.get(5)?,
            },
        })
    });
    rows.map_err(reading)?.collect::<Result<_, _>>().map_err(reading)
}

pub(super) const SELECT: &str = "
    SELECT number, generation, cause, state, received_at, decided_at, reason FROM swaps
    ORDER BY number";

pub(super) fn read(row: &Row<'_>) -> Result<Swap, StoreError> {
    Ok(Swap {
        number: get::<i64>(row, 0)? as u64,
        generation: get::<Option<String>>(row, 1)?.as_deref().map(digest).transpose()?,
        cause: from_word(get(row, 2)?)?,
        state: from_word(get(row, 3)?)?,
        received_at: Timestamp(get(row, 4)?),
        decided_at: get::<Option<i64>>(row, 5)?.map(Timestamp),
        reason: get(row, 6)?,
        effects: Vec::new(),
    })
}

pub(super) const SELECT_EFFECTS: &str = "
    SELECT swap, partition, after, pause_micros FROM swap_effects ORDER BY swap, partition";

pub(super) fn read_effect(row: &Row<'_>) -> Result<(u64, SwapEffect), StoreError> {
    let after = get::<Option<String>>(row, 2)?;
    let after = after.as_deref().map(str::parse).transpose().map_err(|error| {
        let message = "the store holds a position that is none";
        StoreError::new(StoreErrorKind::Conflict, message, error)
    })?;
    let effect = SwapEffect {
        partition: PartitionId(get::<String>(row, 1)?.into()),
        after,
        pause_micros: get::<i64>(row, 3)? as u64,
    };
    Ok((get::<i64>(row, 0)? as u64, effect))
}
