//! Which row is being worked on, and what is said to the host before a trap.
//!
//! A trap tells the host nothing but an address. So the row loops of this crate note their row,
//! and the panic hook hands it to the host together with the panic's text. For the host both are
//! hints: it checks them by calling a fresh instance with that row alone.

use std::cell::Cell;

thread_local! {
    // On wasm32 without threads this is a plain static.
    static ROW: Cell<usize> = const { Cell::new(NO_ROW) };
}

const NO_ROW: usize = usize::MAX;

/// Notes that work on a row begins. [`Batch::rows`](crate::Batch::rows) does it by itself.
#[inline]
pub fn note_row(row: usize) {
    ROW.set(row);
}

/// Notes that no row is being worked on.
pub fn note_no_row() {
    ROW.set(NO_ROW);
}

/// The row that is being worked on.
pub fn current_row() -> Option<u32> {
    match ROW.get() {
        NO_ROW => None,
        row => u32::try_from(row).ok(),
    }
}

/// Makes every later panic speak to the host first.
#[cfg(target_arch = "wasm32")]
pub(crate) fn install_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("panic without a text");
        let message = match panic.location() {
            Some(at) => format!("{text}, at {}:{}:{}", at.file(), at.line(), at.column()),
            None => text.to_owned(),
        };
        crate::guest::bindings::tidegate::plugin::host::fault(current_row(), &message);
    }));
}
