//! Depends on how rows were cut into batches: writes the row's number in its batch.

use guests::{Batch, Behave, Reply, Values, column, guest, reply};

struct BatchBoundaries;

impl Behave for BatchBoundaries {
    fn transform(batch: Batch) -> Reply {
        let numbers = (0..batch.rows).map(f64::from).collect();
        reply(vec![column(Values::Float64(numbers))])
    }
}

guest!(BatchBoundaries);
