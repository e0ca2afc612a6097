//! The derive and attribute macros of `tidegate-plugin`, which documents and re-exports them.
//!
//! This crate turns syntax into implementations of that crate's traits and owns no behaviour: what
//! a field's type can do is said by the traits, so that a wrong type is the compiler's own error
//! at that type.

mod enumeration;
mod field;
mod plugin;
mod reads;
mod rules;
mod state;
mod writes;

/// The same source that parses the paths of configs, so that both take the same texts.
#[path = "../../src/path/syntax.rs"]
mod path_syntax;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemFn, parse_macro_input};

/// Lets a struct be read from rows, a field a column. See the trait of the same name.
#[proc_macro_derive(Reads, attributes(read, lookup))]
pub fn derive_reads(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    reads::derive(input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Lets a struct be written to rows, a field a column. See the trait of the same name.
#[proc_macro_derive(Writes, attributes(write))]
pub fn derive_writes(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    writes::derive(input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Lets an enum stand in a record as one of some labels. See the trait of the same name.
#[proc_macro_derive(Enumeration, attributes(label))]
pub fn derive_enumeration(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    enumeration::derive(input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Lets an enum name the rules of a plugin. See the trait of the same name.
#[proc_macro_derive(Rules, attributes(rule))]
pub fn derive_rules(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    rules::derive(input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Lets a struct be kept as the state of a key, field after field.
#[proc_macro_derive(State)]
pub fn derive_state(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    state::derive(input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a function the plugin of its crate.
///
/// The function takes, in this order: the config (`&Config`, may be left out), the row (a struct
/// that derives `Reads`), the state of the row's key (`&mut State`, for a plugin that keeps one)
/// and what is found besides the verdict (`&mut Found<Rules>`). It returns a struct that derives
/// `Writes`, or a `Result` of one and a `Reject`.
///
/// | argument | default |
/// |---|---|
/// | `name = "…"` | the function's name in kebab case |
/// | `version = "…"` | the crate's |
/// | `summary = "…"` | the first paragraph of the function's doc comment |
/// | `state_version = 1` | 1 with a state, 0 without |
/// | `migrate = function` | states of other versions can't be read |
/// | `may_be_passed_by = true` | `false` |
///
/// `migrate` names a function `fn(from: u32, state: &[u8]) -> Result<State, String>`, which makes a state
/// of the current version of one that version `from` wrote.
///
/// The function stays as it is, so that tests call it. Beside it stands a type that implements
/// `Plugin`, and is exported where the target is wasm: `CategorizePlugin` for `categorize`.
#[proc_macro_attribute]
pub fn plugin(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as plugin::Arguments);
    let function = parse_macro_input!(item as ItemFn);
    plugin::expand(arguments, function).unwrap_or_else(syn::Error::into_compile_error).into()
}
