//! Writes a float that JSON does not have.

use guests::{Batch, Behave, Reply, Values, column, doubled, guest, poison};

struct NotFinite;

impl Behave for NotFinite {
    fn transform(batch: Batch) -> Reply {
        let mut reply = doubled(&batch);
        if let Some(row) = poison(&batch) {
            reply.columns[0] = column(Values::Float64(vec![f64::NAN; batch.rows as usize]));
            let Values::Float64(values) = &mut reply.columns[0].values else { return reply };
            values[row as usize] = f64::INFINITY;
        }
        reply
    }
}

guest!(NotFinite);
