//! What the derives have in common: structs with named fields, paths, names.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, ExprLit, Field, Fields, Ident, Lit, LitStr, Meta,
    Result, Variant, ext::IdentExt, spanned::Spanned,
};

use crate::path_syntax::{self, Segment};

/// The fields of a struct with named ones.
pub(crate) fn named_fields<'a>(
    input: &'a DeriveInput,
    derive: &str,
) -> Result<impl Iterator<Item = &'a Field> + Clone> {
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Ok(fields.named.iter()),
            _ => Err(Error::new_spanned(
                &input.ident,
                format!("`{derive}` needs named fields, for a field's name is its path"),
            )),
        },
        _ => Err(Error::new_spanned(&input.ident, format!("`{derive}` is for structs"))),
    }
}

/// The variants of an enum without data.
pub(crate) fn plain_variants<'a>(input: &'a DeriveInput, derive: &str) -> Result<Vec<&'a Variant>> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, format!("`{derive}` is for enums")));
    };
    if let Some(variant) = data.variants.iter().find(|v| !matches!(v.fields, Fields::Unit)) {
        let why = format!("a variant of `{derive}` carries no data");
        return Err(Error::new_spanned(&variant.fields, why));
    }
    if data.variants.is_empty() {
        return Err(Error::new_spanned(&input.ident, format!("`{derive}` needs a variant")));
    }
    Ok(data.variants.iter().collect())
}

/// The name of a field, without the `r#` of a keyword.
pub(crate) fn name_of(field: &Field) -> String {
    field.ident.as_ref().map(|ident| ident.unraw().to_string()).unwrap_or_default()
}

/// The path that an attribute says, as an expression.
pub(crate) fn path(text: &LitStr) -> Result<TokenStream> {
    match path_syntax::parse(&text.value()) {
        Ok(segments) => Ok(segments_expression(&segments)),
        Err(why) => Err(Error::new(text.span(), format!("this is not a path: {why}"))),
    }
}

/// The path of a member of the record itself, as an expression.
pub(crate) fn path_of_key(name: &str) -> TokenStream {
    segments_expression(&[Segment::Key(name.to_owned())])
}

fn segments_expression(segments: &[Segment]) -> TokenStream {
    let segments = segments.iter().map(|segment| match segment {
        Segment::Key(key) => quote!(::tidegate_plugin::Segment::Key(#key.into())),
        Segment::Index(index) => quote!(::tidegate_plugin::Segment::Index(#index)),
    });
    quote!(::tidegate_plugin::Path(::std::vec![#(#segments),*]))
}

/// The timestamp format that an attribute says, as an expression; RFC 3339 without one.
pub(crate) fn timestamp_format(text: Option<&LitStr>) -> Result<TokenStream> {
    let variant = match text.map(|text| (text, text.value())) {
        None => quote!(Rfc3339),
        Some((text, name)) => match &*name {
            "rfc3339" => quote!(Rfc3339),
            "unix-seconds" => quote!(UnixSeconds),
            "unix-milliseconds" => quote!(UnixMilliseconds),
            "unix-microseconds" => quote!(UnixMicroseconds),
            _ => {
                let why = "a timestamp's format is `rfc3339`, `unix-seconds`, \
                           `unix-milliseconds` or `unix-microseconds`";
                return Err(Error::new(text.span(), why));
            }
        },
    };
    Ok(quote!(::tidegate_plugin::TimestampFormat::#variant))
}

/// The doc comment, its first paragraph on one line.
pub(crate) fn first_paragraph(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) => Some(line.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// `HighValue` and `high_value` as `high-value`.
pub(crate) fn kebab_case(ident: &Ident) -> String {
    let mut kebab = String::new();
    for c in ident.unraw().to_string().chars() {
        match c {
            '_' => kebab.push('-'),
            c if c.is_uppercase() => {
                if !kebab.is_empty() {
                    kebab.push('-');
                }
                kebab.extend(c.to_lowercase());
            }
            c => kebab.push(c),
        }
    }
    kebab
}

/// An error at the argument of an attribute that the attribute does not know.
pub(crate) fn unknown(path: &syn::Path, attribute: &str, known: &[&str]) -> Error {
    let known: Vec<_> = known.iter().map(|known| format!("`{known}`")).collect();
    Error::new(path.span(), format!("`{attribute}` takes {}", known.join(", ")))
}
