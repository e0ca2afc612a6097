//! What a plugin may ask of the host: what it asks for, what its stage grants it, and what the
//! policy allows at all. It has what is in all three.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};
use tidegate_core::{Digest, description::Capability};

use crate::config::Grant;

/// The capabilities of one plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    /// What it asks for.
    pub(crate) asked: BTreeSet<Capability>,
    /// What its stage grants it.
    pub(crate) granted: BTreeSet<Capability>,
    /// What the policy allows.
    pub(crate) ceiling: BTreeSet<Capability>,
}

impl Rights {
    pub(crate) fn new(
        asked: &[Capability],
        granted: &[Grant],
        ceiling: &BTreeSet<Capability>,
    ) -> Self {
        Rights {
            asked: asked.iter().copied().collect(),
            granted: granted.iter().map(|grant| Capability::from(*grant)).collect(),
            ceiling: ceiling.clone(),
        }
    }

    /// What it is granted within the ceiling, whether it asks for it or not.
    pub(crate) fn grantable(&self) -> BTreeSet<Capability> {
        self.granted.intersection(&self.ceiling).copied().collect()
    }

    /// What it has.
    pub(crate) fn effective(&self) -> BTreeSet<Capability> {
        self.grantable().intersection(&self.asked).copied().collect()
    }

    /// What it is granted and does not ask for.
    pub(crate) fn unused(&self) -> BTreeSet<Capability> {
        self.granted.difference(&self.asked).copied().collect()
    }
}

/// The capabilities of a stage's plugin, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StageRights {
    /// The stage.
    pub stage: String,
    /// The plugin's name and version.
    pub plugin: String,
    /// Its component.
    pub component: Digest,
    /// Who has signed it, where the policy wants a signature.
    #[serde(default)]
    pub signed_by: Option<String>,
    /// What it asks for.
    pub asked: Vec<String>,
    /// What its stage grants it.
    pub granted: Vec<String>,
    /// What the policy allows.
    pub ceiling: Vec<String>,
    /// What it has.
    pub effective: Vec<String>,
}

/// The names of capabilities.
pub(crate) fn names(capabilities: &BTreeSet<Capability>) -> Vec<String> {
    capabilities.iter().map(|it| it.name().to_owned()).collect()
}

/// Names in a sentence.
pub(crate) fn listed(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        names => names.join(", "),
    }
}

impl StageRights {
    pub(crate) fn new(
        stage: &str,
        plugin: String,
        component: Digest,
        signed_by: Option<String>,
        rights: &Rights,
    ) -> Self {
        StageRights {
            stage: stage.to_owned(),
            plugin,
            component,
            signed_by,
            asked: names(&rights.asked),
            granted: names(&rights.granted),
            ceiling: names(&rights.ceiling),
            effective: names(&rights.effective()),
        }
    }
}

impl fmt::Display for StageRights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stage {} ({}): asks for {}; granted {}; ceiling {}; has {}",
            self.stage,
            self.plugin,
            listed(&self.asked),
            listed(&self.granted),
            listed(&self.ceiling),
            listed(&self.effective),
        )?;
        match &self.signed_by {
            Some(signer) => write!(f, "; signed by {signer}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant: a plugin has what it asks for, is granted, and the policy allows; nothing else.
    #[test]
    fn a_plugin_has_what_is_asked_granted_and_allowed() {
        use Capability::{Document, FanOut, Lookups, State};
        let ceiling = [State, Document].into();
        let rights =
            Rights::new(&[State, FanOut, Lookups], &[Grant::State, Grant::FanOut], &ceiling);
        assert_eq!(rights.effective(), [State].into());
        assert_eq!(rights.grantable(), [State].into());
        let rights = Rights::new(&[State], &[Grant::State, Grant::Document], &ceiling);
        assert_eq!(rights.effective(), [State].into());
        assert_eq!(rights.unused(), [Document].into());
    }
}
