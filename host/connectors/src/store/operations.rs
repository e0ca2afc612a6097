//! What each operation of the store is in SQL. Called inside a transaction.

use std::collections::BTreeMap;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, params};
use tidegate_core::{
    Timestamp,
    checkpoint::{
        Acquired, Checkpoint, Lease, Manifest, OwnerId, StateChange, StateKeys, StateRow,
        StoreError, StoreErrorKind, WriteId,
    },
    source::{PartitionId, Resume},
};

use super::{Generation, failed, redriven};
use crate::states;

/// At most this many expired states go with a commit, so that no commit waits for a great many.
const EXPIRED_PER_COMMIT_MAX: u32 = 1_000;

/// At most this many states are moved at once, so that nobody waits for a great many.
const INHERITED_PER_WRITE_MAX: u32 = 5_000;

/// At most this many partitions are forgotten at once, for the same reason.
const FORGOTTEN_PER_WRITE_MAX: u32 = 1_000;

/// Where a state lies in its partition: its stage's number and its key.
pub(super) type StatePlace = (i64, Vec<u8>);

pub(super) fn acquire(
    connection: &Connection,
    partition: &PartitionId,
    owner: &OwnerId,
    write: WriteId,
) -> Result<Acquired, StoreError> {
    execute(
        connection,
        "INSERT INTO partitions (name, counter, last_write, next_range, finished)
         VALUES (?1, 0, x'', 0, 0) ON CONFLICT (name) DO NOTHING",
        params![partition.0],
    )?;
    // Sent again after it was done: the same lease.
    execute(
        connection,
        "UPDATE partitions SET counter = counter + 1, owner = ?2, last_write = ?3
         WHERE name = ?1 AND last_write <> ?3",
        params![partition.0, owner.0, id(write)],
    )?;
    let held = held(connection, partition)?.ok_or_else(|| vanished(partition))?;
    Ok(Acquired {
        lease: Lease {
            partition: partition.clone(),
            owner: owner.clone(),
            counter: held.counter as u64,
        },
        pending: pending(connection, held.partition)?.map(|(manifest, _)| manifest),
        state_keys: state_keys(connection, held.partition)?,
        checkpoint: held.checkpoint,
        moved: None,
    })
}

pub(super) fn renew(connection: &Connection, lease: &Lease) -> Result<(), StoreError> {
    fenced(connection, lease).map(drop)
}

pub(super) fn hand_over(
    connection: &Connection,
    lease: &Lease,
    write: WriteId,
) -> Result<(), StoreError> {
    let held = held(connection, &lease.partition)?.ok_or_else(|| vanished(&lease.partition))?;
    // Sent again after it was done: nobody holds it, and this write made it so.
    if held.owner.is_none() && held.last_write == id(write) {
        return Ok(());
    }
    let held = fenced(connection, lease)?;
    execute(
        connection,
        "UPDATE partitions SET owner = NULL, last_write = ?2 WHERE id = ?1",
        params![held.partition, id(write)],
    )
}

/// Moves some of a parent's states, behind a place, and says behind which there are more. Done
/// again it goes on where it was: what was moved is no longer there. A state whose key the
/// partition has one of stays.
pub(super) fn inherit(
    connection: &Connection,
    lease: &Lease,
    parent: &PartitionId,
    (start, end): (u128, u128),
    after: Option<StatePlace>,
) -> Result<(Option<StatePlace>, StateKeys), StoreError> {
    let held = fenced(connection, lease)?;
    let reading = |error| failed("read states", error);
    let (stage, key) = after.unwrap_or((i64::MIN, Vec::new()));
    let mut find = prepare(
        connection,
        "SELECT partition, stage, key FROM states
         WHERE partition = (SELECT id FROM partitions WHERE name = ?1)
           AND (stage, key) > (?2, ?3) AND hash_key BETWEEN ?4 AND ?5
         ORDER BY stage, key LIMIT ?6",
    )?;
    let (start, end) = (start.to_be_bytes(), end.to_be_bytes());
    let most = INHERITED_PER_WRITE_MAX;
    let found = find
        .query_map(params![parent.0, stage, key, start, end, most], |row| {
            Ok((row.get::<_, i64>(0)?, (row.get(1)?, row.get(2)?)))
        })
        .map_err(reading)?
        .collect::<Result<Vec<(i64, StatePlace)>, _>>()
        .map_err(reading)?;
    let mut take = prepare(
        connection,
        "UPDATE OR IGNORE states SET partition = ?1
         WHERE partition = ?2 AND stage = ?3 AND key = ?4",
    )?;
    let mut moved: BTreeMap<i64, i64> = BTreeMap::new();
    for (from, (stage, key)) in &found {
        let taken = take.execute(params![held.partition, from, stage, key]);
        let taken = taken.map_err(|error| failed("move states", error))?;
        *moved.entry(*stage).or_default() += taken as i64;
    }
    count_keys(connection, held.partition, &moved)?;
    if let Some((from, _)) = found.first() {
        moved.values_mut().for_each(|keys| *keys = -*keys);
        count_keys(connection, *from, &moved)?;
    }
    let may_be_more = found.len() == most as usize;
    let after = found.into_iter().next_back().map(|it| it.1).filter(|_| may_be_more);
    Ok((after, state_keys(connection, held.partition)?))
}

