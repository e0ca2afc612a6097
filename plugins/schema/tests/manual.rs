//! The config in the manual is accepted.

use schema::Schema;
use serde_json::Value;
use tidegate_plugin::testing::Harness;

#[test]
fn the_manuals_config_is_accepted() {
    let page = include_str!("../../../docs/first-party-plugins.md");
    let section = page.split("\n## ").find(|section| section.starts_with("schema\n"));
    let yaml = section.and_then(|section| section.split("```yaml\n").nth(1)?.split("```").next());
    let config: Value = serde_saphyr::from_str(yaml.expect("a block")).expect("the block is YAML");
    let mut harness = Harness::<Schema>::new(config).unwrap_or_else(|error| panic!("{error}"));
    let records = serde_json::json!([
        {"order_id": "1", "lines": [{"sku": "A", "quantity": 2}]},
        {"order_id": "1", "lines": [{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 0}]},
    ]);
    let outcomes = harness.run(records);
    assert!(outcomes[0].findings.is_empty());
    assert_eq!(outcomes[1].findings[0].detail, "/lines/1/quantity: minimum");
}
