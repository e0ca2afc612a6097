//! The author's path: `plugin new`, `plugin build`, `plugin test`, in every language that can be built
//! here.

use std::fs;

use tidegate_tests::program::Program;

const LANGUAGES: [&str; 5] = ["rust", "go", "js", "python", "c"];

#[test]
fn a_new_project_is_built_and_keeps_its_golden_cases() {
    for language in LANGUAGES {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let project = Program::new(folder.path().join("size-up"));
        let made = project.data("plugin new", &["--lang", language]);
        assert_eq!(made["next"].as_array().map(Vec::len), Some(3), "{made:#}");
        let built = project.run("plugin build", &[]);
        if built.code == 3 {
            println!("SKIPPED: plugins in {language}: {}", built.json["error"]);
            continue;
        }
        assert_eq!(built.code, 0, "{language}: {}\n{:#}", built.stderr, built.json);
        assert!(built.stderr.contains("$ "), "{language} was built silently: {}", built.stderr);
        let tested = project.data("plugin test", &[]);
        assert_eq!((&tested["passed"], &tested["failed"]), (&2.into(), &0.into()), "{language}");
    }
}

#[test]
fn no_file_of_a_project_names_the_place_where_it_was_made() {
    for language in LANGUAGES {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("size-up");
        Program::new(&path).data("plugin new", &["--lang", language]);
        let place = folder.path().display().to_string();
        let files = tidegate_tests::program::tree(&path);
        assert!(files.len() > 8, "{language} has {} files", files.len());
        for (name, content) in files {
            let text = String::from_utf8_lossy(&content);
            assert!(!text.contains(&place), "{language}: {name} names {place}");
            for placeholder in ["{{name}}", "{{sdk}}"] {
                assert!(!text.contains(placeholder), "{language}: {name} has {placeholder}");
                assert!(!name.contains(placeholder), "{language}: {name}");
            }
        }
    }
}

#[test]
fn what_is_there_is_not_written_over_and_a_name_is_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("mine"), "").expect("room for a file");
    let refused = Program::new(folder.path()).run("plugin new", &["--lang", "c"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1);
    let refused = Program::new(folder.path().join("Size Up")).run("plugin new", &["--lang", "c"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
}

#[test]
fn an_unknown_key_of_a_manifest_is_refused_with_its_place_and_the_nearest_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("size-up");
    let project = Program::new(&path);
    project.data("plugin new", &["--lang", "c"]);
    let manifest = "name = \"size-up\"\nlanguage = \"c\"\n[build]\n  componet = \"x\"\n";
    fs::write(path.join("tidegate.toml"), manifest).expect("room for a manifest");
    let refused = project.run("plugin build", &[]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let finding = &refused.json["findings"][0];
    assert_eq!((&finding["line"], &finding["column"]), (&4.into(), &3.into()), "{finding:#}");
    assert_eq!(finding["suggestion"], "did you mean `component`?");
}