pub(super) fn intend(
    connection: &Connection,
    lease: &Lease,
    write: WriteId,
    manifest: &Manifest,
    states: &[u8],
) -> Result<(), StoreError> {
    once(connection, lease, write, |held| {
        let checkpoint = &held.checkpoint;
        if checkpoint.finished
            || manifest.range != checkpoint.next_range
            || manifest.start != checkpoint.resume
        {
            return Err(conflict(lease, "the range does not follow the checkpoint"));
        }
        if let Some((older, _)) = pending(connection, held.partition)?
            && manifest.revision <= older.revision
        {
            return Err(conflict(lease, "an intent of this or a later revision pends"));
        }
        execute(
            connection,
            "INSERT OR REPLACE INTO intents (partition, manifest, states) VALUES (?1, ?2, ?3)",
            params![held.partition, to_json(manifest)?, states],
        )
    })
    .map(drop)
}

pub(super) fn commit(
    connection: &Connection,
    lease: &Lease,
    write: WriteId,
    range: u64,
) -> Result<StateKeys, StoreError> {
    let held = once(connection, lease, write, |held| {
        let none_pends = || conflict(lease, &format!("no intent of range {range} pends"));
        let (manifest, changes) = pending(connection, held.partition)?.ok_or_else(none_pends)?;
        if manifest.range != range {
            return Err(none_pends());
        }
        let changes = states::decode(&changes)
            .ok_or_else(|| conflict(lease, "the pending intent's states are damaged"))?;
        // Before the new states: what expired before the range was opened, the range did not see.
        prune(connection, held.partition, manifest.opened_at)?;
        apply(connection, held.partition, &changes)?;
        execute(
            connection,
            "INSERT INTO ranges (partition, range, manifest)
             SELECT partition, ?2, manifest FROM intents WHERE partition = ?1",
            params![held.partition, range as i64],
        )?;
        execute(connection, "DELETE FROM intents WHERE partition = ?1", params![held.partition])?;
        redriven::settle(connection, &lease.partition, &manifest)?;
        execute(
            connection,
            "UPDATE partitions SET resume = ?2, next_range = ?3, finished = ?4,
                 finished_at = iif(?4, unixepoch(), NULL)
             WHERE id = ?1",
            params![held.partition, to_json(&manifest.end)?, range as i64 + 1, manifest.finishes],
        )
    })?;
    state_keys(connection, held.partition)
}

pub(super) fn states(
    connection: &Connection,
    lease: &Lease,
    stage: &str,
    keys: &[u128],
) -> Result<Vec<Option<StateRow>>, StoreError> {
    let held = fenced(connection, lease)?;
    let reading = |error| failed("read states", error);
    let Some(stage) = prepare(connection, "SELECT id FROM stages WHERE name = ?1")?
        .query_row(params![stage], |row| row.get::<_, i64>(0))
        .optional()
        .map_err(reading)?
    else {
        return Ok(vec![None; keys.len()]);
    };
    let mut find = prepare(
        connection,
        "SELECT version, expires_at, hash_key, bytes FROM states
         WHERE partition = ?1 AND stage = ?2 AND key = ?3",
    )?;
    keys.iter()
        .map(|key| {
            find.query_row(params![held.partition, stage, key.to_be_bytes()], |row| {
                Ok(StateRow {
                    version: row.get(0)?,
                    expires_at: row.get::<_, Option<i64>>(1)?.map(Timestamp),
                    hash_key: row.get::<_, Option<[u8; 16]>>(2)?.map(u128::from_be_bytes),
                    bytes: row.get(3)?,
                })
            })
            .optional()
            .map_err(reading)
        })
        .collect()
}

