//! Tests over all first-party plugins. There is nothing in the library itself.
