//! Where components come from, and whether they may come in.
//!
//! ```text
//! reference ─► bytes ─► pinned digest ─► block list ─► signature ─► the engine parses them
//!              files,                    └──────── policy ────────┘
//!              or a registry
//! ```
//!
//! Architecture invariant: the bytes of a component reach the engine through `Supply::resolve` or
//! `Supply::admit`, and nothing looks into them before.
//!
//! A policy is an operator's, for all pipelines of a fleet. It is no part of a generation: it says
//! which generations may serve.

mod guard;
mod policy;
#[cfg(feature = "registry")]
mod registry;
mod rights;
mod signature;
mod watch;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use tempfile::TempDir;
use tidegate_core::Digest;
use tokio::sync::watch as channel;

use self::signature::Unsigned;
pub(crate) use self::{
    guard::{Guard, Guarded},
    policy::Policy,
    rights::{Rights, StageRights, listed, names},
    signature::Evidence,
    watch::follow,
};
use crate::{
    config::{ComponentReference, ConfigError, Loaded, Variables},
    files::Files,
    finding::Finding,
};

/// Fetches components and holds them against a policy. Cheap to clone: all clones see the policy
/// that was taken last.
#[derive(Clone, Debug)]
pub struct Supply {
    policy: channel::Sender<Arc<Policy>>,
    /// Where what is pulled out of registries is kept.
    cache: Option<PathBuf>,
    /// Where it is kept while nobody says where.
    temporary: Arc<OnceLock<TempDir>>,
}

/// A component that may be parsed.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    /// Its bytes.
    pub(crate) bytes: Arc<[u8]>,
    /// Their digest.
    pub(crate) digest: Digest,
    /// Who has signed it, where the policy wants a signature.
    pub(crate) signed_by: Option<String>,
}

/// A component can't be had, or may not come in.
#[derive(Debug, thiserror::Error)]
pub enum SupplyError {
    /// It can't be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Nobody says where it lies.
    #[error("{0} is found in the directory of a pipeline's components: name its file here")]
    Directory(Digest),
    /// It is another one than it has to be.
    #[error("`{name}` is {found}, and not the component that it is pinned to")]
    Digest {
        /// The reference.
        name: String,
        /// The digest of what is there.
        found: Digest,
    },
    /// An operator has blocked it.
    #[error("`{name}` is {digest}, which {policy} blocks{}", because(reason))]
    Blocked {
        /// The reference.
        name: String,
        /// The digest of its bytes.
        digest: Digest,
        /// The policy.
        policy: String,
        /// Why.
        reason: Option<String>,
    },
    /// A registry's component has no digest.
    #[error(
        "`{0}` is not pinned: a tag may name another component tomorrow; `tidegate plugin inspect \
         {0}` says which digest it has now"
    )]
    Unpinned(String),
    /// The policy names other registries.
    #[error("`{name}` lies in none of the registries that {policy} allows")]
    ForeignRegistry {
        /// The reference.
        name: String,
        /// The policy.
        policy: String,
    },
    /// It can't be had of a registry.
    #[error("failed to pull `{name}`: {why}")]
    Registry {
        /// The reference.
        name: String,
        /// Why.
        why: String,
    },
    /// Nobody whom the policy names has signed it.
    #[error("`{name}` is signed by nobody whom {policy} names: {why}")]
    Unsigned {
        /// The reference.
        name: String,
        /// The policy.
        policy: String,
        /// What is wrong with the signatures that there are.
        why: String,
    },
}

fn because(reason: &Option<String>) -> String {
    reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
}

impl SupplyError {
    /// Whether it was found, and may not come in.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            SupplyError::Digest { .. }
                | SupplyError::Blocked { .. }
                | SupplyError::ForeignRegistry { .. }
                | SupplyError::Unsigned { .. }
        )
    }

    /// The stable code of its finding.
    pub fn code(&self) -> &'static str {
        match self {
            SupplyError::Read { .. } | SupplyError::Directory(_) => "unreadable-file",
            SupplyError::Digest { .. } => "wrong-digest",
            SupplyError::Blocked { .. } => "blocked",
            SupplyError::Unsigned { .. } => "unsigned",
            SupplyError::Unpinned(_) => "unpinned",
            SupplyError::ForeignRegistry { .. } => "foreign-registry",
            SupplyError::Registry { .. } => "registry",
        }
    }
}

