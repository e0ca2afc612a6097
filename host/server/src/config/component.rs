//! How a pipeline's file names a component: by a file, by a digest, or by a registry.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use tidegate_core::Digest;

/// What a reference to a registry begins with.
const REGISTRY: &str = "oci://";
/// What stands between a name and the digest that it is pinned to.
const PINNED: &str = "@sha256:";

/// Where a component is to be had, and which one it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComponentReference {
    /// A file: `plugin.wasm`, or `plugin.wasm@sha256:…`.
    File {
        /// Where it lies.
        path: PathBuf,
        /// The digest of its bytes, where it is pinned.
        digest: Option<Digest>,
    },
    /// A file of the directory of components, by the digest of its bytes: `sha256:…`.
    Digest(Digest),
    /// A component in a registry: `oci://host/repository:tag@sha256:…`.
    Registry(RegistryReference),
}

/// A component in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryReference {
    /// The registry, the repository and the tag: `ghcr.io/acme/categorize:1.2.0`.
    pub name: String,
    /// The digest of its manifest.
    pub digest: Option<Digest>,
}

/// A text that names no component.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidReference {
    /// Nothing at all.
    #[error("it is empty: name a component's file")]
    Empty,
    /// What follows the `sha256:` are not 64 hex digits.
    #[error("`{0}` is not a digest: `sha256:` and 64 hex digits")]
    Digest(String),
    /// There is no repository.
    #[error("`{0}` names no repository: `oci://host/repository:tag@sha256:…`")]
    Repository(String),
}

impl FromStr for ComponentReference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digest = |text: &str| {
            text.parse::<Digest>().map_err(|_| InvalidReference::Digest(text.to_owned()))
        };
        if text.is_empty() {
            return Err(InvalidReference::Empty);
        }
        if text.starts_with("sha256:") {
            return Ok(ComponentReference::Digest(digest(text)?));
        }
        let (name, pinned) = match text.rfind(PINNED) {
            Some(at) => (&text[..at], Some(digest(&text[at + 1..])?)),
            None => (text, None),
        };
        let Some(name) = name.strip_prefix(REGISTRY) else {
            return Ok(ComponentReference::File { path: name.into(), digest: pinned });
        };
        let has_repository = name.split_once('/').is_some_and(|(host, repository)| {
            !host.is_empty() && !repository.trim_start_matches(':').is_empty()
        });
        if !has_repository {
            return Err(InvalidReference::Repository(text.to_owned()));
        }
        let name = name.to_owned();
        Ok(ComponentReference::Registry(RegistryReference { name, digest: pinned }))
    }
}

impl ComponentReference {
    /// The reference with its file found from `base`, and what is named by a digest in
    /// `components`.
    pub(super) fn resolve(&mut self, base: &Path, components: &Path) {
        match self {
            ComponentReference::File { path, .. } => *path = base.join(&*path),
            ComponentReference::Digest(digest) => {
                let path = components.join(digest.hex()).with_extension("wasm");
                *self = ComponentReference::File { path, digest: Some(*digest) };
            }
            ComponentReference::Registry(_) => {}
        }
    }

    /// The file that it names, if it names one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            ComponentReference::File { path, .. } => Some(path),
            _ => None,
        }
    }
}

impl RegistryReference {
    /// Whether it lies in a registry, or below a path of one: `ghcr.io/acme`.
    pub(crate) fn is_in(&self, registry: &str) -> bool {
        // The tag stands behind the last slash; a port stands before the first.
        let (path, last) = self.name.rsplit_once('/').unwrap_or((&self.name, ""));
        let last = last.split(':').next().unwrap_or_default();
        let mut steps = path.split('/').chain([last]);
        registry.split('/').all(|step| steps.next() == Some(step))
    }
}

impl fmt::Display for ComponentReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pinned = match self {
            ComponentReference::File { path, digest } => {
                write!(f, "{}", path.display())?;
                digest
            }
            ComponentReference::Digest(digest) => return write!(f, "{digest}"),
            ComponentReference::Registry(reference) => return write!(f, "{reference}"),
        };
        pinned.map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{REGISTRY}{}", self.name)?;
        self.digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

impl Serialize for ComponentReference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ComponentReference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ComponentReference {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ComponentReference".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written() {
        let hex = "ab".repeat(32);
        let digest: Digest = format!("sha256:{hex}").parse().expect("a digest");
        let file = |path: &str, digest| ComponentReference::File { path: path.into(), digest };
        let registry = |name: &str, digest| {
            ComponentReference::Registry(RegistryReference { name: name.to_owned(), digest })
        };
        for (text, reference) in [
            ("plugins/a.wasm".to_owned(), file("plugins/a.wasm", None)),
            (format!("a@b.wasm@sha256:{hex}"), file("a@b.wasm", Some(digest))),
            (format!("sha256:{hex}"), ComponentReference::Digest(digest)),
            ("oci://ghcr.io/acme/a:1.0".to_owned(), registry("ghcr.io/acme/a:1.0", None)),
            (
                format!("oci://localhost:5000/a:1@sha256:{hex}"),
                registry("localhost:5000/a:1", Some(digest)),
            ),
        ] {
            assert_eq!(text.parse(), Ok(reference.clone()), "{text}");
            assert_eq!(reference.to_string(), text);
        }
        for text in ["", "sha256:12", "a.wasm@sha256:xyz", "oci://", "oci://host", "oci:///a:1"] {
            assert!(text.parse::<ComponentReference>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_reference_lies_in_a_registry_or_below_a_path_of_it() {
        let is_in = |name: &str, registry| {
            RegistryReference { name: name.to_owned(), digest: None }.is_in(registry)
        };
        for registry in ["ghcr.io", "ghcr.io/acme", "ghcr.io/acme/a"] {
            assert!(is_in("ghcr.io/acme/a:1.0", registry), "{registry}");
        }
        for registry in ["ghcr.i", "acme", "ghcr.io/ac", "ghcr.io/acme/a:1.0", "ghcr.io/acme/a/b"] {
            assert!(!is_in("ghcr.io/acme/a:1.0", registry), "{registry}");
        }
        assert!(is_in("localhost:5000/a", "localhost:5000"));
        assert!(!is_in("localhost:5000/a", "localhost"), "it is another registry");
    }

    #[test]
    fn a_digest_is_a_pinned_file_of_the_directory() {
        let digest = Digest::of(b"component");
        let mut reference = ComponentReference::Digest(digest);
        reference.resolve(Path::new("pipelines"), Path::new("store"));
        let path = PathBuf::from(format!("store/{}.wasm", digest.hex()));
        assert_eq!(reference, ComponentReference::File { path, digest: Some(digest) });
    }
}
