//! Panics on one record and says which.

use guests::{Batch, Behave, POISON, Reply, amounts, at, doubled, guest};

struct TrapOnOne;

impl Behave for TrapOnOne {
    fn transform(batch: Batch) -> Reply {
        for (row, &amount) in amounts(&batch).iter().enumerate() {
            at(row as u32);
            judge(amount);
        }
        doubled(&batch)
    }
}

/// A frame of its own for the backtrace.
#[inline(never)]
fn judge(amount: f64) {
    assert!(amount != POISON, "there is no such amount");
}

guest!(TrapOnOne);
