//! What the benchmarks measure, and how: one piece of work, done in every way that is compared.
//!
//! It owns the work (four plugins and their configs, over made-up transactions), the same plugins
//! linked natively behind the seam that components stand behind, and the clock. The tables are
//! printed by `benches/`; programs that do the work without Tidegate are in `peers/`, a workspace
//! of its own.
//!
//! It never decides what is fast enough: no test of this project fails on a time.

pub mod agree;
pub mod clock;
mod handwritten;
pub mod lookups;
pub mod native;
pub mod run;
pub mod transactions;
pub mod work;
