//! Keeps a state that grows past any bound.

use guests::{
    About, Batch, Behave, ConfigError, Description, KeyedState, Kind, Reply, binary, doubled,
    guest, poison, read, write,
};

struct FloodState;

impl Behave for FloodState {
    fn about() -> About {
        About {
            name: "guest".into(),
            version: "1.0.0".into(),
            summary: "Keeps too much.".into(),
            config_schema: "{}".into(),
            capabilities: vec!["state".into()],
            state_version: 1,
            may_be_passed_by: true,
        }
    }

    fn configure(_config: &str) -> Result<Description, ConfigError> {
        Ok(Description {
            reads: vec![read("amount", Kind::Float64)],
            writes: vec![write("doubled", Kind::Float64)],
            rules: vec![],
            state: Some(KeyedState { key: vec![0] }),
        })
    }

    fn transform(batch: Batch) -> Reply {
        let mut reply = doubled(&batch);
        let bytes = if poison(&batch).is_some() { 1 << 20 } else { 8 };
        reply.states.keys.push(0);
        reply.states.values = binary([vec![7u8; bytes]]);
        reply
    }
}

guest!(FloodState);
