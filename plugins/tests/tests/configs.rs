//! The configs in the manual and in the examples are accepted by the plugins that they are for.

use serde_json::Value;
use tidegate_plugin::Plugin;

const FIRST_PARTY: [&str; 9] = [
    "validate",
    "schema",
    "rules",
    "enrich",
    "categorize",
    "anomaly",
    "redact",
    "correct",
    "dedupe",
];

fn accept(plugin: &str, config: &Value, place: &str) {
    let config = config.to_string();
    let accepted = match plugin {
        "validate" => accepted::<validate::Validate>(&config),
        "enrich" => accepted::<enrich::Enrich>(&config),
        "categorize" => accepted::<categorize::Categorize>(&config),
        "anomaly" => accepted::<anomaly::Anomaly>(&config),
        "redact" => accepted::<redact::Redact>(&config),
        "correct" => accepted::<correct::Correct>(&config),
        "dedupe" => accepted::<dedupe::Dedupe>(&config),
        "rules" => accepted::<rules::Rules>(&config),
        // It is built and tested in a workspace of its own.
        "schema" => return,
        _ => panic!("{place}: there is no plugin `{plugin}`"),
    };
    if let Err(error) = accepted {
        panic!("{place}: {plugin}: {error}");
    }
}

fn accepted<P: Plugin>(config: &str) -> Result<(), String> {
    let (_, description) =
        tidegate_plugin::configure::<P>(config).map_err(|error| error.to_string())?;
    let written = !description.writes.is_empty() || !description.rules.is_empty();
    written.then_some(()).ok_or_else(|| "it does nothing".to_owned())
}

#[test]
fn the_manuals_configs_are_accepted() {
    let page = include_str!("../../../docs/first-party-plugins.md");
    let mut shown = 0;
    for section in page.split("\n## ").skip(1) {
        let plugin = section.lines().next().unwrap_or_default();
        for block in section.split("```yaml\n").skip(1) {
            let yaml = block.split("```").next().unwrap_or_default();
            let config: Value = serde_saphyr::from_str(yaml).expect("the block is YAML");
            let place = "docs/first-party-plugins.md";
            match config["stages"].as_array() {
                // A part of a pipeline, where a config alone would not say enough.
                Some(stages) => {
                    assert!(!stages.is_empty());
                    stages.iter().for_each(|stage| accept(plugin, &stage["config"], place));
                }
                None => accept(plugin, &config, place),
            }
            shown += 1;
        }
    }
    assert_eq!(shown, 11, "one for each plugin, and two for `dedupe` and `enrich`");
}

#[test]
fn the_examples_configs_are_accepted() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut stages = 0;
    for example in std::fs::read_dir(examples).expect("there are examples") {
        let path = example.expect("an example").path().join("pipeline.yaml");
        let Ok(yaml) = std::fs::read_to_string(&path) else { continue };
        let pipeline: Value = serde_saphyr::from_str(&yaml).expect("a pipeline is YAML");
        for stage in pipeline["stages"].as_array().into_iter().flatten() {
            let file = stage["plugin"].as_str().expect("a stage has a plugin");
            let name = file.rsplit('/').next().and_then(|file| file.strip_suffix(".wasm"));
            if let Some(plugin) = name.filter(|name| FIRST_PARTY.contains(name)) {
                let mut config = stage["config"].clone();
                if let Some(file) = stage["config_file"].as_str() {
                    let yaml = std::fs::read_to_string(path.with_file_name(file));
                    let yaml = yaml.expect("the config's file is beside its pipeline");
                    config = serde_saphyr::from_str(&yaml).expect("a config is YAML");
                }
                accept(plugin, &config, &path.display().to_string());
                stages += 1;
            }
        }
    }
    assert!(stages >= 4, "the examples run the first-party plugins");
}
