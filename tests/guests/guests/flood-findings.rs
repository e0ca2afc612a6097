//! Finds the same thing over and over.

use guests::{Batch, Behave, Reply, doubled, guest, poison};

struct FloodFindings;

impl Behave for FloodFindings {
    fn transform(batch: Batch) -> Reply {
        let mut reply = doubled(&batch);
        if let Some(row) = poison(&batch) {
            reply.findings.rows = vec![row; 100_000];
            reply.findings.rules = vec![0; 100_000];
        }
        reply
    }
}

guest!(FloodFindings);
