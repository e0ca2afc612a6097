//! Writes a field as another kind than it declared.

use guests::{Batch, Behave, Reply, Values, column, doubled, guest, poison};

struct UndeclaredKind;

impl Behave for UndeclaredKind {
    fn transform(batch: Batch) -> Reply {
        let mut reply = doubled(&batch);
        if let Some(row) = poison(&batch) {
            reply.columns[0] = column(Values::Int64(vec![i64::from(row); batch.rows as usize]));
        }
        reply
    }
}

guest!(UndeclaredKind);
