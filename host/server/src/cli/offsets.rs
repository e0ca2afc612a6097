//! `tidegate offsets reset`: moves partitions that nobody reads to where they are to go on.

use std::{fmt::Write as _, str::FromStr};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
#[cfg(feature = "dynamodb")]
use tidegate_connectors::leases::{LeaseRecord, LeaseReset, LeaseStore};
#[cfg(feature = "kinesis")]
use tidegate_connectors::sources::kinesis;
use tidegate_connectors::store::{SqliteStore, StoreInspector};
use tidegate_core::{
    Position, Timestamp,
    checkpoint::Checkpoint,
    source::{PartitionId, Resume},
};

use super::{PipelineArgs, block_on};
use crate::{
    config::{Config, OnStateGap},
    edges,
    output::{Exit, Failed, Outcome},
};

/// What `offsets reset` takes.
#[derive(Debug, Args)]
pub(super) struct ResetArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// `trim_horizon`, `latest`, a time as RFC 3339 has it, or the position of the last record that is
    /// to count as done.
    #[arg(long, value_name = "PLACE")]
    to: Place,
    /// The partition that is moved; several times for several.
    #[arg(long = "partition", value_name = "ID", required_unless_present = "all")]
    partitions: Vec<String>,
    /// Moves all partitions.
    #[arg(long, conflicts_with = "partitions")]
    all: bool,
    /// What becomes of a partition that has states, which are of where it stands now: `fail` leaves it
    /// where it is, `reset` forgets them. As the config's `leases` say, where nothing is said here.
    #[arg(long, value_name = "POLICY")]
    on_state_gap: Option<Gap>,
    /// Only says what it would do.
    #[arg(long, conflicts_with = "execute")]
    dry_run: bool,
    /// Does it.
    #[arg(long)]
    execute: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Gap {
    Fail,
    Reset,
}

/// Where a partition is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    TrimHorizon,
    Latest,
    Time(Timestamp),
    Behind(Position),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "trim_horizon" => return Ok(Place::TrimHorizon),
            "latest" => return Ok(Place::Latest),
            _ => {}
        }
        if let Some(time) = Timestamp::parse(text) {
            return Ok(Place::Time(time));
        }
        // A bare sequence number, as Kinesis tells it, is the record and not its place in an aggregate.
        let bare = text.len() > 20 && text.bytes().all(|it| it.is_ascii_digit());
        let position = match bare {
            true => Position::from_sequence_number(text).ok(),
            false => text.parse().ok(),
        };
        position.map(Place::Behind).ok_or_else(|| {
            format!(
                "`{text}` is none of `trim_horizon`, `latest`, a time with an offset, a position"
            )
        })
    }
}

/// A partition as it stands.
struct Standing {
    partition: PartitionId,
    checkpoint: Checkpoint,
    states: u64,
    /// A range is intended, of which objects may be visible.
    pends: bool,
    /// A fleet's.
    #[cfg(feature = "dynamodb")]
    lease: Option<LeaseRecord>,
}

/// What becomes of it.
struct Move {
    standing: Standing,
    resume: Option<Resume>,
    forgets_states: bool,
    effect: &'static str,
    refused: Option<&'static str>,
}

/// Where progress is kept.
enum Kept {
    Here,
    #[cfg(feature = "dynamodb")]
    Leases(LeaseStore),
}

pub(super) fn reset(args: &ResetArgs) -> Result<Outcome, Failed> {
    let (loaded, _) = args.pipeline.open()?;
    let config = &loaded.config;
    block_on(async {
        let (kept, standing) = read(config).await.map_err(Failed::environment)?;
        let chosen = choose(args, standing).map_err(Failed::runtime)?;
        let chosen = without_gone(config, chosen).await.map_err(Failed::environment)?;
        let place = match args.to {
            Place::Latest => Place::Time(latest(config).await.map_err(Failed::environment)?),
            other => other,
        };
        let is_stream = config.source.kinesis.is_some();
        if !is_stream && place != Place::TrimHorizon {
            let error = "only the shards of a stream can be moved to a time or a position: say \
                         `--to trim_horizon`";
            return Err(Failed::runtime(anyhow::anyhow!(error)));
        }
        let written = config.leases.as_ref().map(|it| it.on_state_gap);
        let forgets = match args.on_state_gap {
            Some(gap) => gap == Gap::Reset,
            None => written == Some(OnStateGap::Reset),
        };
        let moves: Vec<Move> =
            chosen.into_iter().map(|it| Move::plan(it, place, forgets)).collect();
        let refused = moves.iter().any(|it| it.refused.is_some());
        if args.execute && !refused {
            execute(config, &kept, &moves, place).await.map_err(Failed::runtime)?;
        }
        let executed = args.execute && !refused;
        // Whoever has neither asked for it nor asked only what would be done has got nothing.
        let exit = if args.dry_run || executed { Exit::Ok } else { Exit::Gate };
        let moved = moves.iter().map(|it| it.json(place)).collect::<Vec<_>>();
        let data = json!({ "executed": executed, "to": told(place), "partitions": moved });
        Ok(Outcome { exit, data, text: text(&moves, place, executed), findings: Vec::new() })
    })?
}

