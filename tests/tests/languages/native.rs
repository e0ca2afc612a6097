//! Each SDK's own tests, and its template's, in its own language and without WebAssembly.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tidegate_tests::{guests, program};

fn sdk(language: &str) -> PathBuf {
    program::root().join("sdk").join(language)
}

/// The template as an author has it, which `cargo xtask languages` fills in.
fn template(language: &str) -> PathBuf {
    guests::languages().join("templates").join(language)
}

/// Runs a command in a folder, unless there is no such program here.
#[track_caller]
fn passes(language: &str, folder: &Path, program: &str, set_up: impl FnOnce(&mut Command)) {
    assert!(folder.exists(), "{}: `cargo xtask languages` makes it", folder.display());
    let mut command = Command::new(program);
    command.current_dir(folder);
    set_up(&mut command);
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("SKIPPED: the tests of the SDK for {language}: `{program}` is not installed");
        }
        Err(error) => panic!("{program}: {error}"),
        Ok(output) => assert!(
            output.status.success(),
            "{command:?}\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

#[test]
fn the_sdk_for_go_and_its_template_pass_their_tests() {
    for folder in [sdk("go"), template("go")] {
        passes("go", &folder, "go", |go| {
            go.args(["vet", "./..."]);
        });
        passes("go", &folder, "go", |go| {
            go.args(["test", "./..."]);
        });
    }
}

#[test]
fn the_sdk_for_javascript_and_its_template_pass_their_tests() {
    for folder in [sdk("js"), template("js")] {
        passes("js", &folder, "node", |node| {
            node.args(["--test", "test/"]);
        });
    }
}

#[test]
fn the_sdk_for_python_and_its_template_pass_their_tests() {
    for folder in [sdk("python"), template("python")] {
        passes("python", &folder, "python3", |python| {
            let path =
                format!("{}:{}", sdk("python").join("src").display(), folder.join("src").display());
            python.env("PYTHONPATH", path).env("PYTHONDONTWRITEBYTECODE", "1");
            python.args(["-m", "unittest", "discover", "tests"]);
        });
    }
}

#[test]
fn the_template_for_c_passes_its_test() {
    let folder = tempfile::tempdir().expect("a folder");
    let test = folder.path().join("test");
    let files = |folder: PathBuf| {
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| path.extension().is_some_and(|it| it == "c")).collect::<Vec<_>>()
    };
    passes("c", &template("c"), "cc", |cc| {
        cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"]).arg(sdk("c").join("include"));
        cc.args(files(sdk("c").join("src"))).args(files(template("c").join("src")));
        cc.args(files(template("c").join("tests"))).arg("-o").arg(&test);
    });
    if test.exists() {
        passes("c", folder.path(), "./test", |_| {});
    }
}

/// What a manual shows is what was tested.
#[test]
fn the_manuals_show_the_templates() {
    for (language, file) in [
        ("go", "main.go"),
        ("js", "src/plugin.js"),
        ("python", "src/plugin.py"),
        ("c", "src/plugin.c"),
    ] {
        let read = |path: PathBuf| std::fs::read_to_string(&path).expect("the file can be read");
        let manual = read(sdk(language).join("README.md"));
        let source = read(sdk(language).join("template").join(file)).replace("{{name}}", "size");
        assert!(manual.contains(source.trim()), "sdk/{language}/README.md does not show {file}");
    }
}
