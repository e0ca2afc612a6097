//! Writes a field that it did not declare.

use guests::{Batch, Behave, Reply, doubled, guest, poison};

struct UndeclaredColumn;

impl Behave for UndeclaredColumn {
    fn transform(batch: Batch) -> Reply {
        let mut reply = doubled(&batch);
        if let Some(row) = poison(&batch) {
            let _ = row;
            let extra = reply.columns[0].clone();
            reply.columns.push(extra);
        }
        reply
    }
}

guest!(UndeclaredColumn);
