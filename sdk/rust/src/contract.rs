//! The trait behind every plugin, and how a config becomes one.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{About, Batch, ConfigError, Description, Reply, config};

/// A plugin whose reads and writes depend on its config.
///
/// A plugin whose fields are known when it is written is better a function under
/// [`#[plugin]`](macro@crate::plugin), which implements this trait.
///
/// A plugin is pure: a reply depends on the batch, its states, the config and nothing else, and
/// not on how rows were cut into batches. Hence `&self`.
pub trait Plugin: Sized + 'static {
    /// The stage's config. Its doc comments are what operators read about each key.
    type Config: DeserializeOwned + JsonSchema;

    /// Who the plugin is. Called once, on an instance that is thrown away.
    fn about() -> About;

    /// Checks the config beyond its types, and says what the plugin does under it. Called once
    /// on each fresh instance, before any batch.
    fn configure(config: Self::Config) -> Result<(Self, Description), ConfigError>;

    /// Answers a batch. Columns come and go in the order of the description.
    fn transform(&self, batch: &Batch<'_>) -> Reply;
}

/// A plugin under the config that a JSON text says, and its description.
pub fn configure<P: Plugin>(json: &str) -> Result<(P, Description), ConfigError> {
    P::configure(config::parse(json)?)
}

/// The JSON Schema of a plugin's config, as text.
pub fn config_schema<P: Plugin>() -> String {
    config::schema::<P::Config>()
}

/// A plugin that reads the states of its earlier versions.
///
/// Called off the data path for all states before a version serves, and for those that a batch meets:
/// pure, as the plugin itself. Export it by `export!(MyPlugin, migrates)`; under
/// [`#[plugin]`](macro@crate::plugin) the argument `migrate` does both.
pub trait Migrate: Plugin {
    /// Turns a state that version `from` wrote into one of [`About::state_version`].
    ///
    /// # Errors
    /// Why it can't: the version then never serves, and the state stays as it is.
    fn migrate(from: u32, state: &[u8]) -> Result<Vec<u8>, String>;
}

/// Makes a type that implements [`Plugin`] the plugin that this crate's component is. With
/// `migrates` behind it the type implements [`Migrate`] too, and the component says so.
///
/// Off wasm it expands to nothing, so that the same crate links natively.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::guest::{self, bindings};

            $crate::export!(@plugin $plugin);
        };
    };
    ($plugin:ty, migrates) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::guest::{self, bindings, migrating};

            $crate::export!(@plugin $plugin);

            impl migrating::exports::tidegate::plugin::migration::Guest for Component {
                fn migrate(
                    from: u32,
                    states: guest::Binary,
                ) -> ::std::result::Result<guest::Binary, ::std::string::String> {
                    guest::migrate::<$plugin>(from, &states)
                }
            }

            migrating::export_migrating!(Component with_types_in migrating);
        };
    };
    (@plugin $plugin:ty) => {
        use bindings::exports::tidegate::plugin::plugin as exported;

        ::std::thread_local! {
            static INSTANCE: ::std::cell::OnceCell<$plugin> =
                const { ::std::cell::OnceCell::new() };
        }

        struct Component;

        impl exported::Guest for Component {
            fn describe() -> exported::About {
                guest::describe::<$plugin>()
            }

            fn configure(
                config: ::std::string::String,
            ) -> ::std::result::Result<exported::Description, exported::ConfigError> {
                let (plugin, description) = guest::configure::<$plugin>(&config)?;
                INSTANCE.with(|instance| {
                    assert!(instance.set(plugin).is_ok(), "configure is called once");
                });
                ::std::result::Result::Ok(description)
            }

            fn transform(batch: exported::Batch) -> exported::Reply {
                INSTANCE.with(|instance| {
                    let plugin = instance.get().expect("configure comes before transform");
                    guest::transform(plugin, batch)
                })
            }
        }

        bindings::export_transform!(Component with_types_in bindings);
    };
}
