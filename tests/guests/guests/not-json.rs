//! Writes a subtree that is not JSON, which would break the record it is spliced into.

use guests::{
    Batch, Behave, ConfigError, Description, Kind, Reply, Values, binary, column, guest, poison,
    read, reply, write,
};

struct NotJson;

impl Behave for NotJson {
    fn configure(_config: &str) -> Result<Description, ConfigError> {
        Ok(Description {
            reads: vec![read("amount", Kind::Float64)],
            writes: vec![write("answer", Kind::Json)],
            rules: vec![],
            state: None,
        })
    }

    fn transform(batch: Batch) -> Reply {
        let rows = batch.rows as usize;
        let answer = match poison(&batch) {
            Some(_) => Values::Json(binary(vec!["1}, {"; rows])),
            None => Values::Json(binary(vec!["[1]"; rows])),
        };
        reply(vec![column(answer)])
    }
}

guest!(NotJson);
