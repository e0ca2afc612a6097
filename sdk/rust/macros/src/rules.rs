//! `#[derive(Rules)]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{DeriveInput, Error, LitStr, Result, Variant};

use crate::field;

const DIMENSIONS: [&str; 6] =
    ["completeness", "validity", "uniqueness", "consistency", "timeliness", "accuracy"];
const SEVERITIES: [&str; 3] = ["info", "warn", "reject"];

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let variants = field::plain_variants(&input, "Rules")?;
    let name = &input.ident;
    let rules: Vec<TokenStream> = variants.iter().map(|v| rule(v)).collect::<Result<_>>()?;
    let idents = variants.iter().map(|variant| &variant.ident);
    let indices = 0..rules.len() as u32;
    Ok(quote! {
        impl ::tidegate_plugin::typed::Rules for #name {
            fn rules() -> ::std::vec::Vec<::tidegate_plugin::Rule> {
                ::std::vec![#(#rules),*]
            }

            fn index(self) -> u32 {
                match self {
                    #(#name::#idents => #indices,)*
                }
            }
        }
    })
}

/// The rule of a variant, as an expression.
fn rule(variant: &Variant) -> Result<TokenStream> {
    let mut id = field::kebab_case(&variant.ident);
    let mut text = field::first_paragraph(&variant.attrs);
    let mut dimension = "validity";
    let mut severity = "reject";
    let mut about = quote!(::std::option::Option::None);
    for attribute in variant.attrs.iter().filter(|a| a.path().is_ident("rule")) {
        attribute.parse_nested_meta(|meta| {
            let known = |names: &[&'static str]| {
                names.iter().copied().find(|name| meta.path.is_ident(name))
            };
            if let Some(name) = known(&DIMENSIONS) {
                dimension = name;
            } else if let Some(name) = known(&SEVERITIES) {
                severity = name;
            } else if meta.path.is_ident("field") {
                let path = field::path(&meta.value()?.parse()?)?;
                about = quote!(::std::option::Option::Some(#path));
            } else if meta.path.is_ident("id") {
                id = meta.value()?.parse::<LitStr>()?.value();
            } else if meta.path.is_ident("text") {
                text = meta.value()?.parse::<LitStr>()?.value();
            } else {
                let mut known: Vec<_> = DIMENSIONS.iter().chain(&SEVERITIES).copied().collect();
                known.extend(["field", "id", "text"]);
                return Err(field::unknown(&meta.path, "rule", &known));
            }
            Ok(())
        })?;
    }
    if text.is_empty() {
        let why = "a rule needs a doc comment: the sentence that people read in a dead letter";
        return Err(Error::new_spanned(&variant.ident, why));
    }
    let dimension = variant_of(dimension);
    let severity = variant_of(severity);
    Ok(quote! {
        ::tidegate_plugin::Rule {
            id: #id.into(),
            dimension: ::tidegate_plugin::Dimension::#dimension,
            severity: ::tidegate_plugin::Severity::#severity,
            field: #about,
            text: #text.into(),
        }
    })
}

fn variant_of(name: &str) -> syn::Ident {
    let (first, rest) = name.split_at(1);
    format_ident!("{}{rest}", first.to_uppercase())
}
