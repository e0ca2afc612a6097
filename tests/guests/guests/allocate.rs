//! Allocates for ever.

use guests::{Batch, Behave, Reply, doubled, guest, poison};

struct Allocate;

impl Behave for Allocate {
    fn transform(batch: Batch) -> Reply {
        let mut hoard: Vec<Vec<u8>> = vec![];
        while poison(&batch).is_some() {
            hoard.push(std::hint::black_box(Vec::with_capacity(1 << 20)));
        }
        doubled(&batch)
    }
}

guest!(Allocate);
