//! Logs a thousand lines for each batch.

use guests::{Batch, Behave, Reply, doubled, guest, host};

struct FloodLogs;

impl Behave for FloodLogs {
    fn transform(batch: Batch) -> Reply {
        for line in 0..1000 {
            host::log(host::Level::Info, &format!("line {line}"));
        }
        doubled(&batch)
    }
}

guest!(FloodLogs);
