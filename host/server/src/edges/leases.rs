//! The leases of a fleet, from a config to the store and to what shares it.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::ErrorKind,
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use async_trait::async_trait;
#[cfg(feature = "s3")]
use tidegate_connectors::sinks::s3::SharedBucket;
use tidegate_connectors::{
    leases::{LeaseConfig, LeaseStore, OnStateGap},
    objects::{SharedDirectory, SharedObjects},
    sources::kinesis::{NotedShard, ShardNotes},
};
use tidegate_core::{
    checkpoint::{OwnerId, StoreError, StoreErrorKind},
    source::{Partition, PartitionId},
};

use tokio::time::{Instant, sleep};

use super::aws::aws;
use crate::config::{self, Config};

/// Whoever starts a program wants to know soon that what it needs is not there.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// How often it is looked for.
const AWAY_EVERY: Duration = Duration::from_secs(1);

/// The store. Creates its table, where that is asked for and it is not there.
pub(crate) async fn store(
    config: &Config,
    written: &config::Leases,
    create_table: bool,
) -> anyhow::Result<LeaseStore> {
    let objects = objects(config, written)?;
    let leases = LeaseConfig { create_table, ..lease_config(config, written) };
    let store = LeaseStore::open(leases, objects).await;
    store.with_context(|| format!("failed to open the table of leases `{}`", written.table))
}

/// The table, and how it is shared.
pub(super) fn lease_config(config: &Config, written: &config::Leases) -> LeaseConfig {
    LeaseConfig {
        pipeline: config.pipeline.clone(),
        aws: aws(written.aws()),
        create_table: written.create_table,
        failover: written.failover.0,
        look_every: written.look_every.0,
        on_state_gap: match written.on_state_gap {
            config::OnStateGap::Fail => OnStateGap::Fail,
            config::OnStateGap::Reset => OnStateGap::Reset,
        },
        expires_after: config.source.s3.as_ref().map(|it| it.remember.0),
        ..LeaseConfig::new(&written.table)
    }
}

/// The same, at the start of a run: a service that is away may be back in a moment, and a host that
/// is restarted with all the others must not be the one that is missing.
pub(crate) async fn store_when_there(
    config: &Config,
    written: &config::Leases,
) -> anyhow::Result<LeaseStore> {
    let started = Instant::now();
    loop {
        let error = match store(config, written, written.create_table).await {
            Ok(store) => return Ok(store),
            Err(error) => error,
        };
        let passes = error
            .downcast_ref::<StoreError>()
            .is_some_and(|it| it.kind == StoreErrorKind::Unavailable);
        if !passes || started.elapsed() >= AWAY_MAX {
            return Err(error);
        }
        tracing::warn!("waiting for the leases: {error:#}");
        sleep(AWAY_EVERY).await;
    }
}

/// Where manifests and states lie.
fn objects(config: &Config, written: &config::Leases) -> anyhow::Result<Arc<dyn SharedObjects>> {
    if let Some(directory) = &written.directory {
        return Ok(Arc::new(SharedDirectory::new(directory, &host(&config.data_dir))));
    }
    let bucket = written.s3.as_ref().context("the config names no place for manifests")?;
    #[cfg(feature = "s3")]
    return Ok(Arc::new(SharedBucket::new(super::s3(config, "leases", bucket))));
    #[cfg(not(feature = "s3"))]
    anyhow::bail!("this program was built without the feature `s3`: {bucket:?}");
}

/// Who this run of this host is: a name for people, what no other host has, and what no other run has.
/// A run knows by it what an earlier one of its host had, which has ended, for a data directory is one
/// process's.
pub(crate) fn owner(data_dir: &Path, run: &str) -> anyhow::Result<OwnerId> {
    let file = data_dir.join("host");
    let known = match fs::read_to_string(&file) {
        Ok(known) => known.trim().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(error).with_context(|| format!("failed to read `{}`", file.display()));
        }
    };
    let host = match known.is_empty() {
        false => known,
        true => {
            let written = fs::write(&file, format!("{run}\n"));
            written.with_context(|| format!("failed to write `{}`", file.display()))?;
            run.to_owned()
        }
    };
    Ok(OwnerId(format!("{}-{host}:{run}", host_name())))
}

/// What tells this host from others that write to the same directories: it stays the same from run
/// to run, and no two hosts have one data directory.
pub(crate) fn host(data_dir: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    let absolute = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    absolute.hash(&mut hasher);
    format!("{}-{:016x}", host_name(), hasher.finish())
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "host".to_owned(),
        name => name.to_owned(),
    }
}

/// Notes of shards, in the rows of their leases.
pub(crate) struct LeaseNotes {
    pub(crate) store: LeaseStore,
    /// Whoever only looks leaves no rows behind.
    pub(crate) writes: bool,
}

impl std::fmt::Debug for LeaseNotes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeaseNotes")
    }
}

#[async_trait]
impl ShardNotes for LeaseNotes {
    async fn load(&self) -> Result<Vec<NotedShard>, StoreError> {
        let leases = self.store.leases().await?.into_iter();
        let noted = leases.map(|it| NotedShard {
            id: it.partition,
            note: it.note,
            finished: it.checkpoint.finished,
        });
        Ok(noted.collect())
    }

    async fn add(&self, shard: &Partition, note: &str) -> Result<bool, StoreError> {
        match self.writes {
            true => self.store.announce(shard, Some(note)).await,
            false => Ok(true),
        }
    }

    async fn replace(&self, id: &PartitionId, note: &str) -> Result<(), StoreError> {
        match self.writes {
            true => self.store.set_note(id, note).await,
            false => Ok(()),
        }
    }
}
