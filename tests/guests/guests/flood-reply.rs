//! Answers with more than the host will take.

use guests::{Batch, Behave, Reply, doubled, guest, poison};

struct FloodReply;

impl Behave for FloodReply {
    fn transform(batch: Batch) -> Reply {
        let mut reply = doubled(&batch);
        if let Some(row) = poison(&batch) {
            reply.findings.details.bytes = vec![row as u8; 32 << 20];
        }
        reply
    }
}

guest!(FloodReply);
