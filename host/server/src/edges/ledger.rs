//! The ledger of ranges, from a config.

use std::sync::Arc;

use anyhow::Context;
use tidegate_connectors::ledger::{DynamoLedger, LedgerConfig};
use tidegate_core::ledger::BatchLedger;

use super::aws::aws;
use crate::config::{self, Config};

/// The ledger, where there is one. Creates its table, where that is asked for and it is not there.
pub(crate) async fn ledger(config: &Config) -> anyhow::Result<Option<Arc<dyn BatchLedger>>> {
    let Some(written) = &config.ledger else { return Ok(None) };
    let opened = DynamoLedger::open(ledger_config(written), written.create_table).await;
    let opened = opened.with_context(|| format!("failed to open the ledger `{}`", written.table));
    Ok(Some(Arc::new(opened?)))
}

/// The table.
pub(super) fn ledger_config(written: &config::Ledger) -> LedgerConfig {
    LedgerConfig {
        table: written.table.clone(),
        aws: aws(written.aws()),
        time_to_live: written.time_to_live.0,
    }
}
