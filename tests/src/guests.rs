//! The components of `tests/guests`, of `plugins` and of `sdk/conformance`, which `cargo xtask guests`
//! and `cargo xtask languages` build.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The component of a guest that misbehaves: `trap-on-one`.
///
/// # Panics
/// When it has not been built.
pub fn component(name: &str) -> Vec<u8> {
    read(
        std::env::var_os("TIDEGATE_GUESTS").map_or_else(|| target().join("guests"), PathBuf::from),
        name,
    )
}

/// The component of a first-party plugin: `validate`.
///
/// # Panics
/// When it has not been built.
pub fn plugin(name: &str) -> Vec<u8> {
    read(
        std::env::var_os("TIDEGATE_PLUGINS")
            .map_or_else(|| target().join("plugins"), PathBuf::from),
        name,
    )
}

/// Where `cargo xtask languages` puts what it builds.
pub fn languages() -> PathBuf {
    std::env::var_os("TIDEGATE_LANGUAGES").map_or_else(|| target().join("languages"), PathBuf::from)
}

/// The conformance plugin in a language, `go`; or why it could not be built here.
///
/// # Errors
/// When the language's compiler or client is not to be had.
///
/// # Panics
/// When it was not tried.
pub fn language(name: &str) -> Result<Vec<u8>, String> {
    let directory = languages();
    match fs::read_to_string(directory.join(format!("{name}.skipped"))) {
        Ok(reason) => Err(reason.trim().to_owned()),
        Err(_) => Ok(read(directory, name)),
    }
}

fn read(directory: PathBuf, name: &str) -> Vec<u8> {
    let path = directory.join(name).with_extension("wasm");
    fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo xtask guests` or `cargo xtask languages` builds it",
            path.display()
        )
    })
}

/// The target directory that the running test lies in: `<target>/<profile>/deps/<test>`.
fn target() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    test.ancestors().nth(3).unwrap_or(Path::new("target")).to_owned()
}