pub(super) fn finish(
    connection: &Connection,
    lease: &Lease,
    write: WriteId,
) -> Result<(), StoreError> {
    once(connection, lease, write, |held| {
        if pending(connection, held.partition)?.is_some() {
            return Err(conflict(lease, "a range pends"));
        }
        execute(
            connection,
            "UPDATE partitions SET finished = 1, finished_at = unixepoch() WHERE id = ?1",
            params![held.partition],
        )
    })
    .map(drop)
}

/// Takes away everything that is known of partitions that have been finished for so many seconds, and
/// those that nobody holds and of which nothing was begun. Says of how many.
pub(super) fn forget(connection: &Connection, finished_for: u64) -> Result<u64, StoreError> {
    let seconds = i64::try_from(finished_for).unwrap_or(i64::MAX);
    let finished = remove(
        connection,
        "SELECT id FROM partitions WHERE finished AND finished_at < unixepoch() - ?1
         AND NOT EXISTS (SELECT 1 FROM intents WHERE partition = id)
         ORDER BY finished_at LIMIT ?2",
        params![seconds, FORGOTTEN_PER_WRITE_MAX],
    )?;
    if finished > 0 {
        let forgotten = params![finished as i64];
        execute(connection, "UPDATE forgotten SET partitions = partitions + ?1", forgotten)?;
    }
    // Whoever comes back to one of them finds it as new as it was.
    let unbegun = remove(
        connection,
        "SELECT id FROM partitions WHERE NOT finished AND owner IS NULL AND next_range = 0
         AND resume IS NULL AND NOT EXISTS (SELECT 1 FROM intents WHERE partition = id)
         AND NOT EXISTS (SELECT 1 FROM states WHERE partition = id) LIMIT ?1",
        params![FORGOTTEN_PER_WRITE_MAX],
    )?;
    Ok(finished + unbegun)
}

/// Removes the partitions that a query finds, and all that is known of them. Says how many.
fn remove(
    connection: &Connection,
    query: &'static str,
    with: impl Params,
) -> Result<u64, StoreError> {
    let forgetting = |error| failed("forget partitions", error);
    let found = prepare(connection, query)?
        .query_map(with, |row| row.get(0))
        .map_err(forgetting)?
        .collect::<Result<Vec<i64>, _>>()
        .map_err(forgetting)?;
    for partition in &found {
        for statement in [
            "DELETE FROM states WHERE partition = ?1",
            "DELETE FROM state_keys WHERE partition = ?1",
            "DELETE FROM ranges WHERE partition = ?1",
            "DELETE FROM partitions WHERE id = ?1",
        ] {
            execute(connection, statement, params![partition])?;
        }
    }
    Ok(found.len() as u64)
}

/// Replaces all states of some stages, on every partition, where nothing is half done.
pub(super) fn replace_states(
    connection: &Connection,
    stages: &[String],
    states: &[(PartitionId, Vec<StateChange>)],
) -> Result<(), StoreError> {
    let pends = prepare(connection, "SELECT EXISTS (SELECT 1 FROM intents)")?
        .query_row([], |row| row.get(0))
        .map_err(|error| failed("read intents", error))?;
    if pends {
        let message = "a range is not committed yet: let a run end properly first";
        return Err(StoreError::plain(StoreErrorKind::Conflict, message));
    }
    for stage in stages {
        let stage = stage_id(connection, stage)?;
        execute(connection, "DELETE FROM states WHERE stage = ?1", params![stage])?;
        execute(connection, "DELETE FROM state_keys WHERE stage = ?1", params![stage])?;
    }
    for (partition, states) in states {
        let held = held(connection, partition)?.ok_or_else(|| vanished(partition))?;
        apply(connection, held.partition, states)?;
    }
    Ok(())
}

/// Moves a partition, and forgets what pends: the number of its range is not given again.
pub(super) fn reset(
    connection: &Connection,
    partition: &PartitionId,
    resume: Option<&Resume>,
    forgets_states: bool,
) -> Result<(), StoreError> {
    let held = held(connection, partition)?.ok_or_else(|| vanished(partition))?;
    let pending = pending(connection, held.partition)?.map(|(manifest, _)| manifest.range + 1);
    let next = pending.unwrap_or_default().max(held.checkpoint.next_range);
    let resume = resume.map(to_json).transpose()?;
    execute(
        connection,
        "UPDATE partitions SET resume = ?2, next_range = ?3, finished = 0, finished_at = NULL, owner = NULL,
         counter = counter + 1, last_write = x'' WHERE id = ?1",
        params![held.partition, resume, next as i64],
    )?;
    let pending = "DELETE FROM intents WHERE partition = ?1";
    let states = "DELETE FROM states WHERE partition = ?1";
    let counts = "DELETE FROM state_keys WHERE partition = ?1";
    let forgotten: &[&'static str] = match forgets_states {
        true => &[pending, states, counts],
        false => &[pending],
    };
    forgotten.iter().try_for_each(|delete| execute(connection, delete, params![held.partition]))
}

