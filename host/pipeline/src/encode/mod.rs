//! What a range leaves for its sinks: rows in a tree of directories, as named, immutable objects.

mod buffers;
mod key;
mod object;
mod rows;
mod tree;

pub(crate) use buffers::Buffers;
pub(crate) use key::{KeyProblem, partition_key};
pub(crate) use object::{Naming, Objects, plain};
pub use tree::{InvalidTree, Tree, VALUE_BYTES_MAX};
pub(crate) use tree::{TreePlan, slug};
