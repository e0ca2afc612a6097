//! Writes a time that has no text by RFC 3339.

use guests::{
    Batch, Behave, ConfigError, Description, Kind, Reply, TimestampFormat, Values, column, guest,
    poison, read, reply, write,
};

struct FarFuture;

impl Behave for FarFuture {
    fn configure(_config: &str) -> Result<Description, ConfigError> {
        Ok(Description {
            reads: vec![read("amount", Kind::Float64)],
            writes: vec![write("answer", Kind::Timestamp(TimestampFormat::Rfc3339))],
            rules: vec![],
            state: None,
        })
    }

    fn transform(batch: Batch) -> Reply {
        let rows = batch.rows as usize;
        let answer = match poison(&batch) {
            Some(_) => Values::Timestamp(vec![i64::MAX; rows]),
            None => Values::Timestamp(vec![0; rows]),
        };
        reply(vec![column(answer)])
    }
}

guest!(FarFuture);
