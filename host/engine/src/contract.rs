//! The versions of the plugin contract that this host speaks, a module each.
//!
//! Adding a field or a case to the contract breaks every component built before, so each released
//! version keeps bindings of its own, which convert to the host's vocabulary. A component's
//! version is read off the name of its export.

pub(crate) mod v0_1;

/// The versions, oldest first.
pub const SUPPORTED_CONTRACTS: &[&str] = &["0.1.0"];

/// Why a plugin refuses its config: a JSON Pointer into it, and a text.
pub(crate) struct Refusal {
    pub(crate) pointer: String,
    pub(crate) message: String,
}
