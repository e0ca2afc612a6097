//! JSONTestSuite through the whole host: what must be accepted comes out byte for byte, what must
//! be refused lies in the dead letters, and nothing stops the stream.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tidegate_tests::program::{Program, lines, shared_data};

/// Texts of the suite by their first letter: `y` must be accepted, `n` must be refused.
fn suite(data: &Path, verdict: &str) -> Vec<(String, Vec<u8>)> {
    let mut texts: Vec<_> = fs::read_dir(data.join("json-test-suite/test_parsing"))
        .expect("the suite is there")
        .map(|entry| entry.expect("the suite can be read").path())
        .filter(|path| name(path).starts_with(verdict))
        .map(|path| (name(&path), fs::read(&path).expect("a text of the suite")))
        .collect();
    texts.sort();
    texts
}

fn name(path: &Path) -> String {
    path.file_name().expect("a file").to_string_lossy().into_owned()
}

/// A fresh folder with the texts in `input/`, a file each, and a pipeline over them.
fn pipeline(folder: &Path, texts: &[(String, Vec<u8>)], stages: &str) -> Program {
    fs::create_dir(folder.join("input")).expect("a fresh folder");
    for (name, text) in texts {
        fs::write(folder.join("input").join(name), text).expect("the input can be written");
    }
    let file: PathBuf = folder.join("pipeline.yaml");
    let text = format!(
        "pipeline: suite\n\
         source: {{ whole_file: {{ paths: ['input/*'] }} }}\n\
         {stages}\
         sinks:\n\
         \x20 - {{ name: out, directory: {{ path: out }}, layout: envelope }}\n\
         dead_letters: {{ directory: dead }}\n"
    );
    fs::write(&file, text).expect("the pipeline can be written");
    Program::new(file)
}

/// As a JSON Lines sink must write it: raw CR and LF as spaces.
fn as_line(text: &[u8]) -> Vec<u8> {
    text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect()
}

#[test]
fn accepted_texts_come_out_byte_for_byte_and_refused_ones_are_dead_letters() {
    let Some(data) = shared_data("JSONTestSuite through the host") else { return };
    let accepted = suite(&data, "y_");
    let refused = suite(&data, "n_");
    assert_eq!((accepted.len(), refused.len()), (95, 188));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let texts = [accepted.clone(), refused.clone()].concat();
    let program = pipeline(folder.path(), &texts, "");

    let summary = program.data("run", &[]);
    assert_eq!(summary["delivered"], 95, "{summary:#}");
    assert_eq!(summary["dead_lettered"], 188, "{summary:#}");
    assert_eq!(summary["read"], 283, "{summary:#}");

    let out = lines(&folder.path().join("out"));
    assert_eq!(out.len(), 95);
    let mut missing: BTreeSet<Vec<u8>> = accepted.iter().map(|(_, text)| as_line(text)).collect();
    for line in &out {
        let found = missing
            .iter()
            .find(|text| line.starts_with(&[br#"{"original_data":"#.as_slice(), text].concat()));
        let found = found.cloned();
        assert!(found.is_some(), "not as it came: {}", String::from_utf8_lossy(line));
        // Two texts of the suite may be the same; each line takes one away while it lasts.
        if accepted.iter().filter(|(_, text)| Some(as_line(text)) == found).count() == 1 {
            missing.remove(&found.expect("just checked"));
        }
    }
    let letters = lines(&folder.path().join("dead"));
    assert_eq!(letters.len(), 188);
    for letter in letters {
        let letter: Value = serde_json::from_slice(&letter).expect("a dead letter is JSON");
        assert_eq!(letter["etl"]["stage"], "decode", "{letter:#}");
        assert!(!letter["etl"]["errorCode"].as_str().unwrap_or_default().is_empty(), "{letter:#}");
    }
    assert_eq!(program.data("verify", &[])["conserved"], true);
}

#[test]
fn a_fault_behind_the_last_field_that_is_read_is_found_all_the_same() {
    let Some(data) = shared_data("JSONTestSuite behind the last field") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let behind = |(name, text): (String, Vec<u8>)| {
        (name, [br#"{"a":1,"x":"#.as_slice(), &text, b"}"].concat())
    };
    let accepted: Vec<_> = suite(&data, "y_").into_iter().map(behind).collect();
    let refused: Vec<_> = suite(&data, "n_").into_iter().map(behind).collect();
    // Some texts are refused for what stands around them, and are sound inside of an object.
    let sound_inside = |text: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
    let (sound, refused): (Vec<_>, Vec<_>) =
        refused.into_iter().partition(|(_, text)| sound_inside(text));
    assert!(sound.len() < 5, "{} of the texts would be sound inside of an object", sound.len());
    let accepted = [accepted, sound].concat();
    let stages = "stages:\n\
        \x20 - name: validate\n\
        \x20   plugin: ${TIDEGATE_PLUGINS}/validate.wasm\n\
        \x20   config: { always: [{ id: a-valid, field: a, check: { range: { at_least: 0 } } }] }\n";
    let program = pipeline(folder.path(), &[accepted.clone(), refused.clone()].concat(), stages);

    let summary = program.data("run", &[]);
    assert_eq!(summary["read"], 283, "{summary:#}");
    // Which, and not only how many: one that is wrongly accepted must not make up for one that is
    // wrongly refused.
    let came_out = lines(&folder.path().join("out")).into_iter().map(|line| {
        let end = line.windows(19).position(|it| it == br#","enriched_data":{}"#.as_slice());
        let end = end.unwrap_or_else(|| panic!("no envelope: {}", String::from_utf8_lossy(&line)));
        line[br#"{"original_data":"#.len()..end].to_vec()
    });
    let sorted = |texts: Vec<Vec<u8>>| {
        let mut texts = texts;
        texts.sort();
        texts
    };
    let expected = accepted.iter().map(|(_, text)| as_line(text)).collect();
    assert_eq!(sorted(came_out.collect()), sorted(expected));
    let named = lines(&folder.path().join("dead")).into_iter().map(|letter| {
        let letter: Value = serde_json::from_slice(&letter).expect("a dead letter is JSON");
        let partition = letter["etl"]["partition"].as_str().expect("a partition is a text");
        name(Path::new(partition))
    });
    let named: BTreeSet<String> = named.collect();
    let expected: BTreeSet<String> = refused.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(named, expected);
    assert_eq!(summary["dead_lettered"].as_u64(), Some(refused.len() as u64), "{summary:#}");
}
