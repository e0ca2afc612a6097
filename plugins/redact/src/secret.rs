//! Keys, and how a config that holds them is read without showing them.
//!
//! A key must not get into a message or a log, also when the config is wrong. So no type here
//! prints one, and none of their errors quotes what stands in the config: an operator may have put
//! the key where its name belongs.

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData};

use hmac::{Hmac, KeyInit};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use sha2::Sha256;
use tidegate_plugin::ConfigError;

/// A keyed hash that has taken its key, to be cloned for each value.
pub(crate) type Mac = Hmac<Sha256>;

/// A shorter key can be found by trying, a longer one is no better than its generator.
const KEY_BYTES_MIN: usize = 16;

/// The keys of a config by name.
#[derive(Clone, Default)]
pub struct Keys(BTreeMap<String, String>);

impl Keys {
    /// The keyed hash of a name that stands at a JSON Pointer.
    pub(crate) fn mac(&self, name: &KeyName, pointer: &str) -> Result<Mac, ConfigError> {
        let Some(key) = self.0.get(&name.0) else {
            let known: Vec<_> = self.0.keys().map(|name| format!("`{name}`")).collect();
            let why = match known.is_empty() {
                true => "it must be the name of a key, and there is none under `keys`".to_owned(),
                false => format!("it must be the name of a key: {}", known.join(", ")),
            };
            return Err(ConfigError::at(format!("{pointer}/key"), why));
        };
        Mac::new_from_slice(key.as_bytes())
            .map_err(|_| ConfigError::at(format!("{pointer}/key"), "it is no key"))
    }

    /// Checks what the type doesn't say.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match self.0.iter().find(|(_, key)| key.len() < KEY_BYTES_MIN) {
            Some((name, _)) => {
                let name = name.replace('~', "~0").replace('/', "~1");
                let why = format!(
                    "the key has fewer than {KEY_BYTES_MIN} bytes: make one by `openssl rand -hex 32`"
                );
                Err(ConfigError::at(format!("/keys/{name}"), why))
            }
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys: Guarded<BTreeMap<String, Secret>> = Guarded::deserialize(deserializer)?;
        Ok(Keys(keys.0.into_iter().map(|(name, Secret(key))| (name, key)).collect()))
    }
}

impl JsonSchema for Keys {
    fn schema_name() -> Cow<'static, str> {
        "Keys".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": {
                "type": "string", "minLength": KEY_BYTES_MIN, "writeOnly": true
            },
            "description": "Keys by name.",
        })
    }
}

/// A text that is never quoted.
struct Secret(String);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Unquoted).map(Secret)
    }
}

/// The name of a key, as a config refers to it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyName(String);

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyName(_)")
    }
}

impl<'de> Deserialize<'de> for KeyName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Unquoted).map(KeyName)
    }
}

impl JsonSchema for KeyName {
    fn schema_name() -> Cow<'static, str> {
        "KeyName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "The name of a key, one of `keys`." })
    }
}

/// Takes a text, and refuses everything else without a word of what it was.
struct Unquoted;

const NOT_A_TEXT: &str = "expected a string; what stands here is not shown, for it may be a key";

macro_rules! refuse {
    ($why:expr; $($method:ident: $type:ty),*) => {$(
        fn $method<E: Error>(self, _: $type) -> Result<Self::Value, E> {
            Err(E::custom($why))
        }
    )*};
}

impl<'de> Visitor<'de> for Unquoted {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    refuse! { NOT_A_TEXT; visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64 }
}

/// A map of settings. In place of a map anything may stand by mistake, a key too: it is not quoted.
#[derive(Clone, Debug)]
pub struct Guarded<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Guarded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MapOnly(PhantomData)).map(Guarded)
    }
}

/// Takes a map, and refuses everything else without a word of what it was.
struct MapOnly<T>(PhantomData<T>);

const NOT_A_MAP: &str = "expected a map; what stands here is not shown, for it may be a key";

impl<'de, T: Deserialize<'de>> Visitor<'de> for MapOnly<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<T, M::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }

    refuse! {
        NOT_A_MAP;
        visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str
    }
}
