//! The tables, and the version that they are of.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use tidegate_core::checkpoint::{StoreError, StoreErrorKind};

use super::{failed, swaps};

/// The store's file in the data directory.
pub(super) const FILE: &str = "tidegate.db";

/// Says that a SQLite file is a store of Tidegate: `tide`, in ASCII.
const APPLICATION: i32 = 0x7469_6465;

/// Grows with each change of the tables.
const VERSION: i32 = 4;

/// How many states there are: nobody counts a million rows to know whether there is room for one
/// more. New in version 3.
const STATE_KEYS: &str = "
    CREATE TABLE state_keys (
        partition INTEGER NOT NULL REFERENCES partitions,
        stage INTEGER NOT NULL REFERENCES stages,
        keys INTEGER NOT NULL,
        PRIMARY KEY (partition, stage)
    ) STRICT, WITHOUT ROWID;
";

/// When partitions were finished, and how many were forgotten since. New in version 4: those that were
/// finished before count from then on.
const FORGETTING: &str = "
    ALTER TABLE partitions ADD COLUMN finished_at INTEGER;
    UPDATE partitions SET finished_at = unixepoch() WHERE finished;
    CREATE INDEX partitions_by_finish ON partitions (finished_at) WHERE finished_at IS NOT NULL;
    CREATE TABLE forgotten (partitions INTEGER NOT NULL) STRICT;
    INSERT INTO forgotten VALUES (0);
";

