//! Carrying a redrive out: by a command of its own, or by the pipeline that runs.

use std::{num::NonZeroU32, sync::Arc};

use serde::{Deserialize, Serialize};
use tidegate_connectors::store::{Redriven, SqliteStore, StoreInspector};
use tidegate_core::{Sink, checkpoint::Outcome, source::PartitionId};
use tidegate_pipeline::{
    Environment, Pipeline, Progress, Report, Settings, Shutdown, SwapHandle, causes,
};

use super::{History, LeftAlone, RedriveSource, Sealed, Selection, Terms, select};
use crate::{config::Config, objects::Objects, plan};

/// What an operator orders.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) terms: Terms,
    /// At most so many records a second.
    pub(crate) rate: Option<NonZeroU32>,
}

/// Carries redrives out.
pub(crate) struct Redriver {
    pub(crate) config: Config,
    pub(crate) store: SqliteStore,
    pub(crate) sinks: Vec<Arc<dyn Sink>>,
    /// What serves: redriven records go through it.
    pub(crate) serving: SwapHandle,
    pub(crate) settings: Settings,
    pub(crate) environment: Environment,
}

/// What became of a redrive.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Its number; none where there was nothing to redrive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) redrive: Option<u64>,
    /// An earlier one was interrupted, and is finished by this one.
    pub(crate) resumed: bool,
    /// How many letters it has.
    pub(crate) letters: usize,
    /// Those without an outcome: the next one goes on with them.
    pub(crate) open: usize,
    pub(crate) delivered: usize,
    pub(crate) dropped: usize,
    pub(crate) filtered: usize,
    pub(crate) dead_lettered: usize,
    /// Partitions that a person must look at.
    pub(crate) stopped: Vec<Stopped>,
    /// Letters that were asked for and are left alone; none where it was only finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) left: Option<LeftAlone>,
}

/// A partition that could not go on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stopped {
    pub(crate) partition: PartitionId,
    pub(crate) error: Option<String>,
}

impl Redriver {
    /// Carries one out, or finishes the one that was interrupted: to its end, or until it is told
    /// to stop. `watch` is handed its counters, and how many records there are.
    pub(crate) async fn execute(
        &self,
        order: &Order,
        shutdown: Shutdown,
        watch: impl FnOnce(Arc<Progress>, u64),
    ) -> anyhow::Result<Account> {
        let inspector = StoreInspector::open(&self.config.data_dir)?;
        let history = History::read(&inspector)?;
        let mut account = Account::default();
        let letters = match history.interrupted() {
            // It is finished first, and nothing else is done: its own failures would otherwise be
            // taken for letters that were asked for again.
            Some((number, letters)) => {
                (account.redrive, account.resumed) = (Some(number), true);
                letters
            }
            None => {
                let selected = select(&self.config, &inspector, &history, &order.terms).await?;
                let Selection { letters, left, .. } = selected;
                account.left = Some(left);
                account.redrive = letters.first().map(|it| it.redrive);
                if letters.is_empty() {
                    return Ok(account);
                }
                self.store.begin_redrive(letters.clone()).await?;
                letters
            }
        };
        let report = self.drive(letters, order.rate, shutdown, watch).await?;
        let number = account.redrive.unwrap_or_default();
        account.settle(&History::read(&inspector)?.redrive(number), &report);
        Ok(account)
    }

    async fn drive(
        &self,
        letters: Vec<Redriven>,
        rate: Option<NonZeroU32>,
        shutdown: Shutdown,
        watch: impl FnOnce(Arc<Progress>, u64),
    ) -> anyhow::Result<Report> {
        let config = &self.config;
        let records = open(&letters) as u64;
        let dead = Objects::of_dead_letters(config);
        let source =
            RedriveSource::new(&config.source.name, dead, letters, rate, Sealed::of(config));
        let mut settings = self.settings;
        if rate.is_some() && config.range.age.is_none() {
            // What comes slowly should be seen as it comes.
            settings.range.age_max = plan::AGE_OF_STREAMS.0;
        }
        let pipeline = Pipeline::beside(
            self.serving.clone(),
            Arc::new(source),
            self.sinks.clone(),
            Arc::new(self.store.clone()),
            settings,
            self.environment.clone(),
        )?;
        watch(pipeline.progress(), records);
        Ok(pipeline.run(shutdown).await?)
    }
}

impl Account {
    fn settle(&mut self, letters: &[Redriven], report: &Report) {
        let count = |outcome: Outcome| {
            let of = |it: &&Redriven| it.outcome.is_some_and(|it| it.outcome == outcome);
            letters.iter().filter(of).count()
        };
        self.letters = letters.len();
        self.open = open(letters);
        self.delivered = count(Outcome::Delivered);
        self.dropped = count(Outcome::Dropped);
        self.filtered = count(Outcome::Filtered);
        self.dead_lettered = count(Outcome::DeadLettered);
        let stopped = report.stopped().map(|it| Stopped {
            partition: it.partition.clone(),
            error: it.error.as_ref().map(|error| causes(error)),
        });
        self.stopped = stopped.collect();
    }
}

/// How many letters have no outcome yet.
pub(crate) fn open(letters: &[Redriven]) -> usize {
    letters.iter().filter(|it| it.outcome.is_none()).count()
}