pub(super) fn record_generation(
    connection: &Connection,
    generation: &Generation,
) -> Result<(), StoreError> {
    execute(
        connection,
        "INSERT INTO generations (digest, recorded_at, contents) VALUES (?1, ?2, ?3)
         ON CONFLICT (digest) DO NOTHING",
        params![generation.digest.to_string(), generation.recorded_at.0, generation.contents],
    )
}

/// A row of `partitions`.
struct Held {
    partition: i64,
    counter: i64,
    owner: Option<String>,
    last_write: Vec<u8>,
    checkpoint: Checkpoint,
}

fn held(connection: &Connection, partition: &PartitionId) -> Result<Option<Held>, StoreError> {
    let found = prepare(
        connection,
        "SELECT id, counter, owner, last_write, resume, next_range, finished
         FROM partitions WHERE name = ?1",
    )?
    .query_row(params![partition.0], |row| {
        let resume = row.get::<_, Option<String>>(4)?;
        let checkpoint = Checkpoint {
            resume: None,
            next_range: row.get::<_, i64>(5)? as u64,
            finished: row.get(6)?,
        };
        let held = Held {
            partition: row.get(0)?,
            counter: row.get(1)?,
            owner: row.get(2)?,
            last_write: row.get(3)?,
            checkpoint,
        };
        Ok((held, resume))
    })
    .optional()
    .map_err(|error| failed("read a checkpoint", error))?;
    let Some((mut held, resume)) = found else { return Ok(None) };
    held.checkpoint.resume = resume.as_deref().map(from_json).transpose()?;
    Ok(Some(held))
}

/// The partition's row, if the lease is worth something.
fn fenced(connection: &Connection, lease: &Lease) -> Result<Held, StoreError> {
    held(connection, &lease.partition)?
        .filter(|held| {
            held.counter as u64 == lease.counter && held.owner.as_ref() == Some(&lease.owner.0)
        })
        .ok_or_else(|| {
            let message = format!("somebody else has acquired partition `{}`", lease.partition);
            StoreError::plain(StoreErrorKind::Fenced, message)
        })
}

/// A fenced write, done once however often it is sent. Gives the partition's row as it was.
fn once(
    connection: &Connection,
    lease: &Lease,
    write: WriteId,
    operation: impl FnOnce(&Held) -> Result<(), StoreError>,
) -> Result<Held, StoreError> {
    let held = fenced(connection, lease)?;
    if held.last_write == id(write) {
        return Ok(held);
    }
    operation(&held)?;
    execute(
        connection,
        "UPDATE partitions SET last_write = ?2 WHERE id = ?1",
        params![held.partition, id(write)],
    )?;
    Ok(held)
}

fn pending(
    connection: &Connection,
    partition: i64,
) -> Result<Option<(Manifest, Vec<u8>)>, StoreError> {
    prepare(connection, "SELECT manifest, states FROM intents WHERE partition = ?1")?
        .query_row(params![partition], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))
        .optional()
        .map_err(|error| failed("read an intent", error))?
        .map(|(manifest, states)| Ok((from_json(&manifest)?, states)))
        .transpose()
}

fn prune(connection: &Connection, partition: i64, now: Timestamp) -> Result<(), StoreError> {
    let mut removed: BTreeMap<i64, i64> = BTreeMap::new();
    let mut remove = prepare(
        connection,
        "DELETE FROM states WHERE (partition, stage, key) IN (
             SELECT partition, stage, key FROM states
             WHERE partition = ?1 AND expires_at <= ?2 ORDER BY expires_at, stage, key LIMIT ?3
         ) RETURNING stage",
    )?;
    let writing = |error| failed("remove expired states", error);
    let params = params![partition, now.0, EXPIRED_PER_COMMIT_MAX];
    for stage in remove.query_map(params, |row| row.get(0)).map_err(writing)? {
        *removed.entry(stage.map_err(writing)?).or_default() -= 1;
    }
    count_keys(connection, partition, &removed)
}

