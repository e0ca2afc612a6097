//! Where records go: a directory tree, standard output, nowhere.

mod blackhole;
mod directory;
mod stdout;

pub use blackhole::Blackhole;
pub use directory::DirectorySink;
pub use stdout::StandardOutput;
