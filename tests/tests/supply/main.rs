//! Which components come in, by whose word, and what becomes of those that may not any more.

mod policy;
mod registry;
mod signatures;

use std::{fs, path::Path};

use tidegate_core::Digest;
use tidegate_tests::program::{Printed, Program, plugins};

/// A first-party plugin.
fn plugin(name: &str) -> Vec<u8> {
    fs::read(plugins().join(name).with_extension("wasm")).expect("built plugins")
}

/// The same plugin as another component: a section that nobody reads stands at its end.
fn another(component: &[u8]) -> Vec<u8> {
    // A custom section: its id, its size, the size of its name, and that.
    [component, &[0, 6, 5], b"other"].concat()
}

/// A pipeline over one file, with these stages.
fn pipeline(folder: &Path, stages: &str) -> Program {
    fs::write(folder.join("input.ndjson"), "{\"a\":1}\n{\"a\":2}\n").expect("a temporary folder");
    let text = format!(
        "pipeline: supply\ndata_dir: data\nsource: {{ ndjson: {{ paths: [input.ndjson] }} }}\n\
         stages:\n{stages}\nsinks: [{{ name: out, directory: {{ path: out }} }}]\n\
         dead_letters: {{ directory: dead-letters }}\n"
    );
    fs::write(folder.join("pipeline.yaml"), text).expect("a temporary folder");
    Program::new(folder.join("pipeline.yaml"))
}

/// A stage that writes a constant.
fn constant(plugin: &str) -> String {
    format!(
        "  - name: edition\n    plugin: {plugin}\n    config: {{ fields: [{{ write: edition, value: \
         {{ constant: a }} }}] }}"
    )
}

/// Writes a policy and gives the arguments that name it.
fn policy(folder: &Path, text: &str) -> [String; 2] {
    let path = folder.join("policy.yaml");
    tidegate_tests::running::replace(&path, text);
    ["--policy".to_owned(), path.display().to_string()]
}

/// A command under a policy.
fn under(program: &Program, command: &str, policy: &[String; 2]) -> Printed {
    program.run(command, &[&policy[0], &policy[1]])
}

/// The code of the one thing that is found.
#[track_caller]
fn code(printed: &Printed) -> &str {
    let findings = printed.json["findings"].as_array().expect("a list");
    assert_eq!(findings.len(), 1, "{:#}\n{}", printed.json, printed.stderr);
    findings[0]["code"].as_str().expect("a code")
}

#[test]
fn a_component_is_the_one_that_it_is_pinned_to() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let component = plugin("enrich");
    let digest = Digest::of(&component);
    fs::write(folder.path().join("edition.wasm"), &component).expect("a temporary folder");

    let pinned = pipeline(folder.path(), &constant(&format!("edition.wasm@{digest}")));
    assert_eq!(pinned.run("check", &[]).code, 0);
    let other = Digest::of(b"another");
    let pinned = pipeline(folder.path(), &constant(&format!("edition.wasm@{other}")));
    let printed = pinned.run("check", &[]);
    assert_eq!((printed.code, code(&printed)), (4, "wrong-digest"), "{:#}", printed.json);

    // By its digest alone, out of the directory of components.
    let by_digest = pipeline(folder.path(), &constant(&digest.to_string()));
    assert_eq!(code(&by_digest.run("check", &[])), "unreadable-file");
    let components = folder.path().join("components");
    fs::create_dir(&components).expect("a temporary folder");
    let place = components.join(format!("{}.wasm", digest.hex()));
    fs::write(&place, &component).expect("a temporary folder");
    assert_eq!(by_digest.data("run", &[])["delivered"], 2);
    fs::write(&place, another(&component)).expect("a temporary folder");
    assert_eq!(code(&by_digest.run("check", &[])), "wrong-digest");

    let printed = pipeline(folder.path(), &constant("sha256:12")).run("check", &[]);
    assert_eq!((printed.code, code(&printed)), (2, "invalid-value"));
}