/// All partitions that anything is known of.
async fn read(config: &Config) -> anyhow::Result<(Kept, Vec<Standing>)> {
    #[cfg(feature = "dynamodb")]
    if let Some(leases) = &config.leases {
        let store = edges::lease_store(config, leases, false).await?;
        let mut rows = store.leases().await.context("failed to read the leases")?;
        let has_owner = |it: &LeaseRecord| it.owner.is_some() || it.hands_over.is_some();
        if rows.iter().any(has_owner) {
            // The name of one who has died stays: whoever lives renews it.
            tokio::time::sleep(leases.failover.0).await;
            let before = std::mem::replace(
                &mut rows,
                store.leases().await.context("failed to read the leases")?,
            );
            let moved = rows.iter().find(|row| {
                has_owner(row)
                    && before
                        .iter()
                        .all(|it| (&it.partition, it.counter) != (&row.partition, row.counter))
            });
            if let Some(row) = moved {
                let owner = row.owner.as_ref().map_or("somebody", |it| &it.0);
                bail!("`{owner}` has `{}`: stop all hosts first", row.partition);
            }
        }
        let standing = rows.into_iter().map(|row| Standing {
            partition: row.partition.clone(),
            checkpoint: row.checkpoint.clone(),
            states: row.state_keys.values().sum(),
            pends: row.pends,
            lease: Some(row),
        });
        return Ok((Kept::Leases(store), standing.collect()));
    }
    let directory = &config.data_dir;
    let store = StoreInspector::open(directory)
        .with_context(|| format!("failed to read the data directory `{}`", directory.display()))?;
    let mut standing = Vec::new();
    for record in store.partitions()? {
        let mut states = 0;
        store.states(&record.id, |_| {
            states += 1;
            Ok(())
        })?;
        standing.push(Standing {
            partition: record.id,
            checkpoint: record.checkpoint,
            states,
            pends: record.pending.is_some(),
            #[cfg(feature = "dynamodb")]
            lease: None,
        });
    }
    Ok((Kept::Here, standing))
}

fn choose(args: &ResetArgs, standing: Vec<Standing>) -> anyhow::Result<Vec<Standing>> {
    for name in &args.partitions {
        ensure!(
            standing.iter().any(|it| *it.partition.0 == **name),
            "nothing is known of a partition `{name}`: nobody has read it yet"
        );
    }
    let is_chosen =
        |it: &Standing| args.all || args.partitions.iter().any(|name| *it.partition.0 == **name);
    Ok(standing.into_iter().filter(is_chosen).collect())
}

/// Without shards that are finished and that the stream does not hold any more: there is nothing to be
/// read again, and nothing is lost.
async fn without_gone(config: &Config, chosen: Vec<Standing>) -> anyhow::Result<Vec<Standing>> {
    #[cfg(feature = "kinesis")]
    if config.source.kinesis.is_some() {
        let listed = edges::shards(config).await?;
        let is_there = |it: &Standing| listed.iter().any(|shard| shard.id == it.partition);
        let mut chosen = chosen;
        chosen.retain(|it| !it.checkpoint.finished || is_there(it));
        return Ok(chosen);
    }
    let _ = config;
    Ok(chosen)
}

async fn latest(config: &Config) -> anyhow::Result<Timestamp> {
    #[cfg(feature = "kinesis")]
    return edges::latest(config).await;
    #[cfg(not(feature = "kinesis"))]
    bail!("this program was built without the feature `kinesis`: {}", config.pipeline);
}

impl Move {
    fn plan(standing: Standing, place: Place, forgets: bool) -> Move {
        let old = &standing.checkpoint;
        let resume = match place {
            // Whoever moves it has no token: the source begins there without one.
            Place::Behind(position) => Some(Resume { position, token: String::new() }),
            _ => None,
        };
        let position = old.resume.as_ref().map(|it| it.position);
        let effect = match place {
            Place::TrimHorizon if position.is_none() && !old.finished => {
                "nothing was done yet: all that the source holds is read"
            }
            Place::TrimHorizon => "all that the source still holds is read again",
            Place::Behind(to) => match position {
                Some(from) if to == from && !old.finished => "it stays where it is",
                Some(from) if to > from && !old.finished => "what lies between is skipped",
                Some(_) => "what lies behind it is read again",
                None => "what lies before it is skipped",
            },
            Place::Time(_) | Place::Latest if old.finished => {
                "what arrived from then on is read again"
            }
            Place::Time(to) => match arrival(old) {
                Some(arrived) if to.0 <= arrived.0 => "what arrived from then on is read again",
                Some(_) => "what arrived before and was not read is skipped",
                None => "what arrived before is skipped",
            },
            Place::Latest => "what is there and was not read is skipped",
        };
        let moves = position != resume.as_ref().map(|it| it.position) || old.finished;
        let forgets_states = standing.states > 0 && moves && forgets;
        let refused = (standing.states > 0 && moves && !forgets)
            .then_some("it has states, which are of where it stands: say `--on-state-gap reset`");
        Move { standing, resume, forgets_states, effect, refused }
    }

