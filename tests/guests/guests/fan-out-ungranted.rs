//! Answers with two rows for one, without the capability.

use guests::{Batch, Behave, Reply, Values, doubled, guest, poison};

struct FanOutUngranted;

impl Behave for FanOutUngranted {
    fn transform(batch: Batch) -> Reply {
        let mut reply = doubled(&batch);
        if let Some(row) = poison(&batch) {
            reply.parents = (0..batch.rows).chain([batch.rows - 1]).collect();
            let Values::Float64(values) = &mut reply.columns[0].values else { return reply };
            values.push(f64::from(row));
        }
        reply
    }
}

guest!(FanOutUngranted);
