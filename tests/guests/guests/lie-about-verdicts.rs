//! Returns a verdict that there is not.

use guests::{Batch, Behave, Reply, doubled, guest, poison};

struct LieAboutVerdicts;

impl Behave for LieAboutVerdicts {
    fn transform(batch: Batch) -> Reply {
        let mut reply = doubled(&batch);
        if let Some(row) = poison(&batch) {
            reply.verdicts = vec![0; batch.rows as usize];
            reply.verdicts[row as usize] = 7;
        }
        reply
    }
}

guest!(LieAboutVerdicts);
