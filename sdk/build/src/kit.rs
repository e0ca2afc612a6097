//! A new project: the template of its language, and the SDK beside it, out of this program.
//!
//! ```text
//! NAME/               the template
//! NAME/.tidegate/     laid out as the repository that the SDK comes from: for Rust its workspace too
//! ```

use std::{
    borrow::Cow,
    fs, io,
    path::{Path, PathBuf},
};

use rust_embed::RustEmbed;

use crate::{
    Language, WIT,
    sample::{Sample, render},
};

#[derive(RustEmbed)]
#[folder = "../rust"]
#[include = "Cargo.toml"]
#[include = "src/*"]
#[include = "macros/*"]
#[include = "template/*"]
#[include = "sample/*"]
struct Rust;

#[derive(RustEmbed)]
#[folder = "../go"]
#[exclude = "plugin_test.go"]
struct Go;

#[derive(RustEmbed)]
#[folder = "../js"]
#[exclude = "test/*"]
#[exclude = "node_modules/*"]
struct JavaScript;

#[derive(RustEmbed)]
#[folder = "../python"]
#[exclude = "tests/*"]
#[exclude = "*__pycache__*"]
#[exclude = "*.egg-info*"]
#[exclude = "build/*"]
struct Python;

#[derive(RustEmbed)]
#[folder = "../c"]
struct C;

/// The workspace that the SDK for Rust belongs to: its versions.
const WORKSPACE: &str = include_str!("../../../Cargo.toml");

/// The folders of an SDK that are a project's: its template, and what takes the place of some of that
/// where there is a sample.
const FOLDERS: [&str; 2] = ["template", "sample"];

/// Where a project keeps its SDK.
const KIT: &str = ".tidegate";

/// A project that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is something in the way.
    #[error("`{}` is there already and is not empty", .0.display())]
    Occupied(PathBuf),
    /// A name that no language takes.
    #[error(
        "`{0}` is no name for a plugin: it has lower-case letters, digits and `-`, and begins with \
         a letter"
    )]
    Name(String),
    /// A file could not be written.
    #[error("failed to write `{}`: {error}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// How.
        error: io::Error,
    },
}

/// Makes a project in an empty or absent folder, without a network: its template, and the SDK in
/// `.tidegate`, by relative paths alone. With a sample, what it reads is what that has.
///
/// # Errors
/// When there is something in the way, or the name is none.
pub fn create(
    name: &str,
    language: Language,
    directory: &Path,
    sample: Option<&Sample>,
) -> Result<(), CreateError> {
    let is_name = name.starts_with(|it: char| it.is_ascii_lowercase())
        && name.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-')
        && !name.ends_with('-');
    if !is_name {
        return Err(CreateError::Name(name.to_owned()));
    }
    let is_empty = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if !is_empty {
        return Err(CreateError::Occupied(directory.to_owned()));
    }
    let sdk = format!("{KIT}/sdk/{}", language.name());
    let kit = directory.join(&sdk);
    let mut written = Vec::new();
    for (path, content) in files(language) {
        let Some((folder, place)) = path.split_once('/').filter(|it| FOLDERS.contains(&it.0))
        else {
            write(&kit.join(path), &content)?;
            continue;
        };
        let text = String::from_utf8_lossy(&content);
        // Cargo would take a template with a manifest for a package of ours.
        let at = directory.join(place.trim_end_matches(".template").replace("{{name}}", name));
        match sample {
            _ if folder == "template" => {
                let text = text.replace("{{name}}", name).replace("{{sdk}}", &sdk);
                write(&at, text.as_bytes())?;
            }
            Some(sample) => {
                let text = render(&text, name, language, sample);
                // Behind the template's, of which it takes the place.
                written.push((at.with_extension(""), text));
            }
            None => {}
        }
    }
    if let Some(Sample { golden, records, .. }) = sample {
        written.push((directory.join(format!("{name}.golden.yaml")), golden.clone()));
        written.push((directory.join("sample.ndjson"), records.clone()));
    }
    for (at, text) in written {
        write(&at, text.as_bytes())?;
    }
    if language == Language::Rust {
        write(&directory.join(KIT).join("wit/plugin.wit"), WIT.as_bytes())?;
        write(&directory.join(KIT).join("Cargo.toml"), workspace().as_bytes())?;
    }
    Ok(())
}

fn files(language: Language) -> Vec<(String, Cow<'static, [u8]>)> {
    match language {
        Language::Rust => embedded::<Rust>(),
        Language::Go => embedded::<Go>(),
        Language::JavaScript => embedded::<JavaScript>(),
        Language::Python => embedded::<Python>(),
        Language::C => embedded::<C>(),
    }
}

fn embedded<E: RustEmbed>() -> Vec<(String, Cow<'static, [u8]>)> {
    let files = E::iter().filter_map(|path| Some((path.to_string(), E::get(&path)?.data)));
    files.collect()
}

/// The workspace without what a project does not have: paths in it hold, for the kit is laid out as
/// the repository is.
fn workspace() -> String {
    let mut text = String::new();
    for line in WORKSPACE.lines().filter(|line| !line.starts_with("exclude = ")) {
        match line.starts_with("members = ") {
            true => text.push_str("members = [\"sdk/rust\", \"sdk/rust/macros\"]"),
            false => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

fn write(path: &Path, content: &[u8]) -> Result<(), CreateError> {
    let written = || {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        fs::write(path, content)
    };
    written().map_err(|error| CreateError::Write { path: path.to_owned(), error })
}
