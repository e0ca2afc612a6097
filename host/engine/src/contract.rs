//! The versions of the plugin contract that this host speaks, a module each.
//!
//! Adding a field or a case to the contract breaks every component built before, so each released
//! version keeps bindings of its own, which convert to the host's vocabulary. A component's
//! version is read off the name of its export.

pub(crate) mod v0_1;

/// The versions, oldest first.
pub const SUPPORTED_CONTRACTS: &[&str] = &["0.1.0"];
