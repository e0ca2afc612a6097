//! A policy as an operator writes it: what no pipeline may go beyond.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::Digest;

use super::{
    ConfigError, Grant, PluginLimits, Variables, in_order, interpolate, read,
    shape::Shape,
    tree::{Node, step},
    typed,
};
use crate::finding::{Finding, SourceFile, has_errors};

/// The JSON Schema of policies, made from their types.
pub(super) static SCHEMA: LazyLock<serde_json::Value> =
    LazyLock::new(|| schemars::schema_for!(PolicyFile).to_value());

/// What no pipeline may go beyond, whatever its own file says: a ceiling for capabilities and
/// limits, the components that must not run, and whose signature a component needs.
///
/// One file for all pipelines of a fleet, named by `--policy` or by the variable
/// `TIDEGATE_POLICY`. It is no part of a pipeline. A running pipeline looks at it twice a second:
/// `blocked` holds at once, everything else for what comes to serve from then on.
///
/// Every text may hold variables: `${NAME}`, `${NAME:-default}`, `${NAME:?hint}`. Paths are
/// relative to the file that they stand in.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyFile {
    /// What plugins may ask of the host, whoever grants it to them. Anything, where this is left
    /// out; nothing, where the list is empty.
    pub capabilities: Option<Vec<Grant>>,
    /// What plugins may use up. A stage that is given more is refused, and one that says nothing
    /// gets no more than this. What is left out here has no ceiling.
    pub limits: PluginLimits,
    /// Components that must not run, whoever names them.
    pub blocked: Vec<Blocked>,
    /// The registries that components may be pulled from: `ghcr.io`, or the part of one below a
    /// path, `ghcr.io/acme`. Any, where this is left out; none, where the list is empty.
    pub registries: Option<Vec<String>>,
    /// Whose signature a component needs. Where this is left out, none is looked for.
    pub signatures: Option<Signatures>,
}

/// A component that must not run. Where it runs already, its pipeline waits, with nothing lost,
/// until it is unblocked or another component takes its place.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Blocked {
    /// The digest of its bytes: `sha256:` and 64 hex digits.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// Why: in refusals and in the log of what waits.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Whose signature a component needs: that of one of the keys, or of one of the identities. It is
/// checked before anything reads the component.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Signatures {
    /// Public keys.
    pub keys: Vec<Key>,
    /// Identities, for signatures without a key.
    pub identities: Vec<Identity>,
    /// The authorities, logs and keys by which identities are believed: a sigstore trusted root in
    /// JSON. That of the public instance, as it was when this program was built, where this is
    /// left out. Nothing is ever asked of a network.
    pub trusted_root: Option<PathBuf>,
}

/// A public key: Ed25519, or ECDSA with P-256 or P-384.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Whose it is: what is shown of a component that is signed by it.
    pub name: String,
    /// Its PEM file, which begins with `-----BEGIN PUBLIC KEY-----`.
    pub file: PathBuf,
}

/// Somebody, or some build, that was signed in when it signed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Its whole name in the certificate: an e-mail address, or a URI such as
    /// `https://github.com/acme/plugins/.github/workflows/release.yml@refs/heads/main`.
    pub identity: String,
    /// Who says so, such as `https://token.actions.githubusercontent.com`.
    pub issuer: String,
}

/// A policy and the file that it was read from.
#[derive(Clone, Debug)]
pub struct LoadedPolicy {
    /// The policy. Its paths are resolved.
    pub policy: PolicyFile,
    /// The text.
    pub file: SourceFile,
    tree: Node,
}

impl LoadedPolicy {
    /// A finding about a place in the policy.
    pub fn finding(&self, code: &'static str, pointer: &str, message: String) -> Finding {
        Finding::error(code, &self.file, self.tree.place_of(pointer), pointer, message)
    }
}

/// Reads and checks a policy. The files that it names are not looked at.
pub fn load_policy(path: &Path, variables: Variables<'_>) -> Result<LoadedPolicy, ConfigError> {
    let mut loaded = parse(read(path)?, variables)
        .map_err(|findings| ConfigError::Invalid(in_order(findings)))?;
    let base = path.parent().unwrap_or(Path::new(""));
    if let Some(signatures) = &mut loaded.policy.signatures {
        signatures.keys.iter_mut().for_each(|key| key.file = base.join(&key.file));
        signatures.trusted_root.iter_mut().for_each(|path| *path = base.join(&*path));
    }
    Ok(loaded)
}

fn parse(file: SourceFile, variables: Variables<'_>) -> Result<LoadedPolicy, Vec<Finding>> {
    let mut tree = Node::parse(&file).map_err(|finding| vec![*finding])?;
    let mut findings = Vec::new();
    interpolate::interpolate(&mut tree, &file, variables, &mut findings);
    findings.extend(Shape::check(&SCHEMA, &file, &mut tree));
    if has_errors(&findings) {
        return Err(findings);
    }
    let policy: PolicyFile = typed(tree.to_json(), &tree, &file)?;
    let loaded = LoadedPolicy { policy, file, tree };
    let findings = rules(&loaded);
    if findings.is_empty() { Ok(loaded) } else { Err(findings) }
}

/// What the types can't say.
fn rules(loaded: &LoadedPolicy) -> Vec<Finding> {
    let mut findings = Vec::new();
    let policy = &loaded.policy;
    for (i, blocked) in policy.blocked.iter().enumerate() {
        if policy.blocked[..i].iter().any(|it| it.digest == blocked.digest) {
            let pointer = step(&step("/blocked", i), "digest");
            let message = format!("{} is blocked already", blocked.digest);
            findings.push(loaded.finding("duplicate-name", &pointer, message));
        }
    }
    for (i, registry) in policy.registries.iter().flatten().enumerate() {
        let host = registry.split('/').next().unwrap_or_default();
        // What else stands before a slash is a part of Docker Hub to the tools that pull.
        let is_host = host == "localhost" || host.contains(['.', ':']);
        if !is_host || registry.contains("://") || registry.ends_with('/') {
            let message = format!(
                "`{registry}` names no registry: write its host, and a path below it where only \
                 that may be pulled from, such as `ghcr.io/acme`"
            );
            findings.push(loaded.finding("invalid-value", &step("/registries", i), message));
        }
    }
    if let Some(signatures) = &policy.signatures {
        if signatures.keys.is_empty() && signatures.identities.is_empty() {
            let message = "nobody could sign: name `keys`, `identities` or both";
            findings.push(loaded.finding("empty", "/signatures", message.to_owned()));
        }
        for (i, key) in signatures.keys.iter().enumerate() {
            if signatures.keys[..i].iter().any(|it| it.name == key.name) {
                let pointer = step(&step("/signatures/keys", i), "name");
                let message = format!("`{}` is also the name of another key", key.name);
                findings.push(loaded.finding("duplicate-name", &pointer, message));
            }
        }
    }
    findings
}
