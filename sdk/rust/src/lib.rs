//! Write Tidegate plugins in Rust.

pub mod batch;
pub mod config;
mod contract;
pub mod description;
pub mod fault;
pub mod hash;
pub mod log;
pub mod path;
pub mod reply;
pub mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod time;
pub mod typed;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;

pub use batch::{Absence, Batch};
pub use config::ConfigError;
pub use contract::{Plugin, config_schema, configure};
pub use description::{
    About, Capability, Description, Dimension, HostValue, Kind, Lookup, Origin, Read, Rule,
    Severity, TimestampFormat, Write,
};
pub use hash::{HashMap, HashSet};
pub use path::{Path, Segment};
pub use reply::{Field, Findings, Reply, Verdict};
pub use state::State;
pub use tidegate_plugin_macros::plugin;
pub use time::{Date, Timestamp};
pub use typed::{
    Dropped, Enumeration, Found, Json, JsonText, Reads, Refused, Reject, Rules, Writes,
};