/// The codes of what a policy refuses: where the policy changes, it may be taken after all.
pub(crate) const REFUSED_BY_POLICY: [&str; 4] =
    ["blocked", "unsigned", "above-ceiling", "foreign-registry"];

impl Supply {
    /// Components under no policy: everything may come in.
    pub fn unrestricted() -> Self {
        Supply::under(Policy::default())
    }

    /// Components under the policy of a file.
    pub fn load(path: &Path, variables: Variables<'_>) -> Result<Self, ConfigError> {
        Ok(Supply::under(Policy::load(path, variables)?))
    }

    fn under(policy: Policy) -> Self {
        let policy = channel::Sender::new(Arc::new(policy));
        Supply { policy, cache: None, temporary: Arc::default() }
    }

    /// What is pulled out of registries is kept in a data directory from here on.
    #[must_use]
    pub(crate) fn kept_in(self, data_dir: &Path) -> Self {
        Supply { cache: Some(data_dir.join("registry")), ..self }
    }

    /// Where what is pulled out of registries is kept.
    #[cfg_attr(not(feature = "registry"), expect(dead_code, reason = "what is pulled asks for it"))]
    fn cache(&self) -> Result<&Path, SupplyError> {
        if let Some(cache) = &self.cache {
            return Ok(cache);
        }
        if self.temporary.get().is_none() {
            let path = std::env::temp_dir();
            let made = TempDir::new().map_err(|cause| SupplyError::Read { path, cause })?;
            let _ = self.temporary.set(made);
        }
        Ok(self.temporary.get().expect("it was made").path())
    }

