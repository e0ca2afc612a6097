//! The ledger of ranges, as an operator writes it, and what must hold for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Config,
    aws::{Aws, AwsRole},
    rules::Rules,
    units::TimeSpan,
};

/// A row for each range in an Amazon DynamoDB table: how many records it had, what became of them, and
/// when. Written when the range's objects are there, before its checkpoint moves; once, whatever
/// crashes. `docs/delivery.md` lists the attributes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ledger {
    /// The table's name. Several pipelines may share one.
    pub table: String,
    /// The region; without it what the environment or the profile says.
    pub region: Option<String>,
    /// The service's address, such as `http://127.0.0.1:8000`; without it the region's. Without TLS
    /// only on this machine.
    pub endpoint: Option<String>,
    /// A role to assume; without it the credentials are used as they are.
    pub role: Option<AwsRole>,
    /// Addresses whose cryptography is validated by FIPS 140.
    pub fips: bool,
    /// Addresses that are reached by IPv6 too.
    pub dual_stack: bool,
    /// Whether a table that is not there is created, billed by request, with an index by shard and
    /// time.
    pub create_table: bool,
    /// How long after its batch time DynamoDB may delete a row.
    pub time_to_live: TimeSpan,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger {
            table: String::new(),
            region: None,
            endpoint: None,
            role: None,
            fips: false,
            dual_stack: false,
            create_table: true,
            time_to_live: TimeSpan::seconds(30 * 24 * 60 * 60),
        }
    }
}

impl Ledger {
    /// The keys that all services have.
    pub(crate) fn aws(&self) -> Aws<'_> {
        Aws {
            region: self.region.as_deref(),
            endpoint: self.endpoint.as_deref(),
            role: self.role.as_ref(),
            fips: self.fips,
            dual_stack: self.dual_stack,
        }
    }
}

impl Rules<'_> {
    pub(super) fn ledger(&mut self, config: &Config) {
        let Some(ledger) = &config.ledger else { return };
        if cfg!(not(feature = "dynamodb")) {
            let message = "this program was built without the feature `dynamodb`";
            self.find("one-of", "/ledger", message);
        }
        self.aws(ledger.aws(), "/ledger");
        self.table_name(&ledger.table, "/ledger");
        if config.leases.as_ref().is_some_and(|it| it.table == ledger.table) {
            let message = "a table of its own: this one has the leases";
            self.find("invalid-value", "/ledger/table", message);
        }
        if ledger.time_to_live < TimeSpan::seconds(1) {
            self.find("out-of-range", "/ledger/time_to_live", "at least `1s`");
        }
    }

    /// What DynamoDB takes for a table's name.
    pub(super) fn table_name(&mut self, name: &str, at: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() {
            self.find("missing-key", at, "`table` names the table");
        } else if !((3..=255).contains(&name.len()) && name.chars().all(plain)) {
            let message = format!(
                "`{name}` is not a table's name: 3 to 255 letters, digits, `-`, `_` and `.`"
            );
            self.find("invalid-value", &format!("{at}/table"), message);
        }
    }
}
