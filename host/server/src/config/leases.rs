//! How several hosts share a stream, as an operator writes it, and what must hold for it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Config,
    aws::{Aws, AwsRole},
    rules::Rules,
    s3::S3,
    units::TimeSpan,
};

/// Hosts share a stream by leases in an Amazon DynamoDB table, which has the schema of the Kinesis
/// Client Library. Each host runs the same pipeline, with a data directory of its own. What does not
/// fit into a row, manifests and states, lies in a directory or a bucket that every host sees.
/// `docs/kinesis.md` says how it works, and what the credentials must be allowed to do.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Leases {
    /// The table's name: one table for each pipeline.
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
    /// Whether a table that is not there is created, billed by request.
    pub create_table: bool,
    /// A lease that shows no sign of life for so long is taken over, by the clock of whoever takes
    /// it. It is renewed three times as often.
    pub failover: TimeSpan,
    /// How often each host looks at the table: a lease that was handed over waits no longer.
    pub look_every: TimeSpan,
    /// What becomes of a shard with states whose checkpoint somebody else has moved: a worker of the
    /// Kinesis Client Library, or a person.
    pub on_state_gap: OnStateGap,
    /// The directory where manifests and states lie, which every host sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// The place in a bucket where manifests and states lie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3>,
}

impl Default for Leases {
    fn default() -> Self {
        Leases {
            table: String::new(),
            region: None,
            endpoint: None,
            role: None,
            fips: false,
            dual_stack: false,
            // As the Kinesis Client Library does.
            create_table: true,
            // The Kinesis Client Library's. A host that is paused for longer finishes nothing.
            failover: TimeSpan::seconds(10),
            // A look at sixty-four leases costs about ten read units.
            look_every: TimeSpan::seconds(1),
            on_state_gap: OnStateGap::default(),
            directory: None,
            s3: None,
        }
    }
}

impl Leases {
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

/// What becomes of a shard whose checkpoint is not where its states were left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnStateGap {
    /// It stops with an error.
    #[default]
    Fail,
    /// Its states are forgotten, and it goes on at the checkpoint.
    Reset,
}

/// Below this a lease is lost to a moment's pause.
const FAILOVER_MIN: TimeSpan = TimeSpan::seconds(2);

impl Rules<'_> {
    pub(super) fn leases(&mut self, config: &Config) {
        let Some(leases) = &config.leases else { return };
        if cfg!(not(feature = "dynamodb")) {
            let message = "this program was built without the feature `dynamodb`";
            self.find("one-of", "/leases", message);
        }
        if config.source.kinesis.is_none() && config.source.s3.is_none() {
            let message = "only shards of `kinesis` and objects of `s3` are shared by hosts";
            self.find("unsupported", "/leases", message);
        }
        self.aws(leases.aws(), "/leases");
        self.table_name(&leases.table, "/leases");
        if leases.failover < FAILOVER_MIN {
            self.find("out-of-range", "/leases/failover", "at least `2s`");
        }
        if leases.look_every.0.is_zero() || leases.look_every > leases.failover {
            let message = "more than nothing, and no longer than `failover`";
            self.find("out-of-range", "/leases/look_every", message);
        }
        let places = [("directory", leases.directory.is_some()), ("s3", leases.s3.is_some())];
        self.exactly_one("/leases", &places);
        if let Some(s3) = &leases.s3 {
            self.s3(s3, "/leases/s3");
            if !s3.tree.is_empty() {
                let message = "only a sink's objects are sorted by what is in them";
                self.find("unsupported", "/leases/s3/tree", message);
            }
        }
    }
}
