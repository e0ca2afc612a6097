//! A policy, ready to be asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tidegate_core::{Digest, description::Capability};
use tidegate_engine::Limits;

use super::signature::Signers;
use crate::{
    chain,
    config::{self, ConfigError, PluginLimits, RegistryReference, Variables},
};

/// What no pipeline may go beyond. The default one forbids nothing.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// Where it was read; nowhere, where there is none.
    path: Option<PathBuf>,
    ceiling: BTreeSet<Capability>,
    limits: PluginLimits,
    blocked: BTreeMap<Digest, Option<String>>,
    /// Where components may be pulled from; anywhere, where nobody says.
    registries: Option<Vec<String>>,
    /// Whose signature a component needs; none, where nobody need sign.
    signers: Option<Arc<Signers>>,
    /// What it was read from: its own file, and those that it names.
    files: BTreeSet<PathBuf>,
}

/// A limit that is higher than the policy allows.
pub(crate) struct AboveCeiling {
    /// The key.
    pub(crate) limit: &'static str,
    pub(crate) asked: String,
    pub(crate) ceiling: String,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            path: None,
            ceiling: Capability::ALL.into(),
            limits: PluginLimits::default(),
            blocked: BTreeMap::new(),
            registries: None,
            signers: None,
            files: BTreeSet::new(),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "the policy `{}`", path.display()),
            None => f.write_str("no policy"),
        }
    }
}

impl Policy {
    pub(crate) fn load(path: &Path, variables: Variables<'_>) -> Result<Self, ConfigError> {
        let loaded = config::load_policy(path, variables)?;
        let mut files = BTreeSet::from([path.to_owned()]);
        let signers = match &loaded.policy.signatures {
            None => None,
            Some(signatures) => {
                files.extend(signatures.keys.iter().map(|key| key.file.clone()));
                files.extend(signatures.trusted_root.clone());
                let signers = Signers::load(&loaded, signatures).map_err(ConfigError::Invalid)?;
                Some(Arc::new(signers))
            }
        };
        let policy = loaded.policy;
        Ok(Policy {
            path: Some(path.to_owned()),
            ceiling: match policy.capabilities {
                None => Capability::ALL.into(),
                Some(grants) => grants.into_iter().map(Capability::from).collect(),
            },
            limits: policy.limits,
            blocked: policy.blocked.into_iter().map(|it| (it.digest, it.reason)).collect(),
            registries: policy.registries,
            signers,
            files,
        })
    }

    /// Where it was read.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The files that it is made of.
    pub(super) fn files(&self) -> BTreeSet<PathBuf> {
        self.files.clone()
    }

    /// Whose signature a component needs.
    pub(super) fn signers(&self) -> Option<&Signers> {
        self.signers.as_deref()
    }

    /// What plugins may ask of the host at most.
    pub(crate) fn ceiling(&self) -> &BTreeSet<Capability> {
        &self.ceiling
    }

    /// Whether a component is blocked, and why.
    pub(crate) fn blocks(&self, component: Digest) -> Option<Option<&str>> {
        self.blocked.get(&component).map(Option::as_deref)
    }

    /// Whether a component may be pulled from where it lies.
    pub(super) fn allows_registry_of(&self, reference: &RegistryReference) -> bool {
        let registries = self.registries.as_ref();
        registries.is_none_or(|all| all.iter().any(|registry| reference.is_in(registry)))
    }

    /// How many components it blocks.
    pub(super) fn blocked(&self) -> usize {
        self.blocked.len()
    }

    /// The limits of a plugin of which no stage says anything.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = PluginLimits::default();
        self.lower(&mut limits);
        chain::limits(&limits)
    }

    /// Lowers limits that nobody has set to the ceilings, and says which are set above them.
    pub(crate) fn lower(&self, limits: &mut PluginLimits) -> Vec<AboveCeiling> {
        let defaults = chain::spelled_out(&Limits::default());
        let mut above = Vec::new();
        macro_rules! lower {
            ($($limit:ident)*) => {
                $(above.extend(lower_one(
                    stringify!($limit),
                    &mut limits.$limit,
                    defaults.$limit,
                    self.limits.$limit,
                ));)*
            };
        }
        lower!(memory fuel fuel_per_row time time_per_row reply reply_per_row);
        lower!(findings findings_per_row log_lines state);
        above
    }

    /// Whether limits are within the ceilings as they are.
    pub(crate) fn allows(&self, limits: &PluginLimits) -> bool {
        let mut lowered = limits.clone();
        self.lower(&mut lowered).is_empty() && lowered == *limits
    }
}

fn lower_one<T: Copy + PartialOrd + fmt::Display>(
    limit: &'static str,
    written: &mut Option<T>,
    default: Option<T>,
    ceiling: Option<T>,
) -> Option<AboveCeiling> {
    let ceiling = ceiling?;
    match *written {
        Some(asked) if asked > ceiling => {
            return Some(AboveCeiling {
                limit,
                asked: asked.to_string(),
                ceiling: ceiling.to_string(),
            });
        }
        Some(_) => {}
        None if default.is_some_and(|default| default > ceiling) => *written = Some(ceiling),
        None => {}
    }
    None
}
