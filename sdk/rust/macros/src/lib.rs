//! The derive and attribute macros of `tidegate-plugin`, which documents and re-exports them.
//!
//! This crate turns syntax into implementations of that crate's traits and owns no behaviour: what
//! a field's type can do is said by the traits, so that a wrong type is the compiler's own error
//! at that type.

mod state;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Lets a struct be kept as the state of a key, field after field.
#[proc_macro_derive(State)]
pub fn derive_state(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    state::derive(input).unwrap_or_else(syn::Error::into_compile_error).into()
}
