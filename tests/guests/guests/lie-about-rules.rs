//! Names a rule that it did not declare.

use guests::{Batch, Behave, Reply, doubled, guest, poison};

struct LieAboutRules;

impl Behave for LieAboutRules {
    fn transform(batch: Batch) -> Reply {
        let mut reply = doubled(&batch);
        if let Some(row) = poison(&batch) {
            reply.findings.rows.push(row);
            reply.findings.rules.push(1);
        }
        reply
    }
}

guest!(LieAboutRules);
