//! `#[derive(Reads)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{
    DeriveInput, Error, Field, GenericParam, Lifetime, LifetimeParam, LitStr, Result,
    spanned::Spanned,
};

use crate::field;

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let fields = field::named_fields(&input, "Reads")?;
    let attributes: Vec<Attributes> = fields.clone().map(Attributes::of).collect::<Result<_>>()?;
    let lifetime = lifetime(&input)?;

    let name = &input.ident;
    let (_, type_generics, where_clause) = input.generics.split_for_impl();
    let mut with_lifetime = input.generics.clone();
    if input.generics.lifetimes().next().is_none() {
        let param = GenericParam::Lifetime(LifetimeParam::new(lifetime.clone()));
        with_lifetime.params.insert(0, param);
    }
    let (impl_generics, ..) = with_lifetime.split_for_impl();

    let idents: Vec<_> = fields.clone().map(|field| &field.ident).collect();
    let names: Vec<_> = fields.clone().map(field::name_of).collect();
    let types: Vec<_> = fields.clone().map(|field| &field.ty).collect();
    // Spanned, so that a type that can't be read is underlined where it stands.
    let value: Vec<_> = types
        .iter()
        .map(|ty| {
            quote_spanned!(ty.span()=> <#ty as ::tidegate_plugin::typed::ReadValue<#lifetime>>)
        })
        .collect();
    let origins = attributes.iter().map(|attributes| &attributes.origin);
    let formats = attributes.iter().map(|attributes| &attributes.format);
    let keys: Vec<u32> = (0..).zip(&attributes).filter(|(_, a)| a.is_key).map(|(i, _)| i).collect();
    let key_count = keys.len();
    let indices: Vec<_> = (0..types.len()).collect();
    let positions = indices.iter().map(|i| syn::Index::from(*i));

    Ok(quote! {
        impl #impl_generics ::tidegate_plugin::typed::Reads<#lifetime> for #name #type_generics
        #where_clause
        {
            type Columns = (#(#value::Cells,)*);

            const KEYS: usize = #key_count;

            fn reads() -> ::std::vec::Vec<::tidegate_plugin::Read> {
                ::std::vec![#(::tidegate_plugin::Read {
                    from: #origins,
                    kind: #value::kind(#formats),
                    required: #value::REQUIRED,
                }),*]
            }

            fn key() -> ::std::vec::Vec<u32> {
                ::std::vec![#(#keys),*]
            }

            fn bind(batch: &::tidegate_plugin::Batch<#lifetime>) -> Self::Columns {
                (#(#value::bind(batch, #indices),)*)
            }

            #[inline]
            fn row(columns: &Self::Columns, row: usize) -> Self {
                Self {
                    #(#idents: match #value::get(&columns.#positions, row) {
                        ::std::result::Result::Ok(value) => value,
                        ::std::result::Result::Err(absence) => {
                            ::tidegate_plugin::typed::absent(#names, absence)
                        }
                    },)*
                }
            }
        }
    })
}

/// The lifetime of borrowed fields: the struct's, or one of our own.
fn lifetime(input: &DeriveInput) -> Result<Lifetime> {
    let mut lifetimes = input.generics.lifetimes();
    let first = lifetimes.next();
    if let Some(second) = lifetimes.next() {
        let why = "a struct that is read borrows from one batch: it has one lifetime";
        return Err(Error::new_spanned(second, why));
    }
    let own = || Lifetime::new("'batch", input.ident.span());
    Ok(first.map_or_else(own, |param| param.lifetime.clone()))
}

/// What the attributes of a field say.
struct Attributes {
    /// The `Origin`, as an expression.
    origin: TokenStream,
    /// The `TimestampFormat`, as an expression.
    format: TokenStream,
    is_key: bool,
}

impl Attributes {
    fn of(field: &Field) -> Result<Self> {
        let mut origin = None;
        let mut format: Option<LitStr> = None;
        let mut is_key = false;
        let mut from =
            |span: proc_macro2::Span, expression: TokenStream| match origin.replace(expression) {
                Some(_) => Err(Error::new(span, "a field is read from one place")),
                None => Ok(()),
            };
        for attribute in &field.attrs {
            if attribute.path().is_ident("read") {
                attribute.parse_nested_meta(|meta| {
                    if meta.path.is_ident("path") {
                        let path = field::path(&meta.value()?.parse()?)?;
                        from(meta.path.span(), quote!(::tidegate_plugin::Origin::Field(#path)))
                    } else if meta.path.is_ident("host") {
                        let value = host_value(&meta.value()?.parse()?)?;
                        from(meta.path.span(), quote!(::tidegate_plugin::Origin::Host(#value)))
                    } else if meta.path.is_ident("format") {
                        format = Some(meta.value()?.parse()?);
                        Ok(())
                    } else if meta.path.is_ident("key") {
                        is_key = true;
                        Ok(())
                    } else {
                        Err(field::unknown(&meta.path, "read", &["path", "host", "format", "key"]))
                    }
                })?;
            } else if attribute.path().is_ident("lookup") {
                from(attribute.span(), lookup(attribute, &field::name_of(field))?)?;
            }
        }
        let origin = origin.unwrap_or_else(|| {
            let path = field::path_of_key(&field::name_of(field));
            quote!(::tidegate_plugin::Origin::Field(#path))
        });
        Ok(Attributes { origin, format: field::timestamp_format(format.as_ref())?, is_key })
    }
}

fn host_value(name: &LitStr) -> Result<TokenStream> {
    let variant = match &*name.value() {
        "@record-id" => quote!(RecordId),
        "@partition" => quote!(Partition),
        "@position" => quote!(Position),
        "@partition-key" => quote!(PartitionKey),
        "@arrival-time" => quote!(ArrivalTime),
        "@batch-time" => quote!(BatchTime),
        "@source" => quote!(Source),
        _ => {
            let why = "the host knows `@record-id`, `@partition`, `@position`, `@partition-key`, \
                       `@arrival-time`, `@batch-time` and `@source`";
            return Err(Error::new(name.span(), why));
        }
    };
    Ok(quote!(::tidegate_plugin::HostValue::#variant))
}

/// A cell of a table: of the column of the field's name, unless the attribute names another.
fn lookup(attribute: &syn::Attribute, field: &str) -> Result<TokenStream> {
    let mut table: Option<LitStr> = None;
    let mut column: Option<LitStr> = None;
    let mut keys = Vec::new();
    attribute.parse_nested_meta(|meta| {
        if meta.path.is_ident("table") {
            table = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("column") {
            column = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("key") {
            keys.push(field::path(&meta.value()?.parse()?)?);
        } else {
            return Err(field::unknown(&meta.path, "lookup", &["table", "key", "column"]));
        }
        Ok(())
    })?;
    let column = column.map_or_else(|| field.to_owned(), |column| column.value());
    match (table, keys.is_empty()) {
        (Some(table), false) => Ok(quote! {
            ::tidegate_plugin::Origin::Lookup(::tidegate_plugin::Lookup {
                table: #table.into(),
                keys: ::std::vec![#(#keys),*],
                column: #column.into(),
            })
        }),
        _ => Err(Error::new_spanned(
            attribute,
            "a look-up is `#[lookup(table = \"…\", key = \"…\")]`, with a `key` for each key column, \
             and a `column` where its name is not the field's",
        )),
    }
}
