//! Wants too much memory, is refused, and panics about it in its own words.

use guests::{Batch, Behave, Reply, doubled, guest, poison};

struct PanicWhenRefused;

impl Behave for PanicWhenRefused {
    fn transform(batch: Batch) -> Reply {
        if poison(&batch).is_some() {
            let mut hoard: Vec<u8> = vec![];
            hoard.try_reserve(1 << 30).expect("room for a gigabyte");
        }
        doubled(&batch)
    }
}

guest!(PanicWhenRefused);
