//! Returns a code that is in no dictionary.

use guests::{
    Batch, Behave, ConfigError, Description, Kind, Reply, Values, column, guest, poison, read,
    reply, write,
};

struct LieAboutCodes;

impl Behave for LieAboutCodes {
    fn configure(_config: &str) -> Result<Description, ConfigError> {
        Ok(Description {
            reads: vec![read("amount", Kind::Float64)],
            writes: vec![write("answer", Kind::Enumeration(vec!["only".into()]))],
            rules: vec![],
            state: None,
        })
    }

    fn transform(batch: Batch) -> Reply {
        let rows = batch.rows as usize;
        let answer = match poison(&batch) {
            Some(_) => Values::Enumeration(vec![1; rows]),
            None => Values::Enumeration(vec![0; rows]),
        };
        reply(vec![column(answer)])
    }
}

guest!(LieAboutCodes);
