//! Returns a state and declares none.

use guests::{Batch, Behave, Reply, binary, doubled, guest, poison};

struct UndeclaredState;

impl Behave for UndeclaredState {
    fn transform(batch: Batch) -> Reply {
        let mut reply = doubled(&batch);
        if let Some(row) = poison(&batch) {
            reply.states.keys.push(row);
            reply.states.values = binary(["state"]);
        }
        reply
    }
}

guest!(UndeclaredState);
