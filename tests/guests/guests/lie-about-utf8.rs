//! Returns text that is not UTF-8.

use guests::{
    Batch, Behave, Binary, ConfigError, Description, Kind, Reply, Values, binary, column, guest,
    poison, read, reply, write,
};

struct LieAboutUtf8;

impl Behave for LieAboutUtf8 {
    fn configure(_config: &str) -> Result<Description, ConfigError> {
        Ok(Description {
            reads: vec![read("amount", Kind::Float64)],
            writes: vec![write("text", Kind::Utf8)],
            rules: vec![],
            state: None,
        })
    }

    /// A test gives it two rows.
    fn transform(batch: Batch) -> Reply {
        let text = match poison(&batch) {
            Some(_) => Binary { offsets: vec![0, 1, 2], bytes: vec![0xc3, 0x28] },
            None => binary(vec!["fine"; batch.rows as usize]),
        };
        reply(vec![column(Values::Utf8(text))])
    }
}

guest!(LieAboutUtf8);
