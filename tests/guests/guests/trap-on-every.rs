//! Panics on every record.

use guests::{Batch, Behave, Reply, at, guest};

struct TrapOnEvery;

impl Behave for TrapOnEvery {
    fn transform(_batch: Batch) -> Reply {
        at(0);
        panic!("never any good")
    }
}

guest!(TrapOnEvery);
