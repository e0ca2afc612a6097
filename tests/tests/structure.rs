//! The structure that `docs/architecture.md` promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, MetadataCommand};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the root").to_owned()
}

/// Which crates of the workspace each crate of the host is built from.
fn host_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata reads the workspace");
    metadata
        .packages
        .iter()
        .filter(|package| package.manifest_path.starts_with(root().join("host")))
        .map(|package| {
            let dependencies = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == DependencyKind::Normal)
                .map(|dependency| dependency.name.clone())
                .filter(|name| name.starts_with("tidegate-"))
                .collect();
            (package.name.to_string(), dependencies)
        })
        .collect()
}

#[test]
fn dependencies_point_inward_and_siblings_never_meet() {
    let dependencies = host_dependencies();
    let only = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(dependencies["tidegate-core"], BTreeSet::new());
    for sibling in ["tidegate-engine", "tidegate-pipeline", "tidegate-connectors"] {
        assert_eq!(dependencies[sibling], only(&["tidegate-core"]), "{sibling}");
    }
    // What builds plugins knows nothing of what runs them.
    assert_eq!(
        dependencies["tidegate-server"],
        only(&[
            "tidegate-build",
            "tidegate-connectors",
            "tidegate-core",
            "tidegate-engine",
            "tidegate-pipeline"
        ])
    );
    assert_eq!(dependencies.len(), 5, "a crate of the host that this test does not know");
}

#[test]
fn only_the_engine_knows_wasmtime() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata reads the workspace");
    for package in &metadata.packages {
        let knows = package.dependencies.iter().any(|it| it.name.starts_with("wasmtime"));
        assert_eq!(knows, *package.name == "tidegate-engine", "{}", package.name);
    }
}

/// Only names what is in the tree: a path in backticks that has a `/` and no spaces, or a link.
fn paths_named_in(document: &str) -> Vec<String> {
    let quoted = document.split('`').skip(1).step_by(2).map(str::to_owned);
    let linked =
        document.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned);
    quoted
        .chain(linked)
        .filter(|text| {
            [
                "host/",
                "wit/",
                "sdk/",
                "plugins/",
                "examples/",
                "tests/",
                "docs/",
                "benches/",
                "xtask/",
                "deploy/",
            ]
            .iter()
            .any(|top| text.starts_with(top))
                && !text.contains([' ', '*', '<', '{', '…', '$'])
        })
        .collect()
}

#[test]
fn paths_that_the_documents_name_exist() {
    let mut checked = 0;
    let folders = ["docs", "docs/decisions"].map(|folder| root().join(folder));
    let documents = folders.iter().flat_map(|folder| {
        let entries = fs::read_dir(folder).expect("the folder can be read").flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|it| it == "md"))
    });
    for path in documents.chain([root().join("README.md")]) {
        let document = path.display();
        let text = fs::read_to_string(&path).expect("a document can be read");
        for path in paths_named_in(&text) {
            assert!(root().join(&path).exists(), "{document} names `{path}`, which does not exist");
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} paths were found in the documents");
}

#[test]
fn no_file_asks_to_be_split() {
    let mut folders = vec![root()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "demo" {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let lines = fs::read_to_string(&path).expect("source is text").lines().count();
                assert!(lines <= 800, "{} has {lines} lines", path.display());
                files += 1;
            }
        }
    }
    assert!(files > 50, "only {files} source files were found");
}
