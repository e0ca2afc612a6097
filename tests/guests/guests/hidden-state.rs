//! Keeps a state that the host knows nothing of, which leaks from one batch to the next: writes
//! the sum of all amounts so far.

use std::cell::Cell;

use guests::{Batch, Behave, Reply, Values, amounts, column, guest, reply};

thread_local! {
    static SUM: Cell<f64> = const { Cell::new(0.0) };
}

struct HiddenState;

impl Behave for HiddenState {
    fn transform(batch: Batch) -> Reply {
        let sum = |amount: &f64| {
            SUM.set(SUM.get() + amount);
            SUM.get()
        };
        let sums = amounts(&batch).iter().map(sum).collect();
        reply(vec![column(Values::Float64(sums))])
    }
}

guest!(HiddenState);
