//! Logs so much that the copying alone would keep the host busy.

use guests::{Batch, Behave, Reply, doubled, guest, host, poison};

struct Shout;

impl Behave for Shout {
    fn transform(batch: Batch) -> Reply {
        let line = "!".repeat(1 << 20);
        while poison(&batch).is_some() {
            host::log(host::Level::Info, &line);
        }
        doubled(&batch)
    }
}

guest!(Shout);
