//! Reads what a component is built for out of its bytes, before anything is compiled or run.

use wasmtime::wasmparser::{Encoding, Parser, Payload};

use crate::{contract::SUPPORTED_CONTRACTS, error::LoadError};

/// What plugins may import: said to authors whose component wants more.
const OFFERED: &str = "`tidegate:plugin/host` and WASI 0.2";

/// What a component's outermost sections say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The version of the plugin contract that it was built for.
    pub contract: String,
    /// The names of its imports.
    pub imports: Vec<String>,
    /// The names of its exports.
    pub exports: Vec<String>,
    /// Whether it exports `migration`.
    pub migrates: bool,
    /// Whether it exports `windows`.
    pub has_windows: bool,
    /// Whether a backtrace will have function names.
    pub has_symbols: bool,
}

impl Interface {
    /// Reads a component's interface and refuses what this host can't run.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, LoadError> {
        let mut imports = Vec::new();
        let mut exports = Vec::new();
        let mut has_symbols = false;
        // Sections of nested modules and components come in between; the depth tells them apart.
        let mut depth = 0u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(|error| LoadError::NotWasm(error.to_string()))? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    return Err(LoadError::CoreModule);
                }
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        let import =
                            import.map_err(|error| LoadError::NotWasm(error.to_string()))?;
                        imports.push(import.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        let export =
                            export.map_err(|error| LoadError::NotWasm(error.to_string()))?;
                        exports.push(export.name.name.to_owned());
                    }
                }
                Payload::CustomSection(section) => has_symbols |= section.name() == "name",
                _ => {}
            }
        }
        let contract = contract_of(&exports)?;
        if let Some(import) = imports.iter().find(|import| !is_offered(import, &contract)) {
            return Err(LoadError::Import { import: import.clone(), offered: OFFERED });
        }
        let has = |interface: &str| exports.contains(&format!("{interface}@{contract}"));
        Ok(Interface {
            migrates: has("tidegate:plugin/migration"),
            has_windows: has("tidegate:plugin/windows"),
            contract,
            imports,
            exports,
            has_symbols,
        })
    }
}

/// The version of the contract, from the name of the export.
fn contract_of(exports: &[String]) -> Result<String, LoadError> {
    let plugin =
        |export: &String| export.strip_prefix("tidegate:plugin/plugin@").map(str::to_owned);
    let Some(version) = exports.iter().find_map(plugin) else {
        let exports = match exports {
            [] => "nothing".to_owned(),
            _ => exports.join(", "),
        };
        return Err(LoadError::NoPlugin { exports });
    };
    match SUPPORTED_CONTRACTS.contains(&version.as_str()) {
        true => Ok(version),
        false => Err(LoadError::Contract {
            built_for: version,
            supported: SUPPORTED_CONTRACTS.join(", "),
        }),
    }
}

/// The contract's own interfaces (types are imported too), and WASI 0.2, which is answered with
/// nothing.
fn is_offered(import: &str, contract: &str) -> bool {
    match import.split_once('@') {
        Some((name, version)) if name.starts_with("tidegate:plugin/") => version == contract,
        Some((name, version)) => name.starts_with("wasi:") && version.starts_with("0.2."),
        None => false,
    }
}
