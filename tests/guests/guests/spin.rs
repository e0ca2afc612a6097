//! Spins for ever.

use guests::{Batch, Behave, Reply, doubled, guest, poison};

struct Spin;

impl Behave for Spin {
    fn transform(batch: Batch) -> Reply {
        let mut turns = 0u64;
        while poison(&batch).is_some() {
            turns = std::hint::black_box(turns.wrapping_add(1));
        }
        doubled(&batch)
    }
}

guest!(Spin);