    /// The policy that holds now.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.policy.borrow().clone()
    }

    /// From here on another policy holds.
    fn take(&self, policy: Policy) {
        self.policy.send_replace(Arc::new(policy));
    }

    /// Asks the policy of the moment about a component, before each use of it.
    pub(crate) fn guard(&self, component: Digest) -> Guard {
        Guard::new(self.policy.subscribe(), component)
    }

    /// Lowers what a pipeline's stages may use up to the policy's ceilings. A stage that is
    /// expressly given more is a finding. From here on the limits are the config's own: a
    /// generation depends on them, however they came about.
    pub fn lower(&self, loaded: &mut Loaded) -> Result<(), Vec<Finding>> {
        let policy = self.policy();
        let mut findings = Vec::new();
        for i in 0..loaded.config.stages.len() {
            for above in policy.lower(&mut loaded.config.stages[i].limits) {
                let pointer = format!("/stages/{i}/limits/{}", above.limit);
                let message = format!(
                    "`{}` is {}, and {policy} allows {} at most",
                    above.limit, above.asked, above.ceiling
                );
                findings.push(loaded.finding("above-ceiling", &pointer, message));
            }
        }
        if findings.is_empty() { Ok(()) } else { Err(findings) }
    }

    /// The component that a reference names, if it may come in. What is read is read through
    /// `files`: signatures are kept with the component that they are of.
    pub(crate) fn resolve(
        &self,
        reference: &ComponentReference,
        files: &Files,
    ) -> Result<Admitted, SupplyError> {
        let bytes = self.fetch(reference, files)?;
        let name = reference.to_string();
        let admitted = self.admit(&name, Arc::clone(&bytes), &self.evidence(reference, files)?);
        #[cfg(feature = "registry")]
        if let (Err(SupplyError::Unsigned { .. }), ComponentReference::Registry(registry)) =
            (&admitted, reference)
            && files.are_on_disk()
        {
            // It may have been signed since it was pulled.
            registry::renew_evidence(registry, self.cache()?, files)?;
            return self.admit(&name, bytes, &self.evidence(reference, files)?);
        }
        admitted
    }

    /// Whether a registry may be asked for a component, or may have been.
    fn may_be_pulled(&self, reference: &ComponentReference) -> Result<(), SupplyError> {
        let policy = self.policy();
        match reference {
            ComponentReference::Registry(registry) if !policy.allows_registry_of(registry) => {
                let (name, policy) = (reference.to_string(), policy.to_string());
                Err(SupplyError::ForeignRegistry { name, policy })
            }
            _ => Ok(()),
        }
    }

    /// The signatures of a component, where somebody wants them.
    fn evidence(
        &self,
        reference: &ComponentReference,
        files: &Files,
    ) -> Result<Evidence, SupplyError> {
        match (self.policy().signers(), reference) {
            (Some(_), ComponentReference::File { path, .. }) => beside(path, files),
            #[cfg(feature = "registry")]
            (Some(_), ComponentReference::Registry(reference)) => {
                registry::evidence(reference, self.cache()?, files)
            }
            _ => Ok(Evidence::default()),
        }
    }

    /// The same reference with the digest that it has now, where a registry is to be asked.
    pub(crate) fn pinned(
        &self,
        reference: &ComponentReference,
    ) -> Result<ComponentReference, SupplyError> {
        self.may_be_pulled(reference)?;
        match reference {
            #[cfg(feature = "registry")]
            ComponentReference::Registry(reference) if reference.digest.is_none() => {
                registry::pinned(reference).map(ComponentReference::Registry)
            }
            other => Ok(other.clone()),
        }
    }

    /// The bytes of a component: the ones that it is pinned to, and nothing else is known of them.
    pub(crate) fn fetch(
        &self,
        reference: &ComponentReference,
        files: &Files,
    ) -> Result<Arc<[u8]>, SupplyError> {
        self.may_be_pulled(reference)?;
        let (path, pinned) = match reference {
            ComponentReference::File { path, digest } => (path, *digest),
            ComponentReference::Digest(digest) => return Err(SupplyError::Directory(*digest)),
            #[cfg(feature = "registry")]
            ComponentReference::Registry(reference) => {
                return registry::fetch(reference, self.cache()?, files);
            }
            #[cfg(not(feature = "registry"))]
            ComponentReference::Registry(reference) => {
                let why = "this program was built without the feature `registry`".to_owned();
                return Err(SupplyError::Registry { name: reference.to_string(), why });
            }
        };
        let bytes =
            files.read(path).map_err(|cause| SupplyError::Read { path: path.clone(), cause })?;
        let found = Digest::of(&bytes);
        match pinned.is_none_or(|digest| digest == found) {
            true => Ok(bytes),
            false => Err(SupplyError::Digest { name: reference.to_string(), found }),
        }
    }

    /// Removes what was pulled out of registries and is not used by these any more, but for what
    /// was pulled last: a file that names it may be on its way.
    pub(crate) fn prune<'r>(&self, used: impl Iterator<Item = &'r ComponentReference>) {
        #[cfg(feature = "registry")]
        if let Some(cache) = &self.cache {
            let manifests = used.filter_map(|reference| match reference {
                ComponentReference::Registry(registry) => registry.digest,
                _ => None,
            });
            if let Err(error) = registry::prune(cache, &manifests.collect()) {
                let cache = cache.display();
                tracing::warn!("failed to remove old components from `{cache}`: {error}");
            }
        }
        #[cfg(not(feature = "registry"))]
        drop(used);
    }

    /// A component that somebody has brought along, if it may come in.
    pub(crate) fn admit(
        &self,
        name: &str,
        bytes: Arc<[u8]>,
        evidence: &Evidence,
    ) -> Result<Admitted, SupplyError> {
        let policy = self.policy();
        let digest = Digest::of(&bytes);
        let name = || name.to_owned();
        if let Some(reason) = policy.blocks(digest) {
            let (policy, reason) = (policy.to_string(), reason.map(str::to_owned));
            return Err(SupplyError::Blocked { name: name(), digest, policy, reason });
        }
        let signed_by = policy.signers().map(|signers| signers.check(&bytes, evidence));
        let signed_by = signed_by.transpose().map_err(|Unsigned(why)| SupplyError::Unsigned {
            name: name(),
            policy: policy.to_string(),
            why,
        })?;
        Ok(Admitted { bytes, digest, signed_by })
    }
}

/// The signatures that lie beside a component.
fn beside(path: &Path, files: &Files) -> Result<Evidence, SupplyError> {
    let read = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let path = PathBuf::from(name);
        match files.read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(SupplyError::Read { path, cause }),
        }
    };
    let bundles = read(".sigstore.json")?.into_iter().collect();
    Ok(Evidence { signature: read(".sig")?, bundles, of: None })
}