    fn json(&self, place: Place) -> Value {
        let Standing { partition, checkpoint, states, pends, .. } = &self.standing;
        json!({
            "partition": partition,
            "old": checkpoint.resume.as_ref().map(|it| it.position.to_string()),
            "was_finished": checkpoint.finished,
            "new": told(place),
            "effect": self.effect,
            "states": states,
            "forgets_states": self.forgets_states,
            "forgets_pending_range": pends,
            "refused": self.refused,
        })
    }
}

/// When the last record that is done has arrived.
fn arrival(checkpoint: &Checkpoint) -> Option<Timestamp> {
    #[cfg(feature = "kinesis")]
    return checkpoint.resume.as_ref().and_then(|it| kinesis::arrival_of(&it.token));
    #[cfg(not(feature = "kinesis"))]
    return checkpoint.resume.as_ref().and(None);
}

fn told(place: Place) -> String {
    match place {
        Place::TrimHorizon => "trim_horizon".to_owned(),
        Place::Latest => "latest".to_owned(),
        Place::Time(time) => time.to_string(),
        Place::Behind(position) => position.to_string(),
    }
}

async fn execute(config: &Config, kept: &Kept, moves: &[Move], place: Place) -> anyhow::Result<()> {
    let at = match place {
        Place::Time(time) => Some(time),
        _ => None,
    };
    let now = Timestamp(jiff::Timestamp::now().as_microsecond());
    match kept {
        Kept::Here => {
            // Nobody else has the directory from here on.
            let store = SqliteStore::open(&config.data_dir)?;
            #[cfg(feature = "kinesis")]
            if config.source.kinesis.is_some() && !matches!(place, Place::Behind(_)) {
                let shards: Vec<_> = moves.iter().map(|it| it.standing.partition.clone()).collect();
                let noted = kinesis::begin_anew(&config.data_dir, &shards, at, now)?;
                ensure!(
                    noted,
                    "not all of the shards are noted in `kinesis.json`: start a run first"
                );
            }
            let moves = moves
                .iter()
                .map(|it| (it.standing.partition.clone(), it.resume.clone(), it.forgets_states));
            store.reset(moves.collect()).await?;
        }
        #[cfg(feature = "dynamodb")]
        Kept::Leases(store) => {
            for it in moves {
                let Some(lease) = &it.standing.lease else { continue };
                let note = match (&lease.note, place) {
                    (_, Place::Behind(_)) => None,
                    (Some(note), _) => kinesis::note_anew(note, at, now),
                    // It begins with the oldest record that there is.
                    (None, Place::TrimHorizon) => None,
                    (None, _) => {
                        bail!("no host has noted `{}` yet: start one first", lease.partition)
                    }
                };
                let reset = LeaseReset {
                    resume: it.resume.clone(),
                    note,
                    forgets_states: it.forgets_states,
                };
                let moved = store.reset(lease, &reset).await;
                moved.with_context(|| format!("failed to move `{}`", lease.partition))?;
            }
        }
    }
    Ok(())
}

fn text(moves: &[Move], place: Place, executed: bool) -> String {
    let mut text = String::new();
    for it in moves {
        let Standing { partition, checkpoint, states, pends, .. } = &it.standing;
        let old = match (checkpoint.finished, &checkpoint.resume) {
            (true, _) => "finished".to_owned(),
            (false, Some(resume)) => resume.position.to_string(),
            (false, None) => "its beginning".to_owned(),
        };
        let _ = write!(text, "{partition}  {old} -> {}: {}", told(place), it.effect);
        if *pends {
            text.push_str("; a range that is intended is forgotten, of which objects may be there");
        }
        if it.forgets_states {
            let _ = write!(text, "; {states} states are forgotten");
        }
        if let Some(refused) = it.refused {
            let _ = write!(text, "; REFUSED: {refused}");
        }
        text.push('\n');
    }
    let partitions = moves.len();
    let _ = match executed {
        true => writeln!(text, "moved: {partitions}"),
        false => writeln!(text, "nothing is written: `--execute` does it"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_word_a_time_or_a_position() {
        let parse = |text: &str| text.parse::<Place>();
        assert_eq!(parse("trim_horizon"), Ok(Place::TrimHorizon));
        assert_eq!(parse("latest"), Ok(Place::Latest));
        assert_eq!(parse("1970-01-01T00:00:01Z"), Ok(Place::Time(Timestamp(1_000_000))));
        let sequence = "49680716496449471014499784590868896093254426554403913746";
        let Ok(Place::Behind(position)) = parse(sequence) else { panic!("it is a position") };
        assert_eq!(position.to_string(), format!("{sequence}-0"));
        let Ok(Place::Behind(position)) = parse(&format!("{sequence}-7")) else {
            panic!("it is a position")
        };
        assert_eq!(position.0[3], 7);
        for wrong in ["", "TRIM_HORIZON", "yesterday", "2026-01-01", "7-x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
