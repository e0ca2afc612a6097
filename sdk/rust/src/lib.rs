//! Write Tidegate plugins in Rust: two structs and a function.
//!
//! A plugin is a pure function over the fields of a record. It says which fields it reads and
//! which it writes, and the host does the rest: it parses a record once for the whole chain,
//! calls the plugin with a batch of just those fields, and splices what comes back into the
//! record's bytes.
//!
//! ```
//! use tidegate_plugin::{Reads, Reject, Writes, plugin};
//!
//! #[derive(Reads)]
//! struct Order<'a> {
//!     price: f64,
//!     quantity: i64,
//!     #[read(path = "customer.country")]
//!     country: Option<&'a str>,
//! }
//!
//! #[derive(Debug, PartialEq, Writes)]
//! struct Priced {
//!     total: f64,
//!     is_domestic: bool,
//! }
//!
//! /// Works out what an order comes to.
//! #[plugin]
//! fn price(order: Order) -> Result<Priced, Reject> {
//!     if order.quantity < 1 {
//!         return Err(Reject::because("nothing is ordered"));
//!     }
//!     let total = order.price * order.quantity as f64;
//!     Ok(Priced { total, is_domestic: order.country == Some("DE") })
//! }
//!
//! // It is an ordinary function …
//! let order = Order { price: 2.5, quantity: 4, country: None };
//! assert_eq!(price(order), Ok(Priced { total: 10.0, is_domestic: false }));
//!
//! // … and is run on records as a host would run it, without wasm.
//! use serde_json::json;
//! let records = json!([{"price": 3, "quantity": 2, "customer": {"country": "DE"}}]);
//! let outcomes = tidegate_plugin::testing::run::<PricePlugin>(json!({}), records);
//! assert_eq!(outcomes[0].record()["total"], 6.0);
//! ```
//!
//! `docs/plugins.md` is the manual for authors. Here is the reference: [`Reads`] and [`Writes`] say
//! what a field's type and attributes may be, [`Rules`] and [`Reject`] how a row is refused,
//! [`State`] what is kept for a key, [`testing`] how it is tried. A plugin whose fields depend on
//! its config implements [`Plugin`] itself, over the columns of a [`Batch`] and a [`Reply`], with
//! loops out of [`blocks`].
//!
//! This crate never does I/O, reads no clock and draws no random number, and only one private
//! module knows WIT: everything else compiles and runs natively.

pub mod batch;
pub mod blocks;
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
pub use contract::{Migrate, Plugin, config_schema, configure};
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

/// The examples of the manual, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/plugins.md")]
struct Manual;
