//! Returns one value too many.

use guests::{Batch, Behave, Reply, Values, column, doubled, guest, poison};

struct LieAboutCounts;

impl Behave for LieAboutCounts {
    fn transform(batch: Batch) -> Reply {
        let mut reply = doubled(&batch);
        if let Some(row) = poison(&batch) {
            reply.columns[0] = column(Values::Float64(vec![0.0; row as usize + 1000]));
        }
        reply
    }
}

guest!(LieAboutCounts);