/// Names stand once, in `partitions` and `stages`: a state row is its key, its bytes and little
/// more.
const TABLES: &str = "
    CREATE TABLE partitions (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        -- The fence: who holds the partition, and how many acquisitions there were.
        owner TEXT,
        counter INTEGER NOT NULL,
        -- The last write that was done, by its id.
        last_write BLOB NOT NULL,
        -- The checkpoint: position and token as JSON, null before the first commit.
        resume TEXT,
        next_range INTEGER NOT NULL,
        finished INTEGER NOT NULL
    ) STRICT;

    -- What COMMIT will make current, at most one a partition. The states are one value: they are
    -- written once and read once.
    CREATE TABLE intents (
        partition INTEGER PRIMARY KEY REFERENCES partitions,
        manifest TEXT NOT NULL,
        states BLOB NOT NULL
    ) STRICT;

    -- The committed ranges, for whoever proves what was done.
    CREATE TABLE ranges (
        partition INTEGER NOT NULL REFERENCES partitions,
        range INTEGER NOT NULL,
        manifest TEXT NOT NULL,
        PRIMARY KEY (partition, range)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE stages (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    ) STRICT;

    CREATE TABLE states (
        partition INTEGER NOT NULL REFERENCES partitions,
        stage INTEGER NOT NULL REFERENCES stages,
        key BLOB NOT NULL,
        version INTEGER NOT NULL,
        expires_at INTEGER,
        -- By which a child of the partition takes it: 16 bytes, which are ordered as the number is.
        hash_key BLOB,
        bytes BLOB NOT NULL,
        PRIMARY KEY (partition, stage, key)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX states_by_expiry ON states (partition, expires_at)
        WHERE expires_at IS NOT NULL;

    -- The dead letters that were tried again. Each is there once: its record is never redriven
    -- twice. One that fails again is another letter, with a larger count.
    CREATE TABLE redriven (
        origin TEXT NOT NULL,
        position BLOB NOT NULL,
        redrives INTEGER NOT NULL,
        -- As which partition it is redriven, and by which of the redrives, from 1.
        partition TEXT NOT NULL,
        redrive INTEGER NOT NULL,
        -- Where its letter lies.
        object TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        keyed INTEGER NOT NULL,
        -- What became of it, null until its range is committed.
        outcome TEXT,
        generation TEXT,
        redriven_at INTEGER,
        PRIMARY KEY (origin, position, redrives)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX redriven_by_partition ON redriven (partition, position);

    CREATE TABLE generations (
        digest TEXT PRIMARY KEY,
        recorded_at INTEGER NOT NULL,
        contents TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// Opens the store for its owner, and creates the tables in a new file.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let opening = |error| failed(&format!("open the store `{}`", path.display()), error);
    let connection = Connection::open(path).map_err(opening)?;
    connection.set_prepared_statement_cache_capacity(64);
    let new = is_new(&connection).map_err(opening)?;
    if !new {
        // Before anything is changed: the file may be somebody else's.
        check(&connection, path)?;
    }
    connection.pragma_update(None, "journal_mode", "wal").map_err(opening)?;
    connection.pragma_update(None, "synchronous", "full").map_err(opening)?;
    connection.pragma_update(None, "foreign_keys", "on").map_err(opening)?;
    // 16 MiB: the states of a hundred thousand keys are found without asking the file.
    connection.pragma_update(None, "cache_size", -16 * 1024).map_err(opening)?;
    if new {
        // One transaction, so that a file has all of its tables and a version, or nothing.
        let create = format!(
            "BEGIN; {TABLES} {STATE_KEYS} {FORGETTING} {} PRAGMA application_id = {APPLICATION}; \
             PRAGMA user_version = {VERSION}; COMMIT;",
            swaps::TABLES
        );
        connection.execute_batch(&create).map_err(opening)?;
        return Ok(connection);
    }
    let found = version(&connection).map_err(opening)?;
    if found < 3 {
        let intents =
            connection.query_row("SELECT count(*) FROM intents", [], |row| row.get::<_, i64>(0));
        if intents.map_err(opening)? > 0 {
            let message = format!(
                "the store `{}` is of version 2 and holds ranges that are not committed: let the \
                 host that wrote it end properly, then start this one",
                path.display()
            );
            return Err(StoreError::plain(StoreErrorKind::Broken, message));
        }
        let upgrade = format!(
            "BEGIN; ALTER TABLE states ADD COLUMN hash_key BLOB; {STATE_KEYS}
             INSERT INTO state_keys
                 SELECT partition, stage, count(*) FROM states GROUP BY partition, stage;
             PRAGMA user_version = 3; COMMIT;"
        );
        connection.execute_batch(&upgrade).map_err(opening)?;
    }
    if found < VERSION {
        let upgrade = format!("BEGIN; {FORGETTING} PRAGMA user_version = {VERSION}; COMMIT;");
        connection.execute_batch(&upgrade).map_err(opening)?;
    }
    Ok(connection)
}

/// Opens the store to look at it. Also while its owner writes: what is seen is one moment.
pub(super) fn open_to_inspect(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        let message = format!("there is no store at `{}`", path.display());
        return Err(StoreError::plain(StoreErrorKind::Broken, message));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| failed(&format!("open the store `{}`", path.display()), error))?;
    check(&connection, path)?;
    Ok(connection)
}

fn is_new(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

fn version(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let path = path.display();
    let opening = |error| failed(&format!("open the store `{path}`"), error);
    let broken = |message| Err(StoreError::plain(StoreErrorKind::Broken, message));
    let application =
        connection.pragma_query_value(None, "application_id", |row| row.get::<_, i32>(0));
    if application.map_err(opening)? != APPLICATION {
        return broken(format!("`{path}` is a SQLite file, but not a store of Tidegate"));
    }
    match version(connection).map_err(opening)? {
        // Whoever opens it to write brings it up to date.
        2..=VERSION => Ok(()),
        other => broken(format!(
            "the store `{path}` is of version {other}, and this host reads 2 to {VERSION}: \
             use the host that wrote it, or begin with an empty data directory"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_version_2_is_brought_up_to_date_and_its_states_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let older = open(&path).unwrap();
        let fill = "DROP TABLE state_keys; ALTER TABLE states DROP COLUMN hash_key;
            DROP TABLE forgotten; DROP INDEX partitions_by_finish;
            ALTER TABLE partitions DROP COLUMN finished_at;
            PRAGMA user_version = 2;
            INSERT INTO partitions VALUES (1, 'p', 'o', 1, x'', NULL, 0, 0);
            INSERT INTO stages VALUES (1, 'a'), (2, 'b');
            INSERT INTO states VALUES (1, 1, x'01', 1, NULL, x''), (1, 1, x'02', 1, NULL, x''),
                (1, 2, x'01', 1, NULL, x'');";
        older.execute_batch(fill).unwrap();
        drop(older);
        drop(open_to_inspect(&path).unwrap());
        for _ in 0..2 {
            let connection = open(&path).unwrap();
            assert_eq!(version(&connection).unwrap(), VERSION);
            let mut rows = connection.prepare("SELECT stage, keys FROM state_keys").unwrap();
            let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            let rows: Vec<(i64, i64)> = rows.collect::<Result<_, _>>().unwrap();
            assert_eq!(rows, [(1, 2), (2, 1)]);
        }
    }

    #[test]
    fn every_connection_syncs_every_commit() {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let connection = open(&directory.path().join(FILE)).unwrap();
            let pragma = |name| {
                connection
                    .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
            };
            assert_eq!(pragma("synchronous").unwrap(), 2.into(), "full");
            assert_eq!(pragma("journal_mode").unwrap(), "wal".to_owned().into());
        }
    }
}
