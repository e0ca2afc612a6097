//! `#[derive(Enumeration)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, LitStr, Result, Variant};

use crate::field;

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let variants = field::plain_variants(&input, "Enumeration")?;
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(&input.generics, "an enumeration has no parameters"));
    }
    let name = &input.ident;
    let labels: Vec<String> = variants.iter().map(|v| label(v)).collect::<Result<_>>()?;
    for (i, label) in labels.iter().enumerate() {
        if labels[..i].contains(label) {
            let why = format!("another variant has the label `{label}`");
            return Err(Error::new_spanned(variants[i], why));
        }
    }
    let idents: Vec<_> = variants.iter().map(|variant| &variant.ident).collect();
    let codes: Vec<u32> = (0..idents.len() as u32).collect();
    Ok(quote! {
        impl ::tidegate_plugin::typed::Enumeration for #name {
            const LABELS: &'static [&'static str] = &[#(#labels),*];

            #[inline]
            fn code(self) -> u32 {
                match self {
                    #(#name::#idents => #codes,)*
                }
            }

            #[inline]
            fn from_code(code: u32) -> ::std::option::Option<Self> {
                match code {
                    #(#codes => ::std::option::Option::Some(#name::#idents),)*
                    _ => ::std::option::Option::None,
                }
            }
        }

        impl<'batch> ::tidegate_plugin::typed::Value<'batch> for #name {
            type Cells = ::tidegate_plugin::batch::Cells<'batch, u32>;

            fn kind(_: ::tidegate_plugin::TimestampFormat) -> ::tidegate_plugin::Kind {
                ::tidegate_plugin::typed::enumeration_kind::<Self>()
            }

            fn bind(batch: &::tidegate_plugin::Batch<'batch>, read: usize) -> Self::Cells {
                batch.enumeration(read)
            }

            #[inline]
            fn get(
                cells: &Self::Cells,
                row: usize,
            ) -> ::std::result::Result<Self, ::tidegate_plugin::Absence> {
                let code = cells.get(row)?;
                <Self as ::tidegate_plugin::typed::Enumeration>::from_code(code)
                    .ok_or(::tidegate_plugin::Absence::OutOfRange)
            }
        }

        impl ::tidegate_plugin::typed::Written for #name {
            type Builder = ::tidegate_plugin::reply::ColumnBuilder<u32>;

            fn kind(_: ::tidegate_plugin::TimestampFormat) -> ::tidegate_plugin::Kind {
                ::tidegate_plugin::typed::enumeration_kind::<Self>()
            }

            #[inline]
            fn set(self, builder: &mut Self::Builder) {
                builder.set(::tidegate_plugin::typed::Enumeration::code(self));
            }

            fn finish(builder: Self::Builder) -> ::tidegate_plugin::reply::Column {
                builder.finish(::tidegate_plugin::reply::Values::Enumeration)
            }
        }
    })
}

fn label(variant: &Variant) -> Result<String> {
    match variant.attrs.iter().find(|attribute| attribute.path().is_ident("label")) {
        Some(attribute) => Ok(attribute.parse_args::<LitStr>()?.value()),
        None => Ok(field::kebab_case(&variant.ident)),
    }
}
