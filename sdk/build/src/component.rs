//! From a core module to a component.

use std::borrow::Cow;

use anyhow::Context;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::BuildError;

/// The plugin contract.
pub const WIT: &str = include_str!("../../../wit/plugin.wit");

/// WASI preview 1 answered inside the guest, as text.
pub const WASI_ADAPTER: &str = include_str!("wasi-stub.wat");

/// The first bytes of a module; a component's differ in the second half.
const MODULE_PREAMBLE: &[u8] = b"\0asm\x01\0\0\0";

/// The world of a plugin without migrations and windows.
const WORLD: &str = "transform";

/// The world of the adapter: what it calls of the host.
const ADAPTER_WIT: &str =
    "package tidegate:adapter; world adapter { import tidegate:plugin/host@0.1.0; }";

/// Makes a core module that follows the contract's ABI a component. Imports of WASI preview 1 are
/// answered by our own adapter, so that none is left.
///
/// # Errors
/// When the module does not follow the ABI.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, BuildError> {
    encode(module).map_err(|error| BuildError::Component(format!("{error:#}")))
}

/// Makes a core module a component that says itself which contract it follows, as those do that
/// `wit-bindgen` has made. A component stays as it is.
///
/// # Errors
/// When the module does not follow the contract that it names.
pub fn encode_embedded(module: &[u8]) -> Result<Vec<u8>, BuildError> {
    if !module.starts_with(MODULE_PREAMBLE) {
        return Ok(module.to_owned());
    }
    ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| BuildError::Component(format!("{error:#}")))
}

fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    let plugin = resolve.push_source("plugin.wit", WIT).context("read the contract")?;
    let adapter = resolve.push_source("adapter.wit", ADAPTER_WIT).context("read the adapter")?;
    let embed = |bytes: Cow<'_, [u8]>, package, world| {
        let world = resolve.select_world(&[package], Some(world))?;
        let mut bytes = bytes.into_owned();
        embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8, false)?;
        anyhow::Ok(bytes)
    };
    let module = embed(module.into(), plugin, WORLD)?;
    let stub = wat::parse_str(WASI_ADAPTER).context("assemble the WASI adapter")?;
    let stub = embed(stub.into(), adapter, "adapter")?;
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(&module)?.adapter("wasi_snapshot_preview1", &stub)?;
    encoder.encode()
}
