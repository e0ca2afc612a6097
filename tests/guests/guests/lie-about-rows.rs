//! Finds something in a row that there is not.

use guests::{Batch, Behave, Reply, doubled, guest, poison};

struct LieAboutRows;

impl Behave for LieAboutRows {
    fn transform(batch: Batch) -> Reply {
        let mut reply = doubled(&batch);
        if let Some(row) = poison(&batch) {
            reply.findings.rows.push(row + batch.rows);
            reply.findings.rules.push(0);
        }
        reply
    }
}

guest!(LieAboutRows);
