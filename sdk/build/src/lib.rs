//! Builds a plugin's project into a component, whatever its language.
//!
//! Each language is one module that knows the commands: the language's own compiler, and, where
//! its way to a component needs a tool besides, an ordinary client that fetches a pinned version of
//! that tool into a cache. An author finds nothing by hand: what is missing is named, with the
//! command that installs it ([`BuildError::Missing`]).
//!
//! The SDKs themselves and their templates are in this crate too, so that [`create`] makes a project
//! without a network.
//!
//! This crate never looks into what it builds. Whether a component keeps the contract is for the
//! host to say.

mod c;
mod component;
mod go;
mod javascript;
mod kit;
mod python;
mod rust;
mod sample;
mod tools;

use std::{fmt, fs, path::Path};

pub use component::{WASI_ADAPTER, WIT, componentize, encode_embedded};
pub use kit::{CreateError, create};
pub use rust::modules;
pub use sample::{Sample, SampleField, SampleKind, SampleWrite, Says};
pub use tools::BuildError;

/// A language with an SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// Rust, by cargo.
    Rust,
    /// Go, by the stock compiler.
    Go,
    /// JavaScript or TypeScript, on QuickJS.
    JavaScript,
    /// Python, on CPython.
    Python,
    /// C, freestanding.
    C,
}

impl Language {
    /// All of them.
    pub const ALL: [Language; 5] =
        [Language::Rust, Language::Go, Language::JavaScript, Language::Python, Language::C];

    /// The name on a command line, and of the SDK's folder.
    pub fn name(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Go => "go",
            Language::JavaScript => "js",
            Language::Python => "python",
            Language::C => "c",
        }
    }

    /// The language of a name.
    pub fn named(name: &str) -> Option<Self> {
        Language::ALL.into_iter().find(|language| language.name() == name)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Language::Rust => "Rust",
            Language::Go => "Go",
            Language::JavaScript => "JavaScript",
            Language::Python => "Python",
            Language::C => "C",
        })
    }
}

/// What is built, and with what.
#[derive(Clone, Copy)]
pub struct Project<'a> {
    /// The language it is written in.
    pub language: Language,
    /// The project's folder.
    pub directory: &'a Path,
    /// The folder of the language's SDK, for those that no package manager brings: Python's and
    /// C's.
    pub sdk: &'a Path,
    /// Where intermediate files are kept; any folder that may be lost.
    pub cache: &'a Path,
    /// Where fetched tools are kept, which projects may share; any folder that may be lost.
    pub tools: &'a Path,
    /// Is told each command before it is run.
    pub say: &'a dyn Fn(&str),
}

/// Builds a project and returns the component's bytes.
///
/// # Errors
/// When a tool is missing, a command fails, or what it made is no plugin.
pub fn build(project: &Project<'_>) -> Result<Vec<u8>, BuildError> {
    fs::create_dir_all(project.cache).map_err(|error| BuildError::io(project.cache, error))?;
    match project.language {
        Language::Rust => rust::build(project),
        Language::Go => go::build(project),
        Language::JavaScript => javascript::build(project),
        Language::Python => python::build(project),
        Language::C => c::build(project),
    }
}

/// What is missing here to build a language, if anything. Fetches nothing.
///
/// # Errors
/// [`BuildError::Missing`], with the command that installs it.
pub fn check(language: Language) -> Result<(), BuildError> {
    match language {
        Language::Rust => rust::check(),
        Language::Go => go::check(),
        Language::JavaScript => javascript::check(),
        Language::Python => python::check(),
        Language::C => c::check(),
    }
}
