//! From schemas as written to compiled ones.

use std::{
    collections::{BTreeMap, HashSet},
    error::Error,
    sync::Arc,
};

use jsonschema::{Retrieve, Uri, Validator};
use serde_json::Value;
use tidegate_plugin::{
    Capability, ConfigError, Description, Kind, Origin, Read, Rule as DescribedRule, Severity,
};

use crate::config::{Check, Config};

/// A schema over a column.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) read: usize,
    pub(crate) validator: Validator,
    pub(crate) rejects: bool,
    pub(crate) rule: u32,
}

/// What the plugin asks of the host: a schema may be about the whole record.
pub(crate) const CAPABILITIES: [Capability; 1] = [Capability::Document];

/// Checks a config and compiles its schemas. Those of the same column follow each other.
pub(crate) fn plan(config: Config) -> Result<(Vec<Compiled>, Description), ConfigError> {
    let Config { checks, documents } = config;
    if checks.is_empty() {
        return Err(ConfigError::at("/checks", "there is no schema; add a check"));
    }
    let mut description = Description::default();
    let mut ids = HashSet::new();
    let documents = Documents(Arc::new(documents));
    let mut compiled = Vec::with_capacity(checks.len());
    for (i, check) in checks.into_iter().enumerate() {
        let at = format!("/checks/{i}");
        if !ids.insert(check.id.clone()) {
            let why = format!("there is another check `{}`; each has an id of its own", check.id);
            return Err(ConfigError::at(format!("{at}/id"), why));
        }
        let validator = compile(&check, &documents, &format!("{at}/schema"))?;
        let read = description.read(Read {
            from: Origin::Field(check.field.clone()),
            kind: Kind::Json,
            required: false,
        });
        let rule = description.rule(DescribedRule {
            id: check.id.clone(),
            dimension: check.dimension,
            severity: check.severity,
            field: Some(check.field.clone()).filter(|field| !field.is_root()),
            text: check.text(),
        });
        let rejects = check.severity == Severity::Reject;
        compiled.push(Compiled { read, validator, rejects, rule });
    }
    compiled.sort_by_key(|check| (check.read, !check.rejects, check.rule));
    Ok((compiled, description))
}

fn compile(check: &Check, documents: &Documents, at: &str) -> Result<Validator, ConfigError> {
    let mut options = jsonschema::options().with_retriever(documents.clone());
    if check.schema.get("$schema").is_none() {
        options = options.with_draft(check.draft.into());
    }
    if check.formats {
        options = options.should_validate_formats(true);
    }
    options.build(&check.schema).map_err(|error| {
        // The path of an error about a schema leads into the schema.
        ConfigError::at(format!("{at}{}", error.instance_path()), error)
    })
}

/// The documents that schemas may refer to.
#[derive(Clone)]
struct Documents(Arc<BTreeMap<String, Value>>);

impl Retrieve for Documents {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        let document = self.0.get(uri.as_str()).cloned();
        document.ok_or_else(|| "nothing is fetched: put the document under `documents`".into())
    }
}