fn apply(
    connection: &Connection,
    partition: i64,
    changes: &[StateChange],
) -> Result<(), StoreError> {
    let writing = |error| failed("write states", error);
    let mut update = prepare(
        connection,
        "UPDATE states SET version = ?4, expires_at = ?5, hash_key = ?6, bytes = ?7
         WHERE partition = ?1 AND stage = ?2 AND key = ?3",
    )?;
    let mut insert = prepare(
        connection,
        "INSERT INTO states (partition, stage, key, version, expires_at, hash_key, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let mut remove =
        prepare(connection, "DELETE FROM states WHERE partition = ?1 AND stage = ?2 AND key = ?3")?;
    let mut added: BTreeMap<i64, i64> = BTreeMap::new();
    // Changes come stage by stage, mostly.
    let mut stage = None;
    for change in changes {
        let stage = match &stage {
            Some((name, id)) if *name == change.stage => *id,
            _ => stage.insert((change.stage.clone(), stage_id(connection, &change.stage)?)).1,
        };
        let key = change.key.to_be_bytes();
        let difference = match &change.state {
            Some(StateRow { version, expires_at, hash_key, bytes }) => {
                let expires_at = expires_at.map(|time| time.0);
                let hash_key = hash_key.map(u128::to_be_bytes);
                let row = params![partition, stage, key, version, expires_at, hash_key, bytes];
                match update.execute(row).map_err(writing)? {
                    0 => insert.execute(row).map_err(writing)? as i64,
                    _ => 0,
                }
            }
            None => -(remove.execute(params![partition, stage, key]).map_err(writing)? as i64),
        };
        *added.entry(stage).or_default() += difference;
    }
    count_keys(connection, partition, &added)
}

/// Adds to the counts of keys, by the stages' ids.
fn count_keys(
    connection: &Connection,
    partition: i64,
    added: &BTreeMap<i64, i64>,
) -> Result<(), StoreError> {
    for (stage, added) in added.iter().filter(|(_, added)| **added != 0) {
        execute(
            connection,
            "INSERT INTO state_keys (partition, stage, keys) VALUES (?1, ?2, ?3)
             ON CONFLICT (partition, stage) DO UPDATE SET keys = keys + excluded.keys",
            params![partition, stage, added],
        )?;
    }
    Ok(())
}

fn state_keys(connection: &Connection, partition: i64) -> Result<StateKeys, StoreError> {
    let reading = |error| failed("count states", error);
    let mut counts = prepare(
        connection,
        "SELECT stages.name, keys FROM state_keys JOIN stages ON stages.id = stage
         WHERE partition = ?1",
    )?;
    let counts = counts
        .query_map(params![partition], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))
        .map_err(reading)?;
    counts.collect::<Result<_, _>>().map_err(reading)
}

fn stage_id(connection: &Connection, name: &str) -> Result<i64, StoreError> {
    execute(
        connection,
        "INSERT INTO stages (name) VALUES (?1) ON CONFLICT (name) DO NOTHING",
        params![name],
    )?;
    prepare(connection, "SELECT id FROM stages WHERE name = ?1")?
        .query_row(params![name], |row| row.get(0))
        .map_err(|error| failed("write states", error))
}

pub(super) fn prepare<'a>(
    connection: &'a Connection,
    sql: &'static str,
) -> Result<CachedStatement<'a>, StoreError> {
    connection.prepare_cached(sql).map_err(|error| failed("prepare a statement", error))
}

pub(super) fn execute(
    connection: &Connection,
    sql: &'static str,
    params: impl Params,
) -> Result<(), StoreError> {
    let executed = prepare(connection, sql)?.execute(params);
    executed.map(drop).map_err(|error| failed("write to the store", error))
}

fn id(write: WriteId) -> [u8; 16] {
    write.0.to_be_bytes()
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| {
        StoreError::new(StoreErrorKind::Broken, "failed to write a manifest as JSON", error)
    })
}

pub(super) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| {
        let message = "the store holds a manifest or a checkpoint that this host can't read";
        StoreError::new(StoreErrorKind::Conflict, message, error)
    })
}

fn conflict(lease: &Lease, message: &str) -> StoreError {
    let message = format!("partition `{}`: {message}", lease.partition);
    StoreError::plain(StoreErrorKind::Conflict, message)
}

fn vanished(partition: &PartitionId) -> StoreError {
    let message = format!("the store knows of no partition `{partition}`");
    StoreError::plain(StoreErrorKind::Conflict, message)
}
