//! `#[derive(Writes)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{DeriveInput, Field, LitStr, Result, spanned::Spanned};

use crate::field;

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let fields = field::named_fields(&input, "Writes")?;
    let attributes: Vec<Attributes> = fields.clone().map(Attributes::of).collect::<Result<_>>()?;

    let name = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    let idents: Vec<_> = fields.clone().map(|field| &field.ident).collect();
    // Spanned, so that a type that can't be written is underlined where it stands.
    let value: Vec<_> = fields
        .clone()
        .map(|field| {
            let ty = &field.ty;
            quote_spanned!(ty.span()=> <#ty as ::tidegate_plugin::typed::WriteValue>)
        })
        .collect();
    let paths = attributes.iter().map(|attributes| &attributes.path);
    let formats = attributes.iter().map(|attributes| &attributes.format);
    let positions: Vec<_> = (0..attributes.len()).map(syn::Index::from).collect();

    Ok(quote! {
        impl #impl_generics ::tidegate_plugin::typed::Writes for #name #type_generics
        #where_clause
        {
            type Columns = (#(#value::Builder,)*);

            fn writes() -> ::std::vec::Vec<::tidegate_plugin::Write> {
                ::std::vec![#(::tidegate_plugin::Write {
                    path: #paths,
                    kind: #value::kind(#formats),
                }),*]
            }

            fn columns(rows: usize) -> Self::Columns {
                (#(<#value::Builder as ::tidegate_plugin::typed::Builder>::with_rows(rows),)*)
            }

            #[inline]
            fn push(self, columns: &mut Self::Columns) {
                #(#value::push(self.#idents, &mut columns.#positions);)*
            }

            #[inline]
            fn leave(columns: &mut Self::Columns) {
                #(::tidegate_plugin::typed::Builder::push_none(
                    &mut columns.#positions,
                    ::tidegate_plugin::Field::Leave,
                );)*
            }

            fn finish(columns: Self::Columns) -> ::std::vec::Vec<::tidegate_plugin::reply::Column> {
                ::std::vec![#(#value::finish(columns.#positions)),*]
            }
        }
    })
}

/// What the attributes of a field say, as expressions.
struct Attributes {
    path: TokenStream,
    format: TokenStream,
}

impl Attributes {
    fn of(field: &Field) -> Result<Self> {
        let mut path = field::path_of_key(&field::name_of(field));
        let mut format: Option<LitStr> = None;
        for attribute in field.attrs.iter().filter(|a| a.path().is_ident("write")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("path") {
                    path = field::path(&meta.value()?.parse()?)?;
                } else if meta.path.is_ident("format") {
                    format = Some(meta.value()?.parse()?);
                } else {
                    return Err(field::unknown(&meta.path, "write", &["path", "format"]));
                }
                Ok(())
            })?;
        }
        Ok(Attributes { path, format: field::timestamp_format(format.as_ref())? })
    }
}
