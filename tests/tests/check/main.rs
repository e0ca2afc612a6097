//! `tidegate check --level`: what is said of each action of each connector, and that nothing is left of
//! it, against the servers that the connectors are tested with.

mod drift;
mod files;
mod gate;
mod inbox;
mod road;
mod trouble;
mod world;
