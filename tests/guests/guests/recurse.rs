//! Recurses for ever.

use guests::{Batch, Behave, Reply, doubled, guest, poison};

struct Recurse;

impl Behave for Recurse {
    fn transform(batch: Batch) -> Reply {
        if poison(&batch).is_some() {
            std::hint::black_box(deeper(1));
        }
        doubled(&batch)
    }
}

#[allow(unconditional_recursion)]
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    deeper(std::hint::black_box(depth + 1)).wrapping_add(depth)
}

guest!(Recurse);
