//! Rejects a row and does not say by which rule.

use guests::{Batch, Behave, Reply, doubled, guest, poison};

struct RejectWithoutRule;

impl Behave for RejectWithoutRule {
    fn transform(batch: Batch) -> Reply {
        let mut reply = doubled(&batch);
        if let Some(row) = poison(&batch) {
            reply.verdicts = vec![0; batch.rows as usize];
            reply.verdicts[row as usize] = 2;
        }
        reply
    }
}

guest!(RejectWithoutRule);
