//! A ledger of ranges in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tidegate_core::{
    checkpoint::{StoreError, StoreErrorKind},
    ledger::{BatchLedger, LedgerEntry},
};
use tokio::time::sleep;

use super::weather::Weather;

/// Rows in memory. Clones share them.
#[derive(Clone)]
pub(super) struct Ledger {
    rows: Arc<Mutex<BTreeMap<String, Row>>>,
    weather: Arc<Weather>,
}

/// What is looked at of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    revision: u32,
    pub(super) records: u64,
}

impl Ledger {
    pub(super) fn new(weather: Arc<Weather>) -> Self {
        Ledger { rows: Arc::default(), weather }
    }

    pub(super) fn row(&self, shard: &str, range: u64) -> Option<Row> {
        self.rows().get(&format!("simulation/{shard}/{range:010}")).copied()
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<String, Row>> {
        // Nothing in it is ever half changed.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl BatchLedger for Ledger {
    async fn enter(&self, entry: LedgerEntry<'_>) -> Result<(), StoreError> {
        sleep(self.weather.delay()).await;
        let lost = self.weather.loses();
        if lost != Some(false) {
            let records = entry.manifest.counts.read.records;
            let row = Row { revision: entry.manifest.revision, records };
            let mut rows = self.rows();
            let there = rows.entry(entry.batch_id()).or_insert(row);
            if there.revision <= row.revision {
                *there = row;
            }
        }
        match lost {
            None => Ok(()),
            Some(_) => {
                let message = "no answer came back from the ledger";
                Err(StoreError::plain(StoreErrorKind::Unavailable, message))
            }
        }
    }
}
