//! The model over hand-made plugins.
