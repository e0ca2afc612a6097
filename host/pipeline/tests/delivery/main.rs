//! The delivery guarantee as stories: stop at each seam, restart, and nothing is lost, nothing is
//! twice, and no checkpoint is ahead.
//!
//! All on one thread with a paused clock: the same seed gives the same trace.

mod blocked;
mod copies;
mod counting;
mod crash;
mod emit;
mod fleet;
mod outage;
mod partial;
mod recovery;
mod reshard;
mod run;
mod simulation;
mod swap;
mod world;
