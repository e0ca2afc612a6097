//! Returns a list that lies outside its memory.

use guests::{Batch, Behave, Reply, doubled, guest, poison};

struct LieAboutPointers;

impl Behave for LieAboutPointers {
    fn transform(batch: Batch) -> Reply {
        let mut reply = doubled(&batch);
        if poison(&batch).is_some() {
            // SAFETY: there is none. Nobody but the host reads it, and that is the point.
            reply.verdicts = unsafe { Vec::from_raw_parts(0x7fff_0000 as *mut u8, 2, 2) };
        }
        reply
    }
}

guest!(LieAboutPointers);
