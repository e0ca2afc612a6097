//! `#[derive(State)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Result};

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "a state is a struct"));
    };
    let name = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    let members: Vec<_> = data.fields.members().collect();
    let types: Vec<_> = data.fields.iter().map(|field| &field.ty).collect();
    Ok(quote! {
        impl #impl_generics ::tidegate_plugin::State for #name #type_generics #where_clause {
            fn encode(&self, bytes: &mut ::std::vec::Vec<u8>) {
                #(<#types as ::tidegate_plugin::State>::encode(&self.#members, bytes);)*
            }

            fn decode(bytes: &mut &[u8]) -> ::std::option::Option<Self> {
                ::std::option::Option::Some(Self {
                    #(#members: <#types as ::tidegate_plugin::State>::decode(bytes)?,)*
                })
            }
        }
    })
}
