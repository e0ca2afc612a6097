//! The derive and attribute macros of `tidegate-plugin`.
