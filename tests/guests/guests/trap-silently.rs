//! Traps without telling the host why, and names another row as the culprit.

use guests::{Batch, Behave, Reply, doubled, guest, host, poison};

struct TrapSilently;

impl Behave for TrapSilently {
    fn transform(batch: Batch) -> Reply {
        if let Some(row) = poison(&batch) {
            // The hint is a lie: the host may look there first, and must find the row all the same.
            host::fault(Some(row + 1), "");
            core::arch::wasm32::unreachable();
        }
        doubled(&batch)
    }
}

guest!(TrapSilently);
