//! An author's project: what its `tidegate.toml` says, and where its parts lie.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tidegate_build::Language;

use crate::{
    config::{self, ConfigError},
    finding::{Finding, Place, SourceFile},
};

/// The manifest's name.
pub(crate) const MANIFEST: &str = "tidegate.toml";

/// A project. Its paths hold from where the process was started.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    pub(crate) directory: PathBuf,
    pub(crate) language: Language,
    pub(crate) sdk: PathBuf,
    pub(crate) component: PathBuf,
    pub(crate) golden: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    language: String,
    golden: Option<PathBuf>,
    #[serde(default)]
    build: Build,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Build {
    sdk: Option<PathBuf>,
    component: Option<PathBuf>,
}

/// The keys that there are, by the table that they stand in.
const KEYS: [(&str, &[&str]); 2] =
    [("", &["name", "language", "golden", "build"]), ("build", &["sdk", "component"])];

/// The project of a folder.
pub(crate) fn load(directory: &Path) -> Result<Project, ConfigError> {
    let path = directory.join(MANIFEST);
    let text = std::fs::read_to_string(&path)
        .map_err(|cause| ConfigError::Read { path: path.clone(), cause })?;
    let file = SourceFile { path, text: text.into() };
    parse(directory, &file).map_err(ConfigError::Invalid)
}

fn parse(directory: &Path, file: &SourceFile) -> Result<Project, Vec<Finding>> {
    let find = |code, place, pointer: String, message: String| {
        Finding::error(code, file, place, pointer, message)
    };
    let invalid = |error: toml::de::Error| {
        let place = place(&file.text, error.span().unwrap_or_default());
        vec![find("invalid-manifest", place, String::new(), error.message().to_owned())]
    };
    let document = toml::de::DeTable::parse(&file.text).map_err(invalid)?;
    let mut findings = Vec::new();
    for (table, keys) in KEYS {
        let found = match table {
            "" => Some(document.get_ref()),
            name => document.get_ref().get(name).and_then(|it| it.get_ref().as_table()),
        };
        for key in found.into_iter().flat_map(|table| table.keys()) {
            if !keys.contains(&key.get_ref().as_ref()) {
                let place = place(&file.text, key.span());
                let pointer = format!("{}/{}", prefix(table), key.get_ref());
                let message = format!("unknown key `{}`", key.get_ref());
                let finding = find("unknown-key", place, pointer, message);
                findings.push(finding.suggest(config::did_you_mean(key.get_ref(), keys)));
            }
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let manifest: Manifest = toml::from_str(&file.text).map_err(invalid)?;
    let Manifest { name, language, golden, build } = manifest;
    let Some(language) = Language::named(&language) else {
        let place = document.get_ref().get("language").map(|it| place(&file.text, it.span()));
        let names = Language::ALL.map(Language::name);
        let message = format!("there is no language `{language}`");
        let place = place.unwrap_or_default();
        let finding = find("invalid-value", place, "/language".to_owned(), message);
        return Err(vec![finding.suggest(config::did_you_mean(&language, &names))]);
    };
    let at = |path: Option<PathBuf>, default: String| {
        directory.join(path.unwrap_or_else(|| default.into()))
    };
    Ok(Project {
        directory: directory.to_owned(),
        language,
        sdk: at(build.sdk, format!(".tidegate/sdk/{}", language.name())),
        component: at(build.component, format!("build/{name}.wasm")),
        golden: at(golden, format!("{name}.golden.yaml")),
    })
}

fn prefix(table: &str) -> String {
    if table.is_empty() { String::new() } else { format!("/{table}") }
}

fn place(text: &str, span: std::ops::Range<usize>) -> Place {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.rfind('\n').map_or(0, |at| at + 1);
    Place {
        line: before.matches('\n').count() as u32 + 1,
        column: before[line..].chars().count() as u32 + 1,
        offset: span.start,
        length: span.len(),
    }
}
