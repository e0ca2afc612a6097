//! JSONTestSuite, which nobody here wrote: what must be accepted comes out byte for byte, what
//! must be refused is refused, also behind the last field that is read.

use std::{fs, path::PathBuf};

use super::*;

/// The texts whose names begin with a letter; nothing where the data is absent.
fn texts(prefix: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let dir = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/data/json-test-suite/test_parsing"
    ));
    let files = fs::read_dir(dir).ok()?;
    Some(
        files
            .filter_map(|file| {
                let file = file.ok()?;
                let name = file.file_name().into_string().ok()?;
                name.starts_with(prefix).then(|| (name, fs::read(file.path()).expect("readable")))
            })
            .collect(),
    )
}

fn spliced(text: &[u8]) -> Result<Vec<u8>, JsonError> {
    let envelope = Envelope {
        source: "files".into(),
        processing_stage: "test".into(),
        version: "0.1.0".into(),
    };
    let reads = [(path("a"), Kind::Int64)];
    let projector =
        Projector::new(&reads, &[path("b")], Layout::Envelope(envelope)).expect("valid");
    let mut projection = projector.projection();
    projector.project(text, &mut projection)?;
    let id = record_id(text);
    let stamp = Stamp {
        record_id: std::str::from_utf8(&id).expect("hex digits"),
        processed: crate::Timestamp(0),
    };
    let mut out = Vec::new();
    let edits = [Edit { path: 0, change: Change::Set(Value::Boolean(true)) }];
    projector
        .splicer()
        .splice(text, projection.located(0), &edits, stamp, &mut out)
        .expect("an envelope takes any record");
    Ok(out)
}

#[test]
fn what_must_be_accepted_comes_out_byte_for_byte() {
    let Some(texts) = texts("y_") else {
        eprintln!("SKIPPED: what_must_be_accepted_comes_out_byte_for_byte: shared/data is absent");
        return;
    };
    assert_eq!(texts.len(), 95);
    for (name, text) in texts {
        let out = spliced(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let behind = out.strip_prefix(b"{\"original_data\":").expect("an envelope");
        assert!(behind.starts_with(&text), "{name}");
        assert!(Validator::default().validate(&out).is_ok(), "{name}");
        let mut line = Vec::new();
        push_as_line(&out, &mut line);
        assert_eq!(line.len(), out.len());
        assert!(!line.contains(&b'\n') && !line.contains(&b'\r'), "{name}");

        let field = [&b"{\"a\":1,\"x\":"[..], &text, b"}"].concat();
        spliced(&field).unwrap_or_else(|error| panic!("{name} as a field: {error}"));
    }
}

#[test]
fn what_must_be_refused_is_refused() {
    let Some(texts) = texts("n_") else {
        eprintln!("SKIPPED: what_must_be_refused_is_refused: shared/data is absent");
        return;
    };
    assert_eq!(texts.len(), 188);
    for (name, text) in texts {
        assert!(spliced(&text).is_err(), "{name}");
        // Two of them are valid where a value is due: `"x":1,"a":2` and the like are not, but
        // what ends an object is.
        let field = [&b"{\"a\":1,\"x\":"[..], &text, b"}"].concat();
        let valid = serde_json::from_slice::<serde::de::IgnoredAny>(&field).is_ok()
            && std::str::from_utf8(&field).is_ok();
        assert_eq!(spliced(&field).is_ok(), valid, "{name} as a field");
    }
}

#[test]
fn what_may_be_either_never_panics() {
    let Some(texts) = texts("i_") else {
        eprintln!("SKIPPED: what_may_be_either_never_panics: shared/data is absent");
        return;
    };
    for (name, text) in texts {
        let utf8 = std::str::from_utf8(&text).is_ok();
        assert!(utf8 || spliced(&text).is_err(), "{name}");
    }
}
