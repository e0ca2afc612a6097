//! `#[plugin]`.

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Error, FnArg, Ident, ItemFn, LitBool, LitInt, LitStr, PatType, Result, ReturnType, Token, Type,
    TypeReference,
    ext::IdentExt,
    parse::{Parse, ParseStream},
    spanned::Spanned,
};

use crate::field;

/// The arguments of the attribute.
#[derive(Default)]
pub(crate) struct Arguments {
    name: Option<LitStr>,
    version: Option<LitStr>,
    summary: Option<LitStr>,
    state_version: Option<LitInt>,
    migrate: Option<syn::Path>,
    may_be_passed_by: Option<LitBool>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut arguments = Arguments::default();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match &*key.to_string() {
                "name" => arguments.name = Some(input.parse()?),
                "version" => arguments.version = Some(input.parse()?),
                "summary" => arguments.summary = Some(input.parse()?),
                "state_version" => arguments.state_version = Some(input.parse()?),
                "migrate" => arguments.migrate = Some(input.parse()?),
                "may_be_passed_by" => arguments.may_be_passed_by = Some(input.parse()?),
                _ => {
                    let why = "`plugin` takes `name`, `version`, `summary`, `state_version`, \
                               `migrate` and `may_be_passed_by`";
                    return Err(Error::new(key.span(), why));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

pub(crate) fn expand(arguments: Arguments, function: ItemFn) -> Result<TokenStream> {
    let parameters = Parameters::of(&function)?;
    let Parameters { config, row, state, found } = &parameters;
    let ReturnType::Type(_, output) = &function.sig.output else {
        let why = "a plugin returns a struct with `#[derive(Writes)]`, or a `Result` of one and a \
                   `Reject`";
        return Err(Error::new_spanned(&function.sig.ident, why));
    };
    if state.is_none() && arguments.state_version.is_some() {
        let why = "a plugin with a `state_version` takes a `&mut` state after its row";
        return Err(Error::new_spanned(arguments.state_version, why));
    }

    if let (None, Some(migrate)) = (&state, &arguments.migrate) {
        let why = "a plugin that migrates states takes a `&mut` state after its row";
        return Err(Error::new_spanned(migrate, why));
    }

    let ident = &function.sig.ident;
    let visibility = &function.vis;
    let plugin = format_ident!("{}Plugin", camel_case(ident), span = ident.span());
    let documentation = format!("The plugin that [`{ident}`] is.");
    let name = arguments.name.map_or_else(|| field::kebab_case(ident), |name| name.value());
    let version = match arguments.version {
        Some(version) => quote!(#version),
        None => quote!(::std::env!("CARGO_PKG_VERSION")),
    };
    let summary = match arguments.summary {
        Some(summary) => summary.value(),
        None => field::first_paragraph(&function.attrs),
    };
    let may_be_passed_by = arguments.may_be_passed_by.is_some_and(|value| value.value);
    let state_version = match (state, arguments.state_version) {
        (None, _) => quote!(0),
        (Some(_), None) => quote!(1),
        (Some(_), Some(version)) => quote!(#version),
    };

    // Where the types are named below, the function's lifetimes are not: the compiler finds them.
    let output = elided(quote!(#output));
    let row = elided(quote!(#row));
    let keeps_state = state.is_some();
    let config_type = match config {
        Some(config) => quote!(#config),
        None => quote!(::tidegate_plugin::typed::NoConfig),
    };
    let reads = quote_spanned!(row.span()=> <#row as ::tidegate_plugin::typed::Reads<'_>>);
    let describe = quote_spanned!(output.span()=>
        ::tidegate_plugin::typed::describe::<#row, #output>(#keeps_state));
    let config_argument = config.is_some().then(|| quote!(&self.config,));
    let state_argument = state.as_ref().map(|_| quote!(, states.of_row(row)));
    let found_argument = found.then(|| quote!(, found));
    let (bind_states, finish_states, check_key) = match state {
        None => (None, None, None),
        Some(state) => (
            Some(quote! {
                let mut states =
                    ::tidegate_plugin::state::KeyedStates::<#state>::of(batch.states);
            }),
            Some(quote!(reply.states = states.finish();)),
            Some(quote_spanned! {row.span()=>
                const _: () = ::std::assert!(
                    #reads::KEYS > 0,
                    "a plugin that keeps state needs a key: `#[read(key)]` on a field of its row",
                );
            }),
        ),
    };

    let (migrate, export) = match (state, &arguments.migrate) {
        (Some(state), Some(migrate)) => {
            // A function of another type is an error at its name.
            let migrate = quote_spanned! {migrate.span()=>
                impl ::tidegate_plugin::Migrate for #plugin {
                    fn migrate(
                        from: u32,
                        state: &[u8],
                    ) -> ::std::result::Result<::std::vec::Vec<u8>, ::std::string::String> {
                        let state: ::std::result::Result<#state, ::std::string::String> =
                            #migrate(from, state);
                        ::std::result::Result::Ok(::tidegate_plugin::state::encode(&state?))
                    }
                }
            };
            (Some(migrate), quote!(::tidegate_plugin::export!(#plugin, migrates);))
        }
        _ => (None, quote!(::tidegate_plugin::export!(#plugin);)),
    };

    Ok(quote! {
        #function

        #[doc = #documentation]
        #visibility struct #plugin {
            #[allow(dead_code, reason = "a function may take no config")]
            config: #config_type,
        }

        impl ::tidegate_plugin::Plugin for #plugin {
            type Config = #config_type;

            fn about() -> ::tidegate_plugin::About {
                let description = #describe;
                ::tidegate_plugin::About {
                    name: #name,
                    version: #version,
                    summary: #summary,
                    capabilities: ::tidegate_plugin::typed::capabilities::<#output>(&description),
                    state_version: #state_version,
                    may_be_passed_by: #may_be_passed_by,
                }
            }

            fn configure(
                config: #config_type,
            ) -> ::std::result::Result<
                (Self, ::tidegate_plugin::Description),
                ::tidegate_plugin::ConfigError,
            > {
                ::std::result::Result::Ok((#plugin { config }, #describe))
            }

            fn transform(&self, batch: &::tidegate_plugin::Batch<'_>) -> ::tidegate_plugin::Reply {
                let columns = #reads::bind(batch);
                #bind_states
                #[allow(unused_mut, unused_variables, reason = "both are for some functions only")]
                let mut reply = ::tidegate_plugin::typed::run(batch, |row, found| {
                    let row_values = #reads::row(&columns, row);
                    #ident(#config_argument row_values #state_argument #found_argument)
                });
                #finish_states
                reply
            }
        }

        #check_key

        #migrate

        #export
    })
}

/// The types of the function's parameters.
struct Parameters {
    config: Option<Type>,
    row: Type,
    state: Option<Type>,
    found: bool,
}

impl Parameters {
    fn of(function: &ItemFn) -> Result<Self> {
        const ORDER: &str = "a plugin takes `&Config` (may be left out), its row by value, \
                             `&mut State` and `&mut Found<Rules>` (where it needs them), in this \
                             order";
        let signature = &function.sig;
        if let Some(wrong) = signature.generics.type_params().next() {
            return Err(Error::new_spanned(wrong, "a plugin has no type parameters"));
        }
        if let Some(wrong) = signature.asyncness {
            return Err(Error::new_spanned(wrong, "a plugin does no I/O: it is not `async`"));
        }
        let mut types = Vec::new();
        for input in &signature.inputs {
            match input {
                FnArg::Typed(PatType { ty, .. }) => types.push(&**ty),
                FnArg::Receiver(receiver) => return Err(Error::new_spanned(receiver, ORDER)),
            }
        }
        let mut types = types.into_iter().peekable();
        let config = match types.peek() {
            Some(Type::Reference(TypeReference { elem, mutability: None, .. })) => {
                types.next();
                Some((**elem).clone())
            }
            _ => None,
        };
        let row = match types.next() {
            Some(Type::Reference(reference)) => return Err(Error::new_spanned(reference, ORDER)),
            Some(row) => row.clone(),
            None => return Err(Error::new_spanned(&signature.ident, ORDER)),
        };
        let (mut state, mut found) = (None, false);
        for ty in types {
            match ty {
                Type::Reference(TypeReference { elem, mutability: Some(_), .. }) if !found => {
                    match is_found(elem) {
                        true => found = true,
                        false if state.is_none() => state = Some((**elem).clone()),
                        false => return Err(Error::new_spanned(ty, ORDER)),
                    }
                }
                _ => return Err(Error::new_spanned(ty, ORDER)),
            }
        }
        Ok(Parameters { config, row, state, found })
    }
}

/// The same type with its lifetimes left for the compiler to find.
fn elided(tokens: TokenStream) -> TokenStream {
    let mut after_quote = false;
    tokens
        .into_iter()
        .map(|token| {
            let was_after_quote = std::mem::take(&mut after_quote);
            match token {
                TokenTree::Punct(punct) => {
                    after_quote = punct.as_char() == '\'';
                    TokenTree::Punct(punct)
                }
                TokenTree::Ident(ident) if was_after_quote && ident != "static" => {
                    TokenTree::Ident(Ident::new("_", ident.span()))
                }
                TokenTree::Group(group) => {
                    let mut inner = Group::new(group.delimiter(), elided(group.stream()));
                    inner.set_span(group.span());
                    TokenTree::Group(inner)
                }
                token => token,
            }
        })
        .collect()
}

fn is_found(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == "Found"),
        _ => false,
    }
}

fn camel_case(ident: &Ident) -> String {
    let capitalized = |word: &str| {
        let mut chars = word.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect::<String>())
    };
    ident.unraw().to_string().split('_').filter_map(capitalized).collect()
}
