//! The plugins of a pipeline: each stage's component loaded and configured.

use tidegate_core::TransformFactory as _;
use tidegate_engine::{
    Component, ConfigureError, ConfigureOptions, Factory, Limit, Limits, Runtime,
};
use tidegate_pipeline::causes;

use crate::{
    config::{ByteSize, Loaded, PluginLimits, Stage, TimeSpan},
    files::Files,
    finding::Finding,
    supply::{Guard, Rights, StageRights, Supply, names},
};

/// A stage's plugin, configured.
#[derive(Clone, Debug)]
pub struct LoadedStage {
    /// The component.
    pub component: Component,
    /// What makes instances of it.
    pub factory: Factory,
    /// What it may ask of the host.
    pub(crate) rights: Rights,
    /// Who has signed it, where the policy wants a signature.
    pub(crate) signed_by: Option<String>,
    /// Whether it may run at this moment.
    pub(crate) guard: Guard,
}

impl LoadedStage {
    /// What the plugin may ask of the host, as the plugin of a stage.
    pub(crate) fn stage_rights(&self, stage: &Stage) -> StageRights {
        let about = &self.factory.plugin().about;
        let plugin = format!("{} {}", about.name, about.version);
        let digest = self.component.digest();
        StageRights::new(&stage.name, plugin, digest, self.signed_by.clone(), &self.rights)
    }
}

/// Loads and configures all plugins, or says everything that is wrong with them at once. Blocks
/// for as long as the compiler takes.
pub fn load(
    loaded: &Loaded,
    runtime: &Runtime,
    supply: &Supply,
) -> Result<Vec<LoadedStage>, Vec<Finding>> {
    load_from(loaded, runtime, supply, &Files::on_disk())
}

/// The same, of given files.
pub fn load_from(
    loaded: &Loaded,
    runtime: &Runtime,
    supply: &Supply,
    files: &Files,
) -> Result<Vec<LoadedStage>, Vec<Finding>> {
    let mut stages = Vec::new();
    let mut findings = Vec::new();
    for (i, stage) in loaded.config.stages.iter().enumerate() {
        match load_stage(loaded, runtime, supply, files, stage, &format!("/stages/{i}")) {
            Ok(stage) => stages.push(stage),
            Err(finding) => findings.push(*finding),
        }
    }
    if findings.is_empty() { Ok(stages) } else { Err(findings) }
}

fn load_stage(
    loaded: &Loaded,
    runtime: &Runtime,
    supply: &Supply,
    files: &Files,
    stage: &Stage,
    pointer: &str,
) -> Result<LoadedStage, Box<Finding>> {
    let finding = |code, below: &str, message| {
        Box::new(loaded.finding(code, &format!("{pointer}/{below}"), message))
    };
    let policy = supply.policy();
    let admitted = supply
        .resolve(&stage.plugin, files)
        .map_err(|error| finding(error.code(), "plugin", causes(&error)))?;
    let component = runtime.load_within(&admitted.bytes, &policy.limits()).map_err(|error| {
        let message = format!("failed to load `{}`: {}", stage.plugin, causes(&error));
        finding("invalid-plugin", "plugin", message)
    })?;
    let rights = Rights::new(&component.about().capabilities, &stage.grants, policy.ceiling());
    let factory = component.configure(options(stage, &rights)).map_err(|error| match &error {
        ConfigureError::Refused { pointer: within, message, .. } => {
            let name = &component.about().name;
            match &stage.config_file {
                None => {
                    let message = format!("plugin `{name}` refuses its config: {message}");
                    finding("plugin-config", &format!("config{within}"), message)
                }
                Some(file) => {
                    let file = file.display();
                    let message =
                        format!("plugin `{name}` refuses `{file}` at `{within}`: {message}");
                    finding("plugin-config", "config_file", message)
                }
            }
        }
        ConfigureError::NotGranted { plugin, capability }
            if rights.granted.contains(capability) =>
        {
            let message = format!(
                "plugin `{plugin}` asks for the capability `{}`, which {policy} allows to no plugin",
                capability.name()
            );
            finding("above-ceiling", "grants", message)
        }
        ConfigureError::NotGranted { .. } => finding("not-granted", "grants", error.to_string()),
        ConfigureError::Memory { .. } => finding("limit", "limits/memory", error.to_string()),
        _ => finding("plugin-config", "plugin", causes(&error)),
    })?;
    let unused = rights.unused();
    if !unused.is_empty() {
        let unused = names(&unused).join(", ");
        tracing::warn!(stage = stage.name, "grants that the plugin does not ask for: {unused}");
    }
    let guard = supply.guard(admitted.digest);
    Ok(LoadedStage { component, factory, rights, signed_by: admitted.signed_by, guard })
}

/// How a stage uses its component.
pub(crate) fn options(stage: &Stage, rights: &Rights) -> ConfigureOptions {
    let config = stage.config.clone().unwrap_or_else(|| serde_json::json!({}));
    ConfigureOptions {
        config_json: config.to_string(),
        limits: limits(&stage.limits),
        grants: rights.grantable(),
        ..ConfigureOptions::default()
    }
}

/// The engine's limits with what the operator says instead.
pub(crate) fn limits(written: &PluginLimits) -> Limits {
    let engine = Limits::default();
    let limit = |default: Limit, base: Option<u64>, per_row: Option<u64>| Limit {
        base: base.unwrap_or(default.base),
        per_row: per_row.unwrap_or(default.per_row),
    };
    let bytes = |size: Option<ByteSize>| size.map(|size| size.0);
    Limits {
        memory_bytes: bytes(written.memory).unwrap_or(engine.memory_bytes),
        fuel: limit(engine.fuel, written.fuel, written.fuel_per_row),
        configure_fuel: engine.configure_fuel,
        time: written.time.map_or(engine.time, |time| time.0),
        time_per_row: written.time_per_row.map_or(engine.time_per_row, |time| time.0),
        reply_bytes: limit(engine.reply_bytes, bytes(written.reply), bytes(written.reply_per_row)),
        findings: limit(engine.findings, written.findings, written.findings_per_row),
        log_lines: written.log_lines.unwrap_or(engine.log_lines),
        state_bytes: bytes(written.state).unwrap_or(engine.state_bytes),
    }
}

/// Limits in an operator's terms, with nothing left to the engine's defaults: those of another host
/// may be others.
pub(crate) fn spelled_out(limits: &Limits) -> PluginLimits {
    let bytes = |bytes: u64| Some(ByteSize::bytes(bytes));
    PluginLimits {
        memory: bytes(limits.memory_bytes),
        fuel: Some(limits.fuel.base),
        fuel_per_row: Some(limits.fuel.per_row),
        time: Some(TimeSpan(limits.time)),
        time_per_row: Some(TimeSpan(limits.time_per_row)),
        reply: bytes(limits.reply_bytes.base),
        reply_per_row: bytes(limits.reply_bytes.per_row),
        findings: Some(limits.findings.base),
        findings_per_row: Some(limits.findings.per_row),
        log_lines: Some(limits.log_lines),
        state: bytes(limits.state_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_are_spelled_out_come_back() {
        let defaults = spelled_out(&limits(&PluginLimits::default()));
        assert_eq!(limits(&defaults), Limits::default());
        let some = PluginLimits { fuel: Some(7), state: Some(ByteSize::bytes(9)), ..defaults };
        let text = serde_json::to_string(&spelled_out(&limits(&some))).unwrap();
        let read: PluginLimits = serde_json::from_str(&text).unwrap();
        assert_eq!(limits(&read), limits(&some));
    }
}
