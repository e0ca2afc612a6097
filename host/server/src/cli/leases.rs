//! `tidegate leases ls` and `shards ls`: who has what, and how far it is done.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use tidegate_connectors::{leases::LeaseRecord, sources::kinesis, store::StoreInspector};
use tidegate_core::{
    checkpoint::Checkpoint,
    source::{Partition, PartitionId},
};

use super::{PipelineArgs, block_on};
use crate::{
    config::Config,
    edges,
    output::{Failed, Outcome},
};

/// What `leases ls` takes.
#[derive(Debug, Args)]
pub(super) struct LeasesArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
}

/// What `shards ls` takes.
#[derive(Debug, Args)]
pub(super) struct ShardsArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
}

pub(super) fn leases(args: &LeasesArgs) -> Result<Outcome, Failed> {
    let (loaded, _) = args.pipeline.open()?;
    let leases = block_on(read(&loaded.config))?.map_err(Failed::environment)?;
    let leases = leases.context("the config has no `leases`: one process has all partitions");
    let leases = leases.map_err(Failed::runtime)?;
    let mut text = String::new();
    for lease in &leases {
        let owner = lease.owner.as_ref().map_or("nobody", |it| it.0.as_str());
        let _ = write!(
            text,
            "{}  {owner}  counter {}  {}",
            lease.partition,
            lease.counter,
            done(&lease.checkpoint)
        );
        if let Some(from) = &lease.hands_over {
            let _ = write!(text, ", handed over by {}", from.0);
        }
        if lease.pends {
            let _ = write!(text, ", range {} pends", lease.checkpoint.next_range);
        }
        text.push('\n');
    }
    let data = json!({ "leases": leases.iter().map(lease_json).collect::<Vec<_>>() });
    Ok(Outcome::ok(data, text))
}

fn lease_json(lease: &LeaseRecord) -> Value {
    json!({
        "partition": lease.partition,
        "owner": lease.owner,
        "handed_over_by": lease.hands_over,
        "counter": lease.counter,
        "position": position(&lease.checkpoint),
        "finished": lease.checkpoint.finished,
        "next_range": lease.checkpoint.next_range,
        "pending": lease.pends,
        "parents": lease.parents,
    })
}

/// What is known of a shard from where progress is kept.
#[derive(Debug)]
struct Known {
    owner: Option<String>,
    counter: Option<u64>,
    checkpoint: Checkpoint,
}

pub(super) fn shards(args: &ShardsArgs) -> Result<Outcome, Failed> {
    let (loaded, _) = args.pipeline.open()?;
    let config = &loaded.config;
    let now = jiff::Timestamp::now().as_microsecond();
    let (listed, known) =
        block_on(async { anyhow::Ok((edges::shards(config).await?, known(config).await?)) })?
            .map_err(Failed::environment)?;
    let (mut text, mut rows) = (String::new(), Vec::new());
    for Partition { id, parents, .. } in &listed {
        let known = known.get(id);
        let arrived = known.and_then(|it| it.checkpoint.resume.as_ref());
        let arrived = arrived.and_then(|it| kinesis::arrival_of(&it.token));
        // What is done may be all there is: how old it is bounds how far behind the reader is.
        let lag = arrived.map(|it| (now - it.0).max(0) as f64 / 1e6);
        let owner = known.and_then(|it| it.owner.as_deref());
        let state = known.map_or("not read yet".to_owned(), |it| done(&it.checkpoint));
        let _ = write!(text, "{id}  {}  {state}", owner.unwrap_or("nobody"));
        if let Some(lag) = lag {
            let _ = write!(text, ", the last record that is done arrived {lag:.0} s ago");
        }
        text.push('\n');
        rows.push(json!({
            "shard": id,
            "parents": parents,
            "owner": owner,
            "counter": known.and_then(|it| it.counter),
            "position": known.and_then(|it| position(&it.checkpoint)),
            "finished": known.is_some_and(|it| it.checkpoint.finished),
            "last_record_seconds": lag,
        }));
    }
    Ok(Outcome::ok(json!({ "shards": rows }), text))
}

/// All leases; none where the pipeline has no table of them.
async fn read(config: &Config) -> anyhow::Result<Option<Vec<LeaseRecord>>> {
    let Some(leases) = &config.leases else { return Ok(None) };
    let store = edges::lease_store(config, leases, false).await?;
    Ok(Some(store.leases().await.context("failed to read the leases")?))
}

/// How far each shard is done, from the leases or from the data directory.
async fn known(config: &Config) -> anyhow::Result<BTreeMap<PartitionId, Known>> {
    if let Some(leases) = read(config).await? {
        let known = leases.into_iter().map(|it| {
            let owner = it.owner.map(|it| it.0);
            (it.partition, Known { owner, counter: Some(it.counter), checkpoint: it.checkpoint })
        });
        return Ok(known.collect());
    }
    if !config.data_dir.is_dir() {
        return Ok(BTreeMap::new());
    }
    let partitions = StoreInspector::open(&config.data_dir)?.partitions()?.into_iter();
    let known = partitions.map(|it| {
        let owner = it.owner.map(|it| it.0);
        (it.id, Known { owner, counter: None, checkpoint: it.checkpoint })
    });
    Ok(known.collect())
}

fn position(checkpoint: &Checkpoint) -> Option<String> {
    checkpoint.resume.as_ref().map(|it| it.position.to_string())
}

fn done(checkpoint: &Checkpoint) -> String {
    match (checkpoint.finished, position(checkpoint)) {
        (true, _) => "finished".to_owned(),
        (false, Some(position)) => format!("done up to {position}"),
        (false, None) => "at its beginning".to_owned(),
    }
}
