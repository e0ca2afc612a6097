//! Every SDK gives the same replies: the cases of `sdk/conformance` against the same plugin in each
//! language, as a component in the engine.

mod cases;
mod costs;
mod native;
mod wasi;

use std::{fmt::Debug, sync::LazyLock};

use serde_json::Value;
use tidegate_core::{
    About, Batch, Binary, Description, Kind, Path, Reply, TransformFactory, Values,
    description::{
        Capability, Dimension, HostValue, KeyedState, Lookup, Origin, Read, Rule, Severity,
        TimestampFormat, Written,
    },
    transform::Breach,
};
use tidegate_engine::{Component, ConfigureError, ConfigureOptions, Runtime, RuntimeOptions};
use tidegate_tests::guests;

use cases::{BATCH_TIME, Case, Expected};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new(RuntimeOptions::default()).expect("the engine starts"));

#[test]
fn rust_conforms() {
    conforms("rust");
}

#[test]
fn go_conforms() {
    conforms("go");
}

#[test]
fn javascript_conforms() {
    conforms("js");
}

#[test]
fn python_conforms() {
    conforms("python");
}

#[test]
fn c_conforms() {
    conforms("c");
}

/// Checks a language's component, unless it could not be built here.
fn conforms(language: &str) {
    let bytes = match guests::language(language) {
        Ok(bytes) => bytes,
        Err(reason) => return println!("SKIPPED: conformance of {language}: {reason}"),
    };
    let component = RUNTIME.load(&bytes).unwrap_or_else(|error| panic!("{language}: {error}"));
    // Whatever a language brings along, nothing of it is the host's business.
    let imports: Vec<_> = component
        .interface()
        .imports
        .iter()
        .filter(|name| !name.starts_with("tidegate:"))
        .collect();
    assert!(imports.is_empty(), "{language} imports {imports:?}");
    check_about(component.about());
    let mut failures = Vec::new();
    let is_for =
        |case: &Case| case.languages.as_ref().is_none_or(|it| it.iter().any(|it| it == language));
    for case in cases::read().into_iter().filter(is_for) {
        if let Err(what) = check(&component, &case) {
            failures.push(format!("{}: {what}", case.name));
        }
    }
    assert!(failures.is_empty(), "{language}\n{}", failures.join("\n"));
}

fn check_about(about: &About) {
    let said = (&*about.name, &*about.version, &*about.summary, about.state_version);
    assert_eq!(said, ("conformance", "1.0.0", "Answers the conformance cases.", 3));
    assert!(about.may_be_passed_by);
    let mut capabilities = about.capabilities.clone();
    capabilities.sort_unstable();
    assert_eq!(capabilities, [Capability::State, Capability::FanOut, Capability::Lookups]);
    let schema: Value = serde_json::from_str(&about.config_schema).expect("the schema is JSON");
    assert_eq!(schema["type"], "object", "{schema:#}");
    assert_eq!(schema["required"], serde_json::json!(["factor"]), "{schema:#}");
    assert_eq!(schema["properties"]["factor"]["type"], "number", "{schema:#}");
    assert!(schema["properties"]["factor"]["description"].is_string(), "{schema:#}");
    assert_eq!(schema["additionalProperties"], false, "{schema:#}");
}

fn check(component: &Component, case: &Case) -> Result<(), String> {
    let options = ConfigureOptions {
        config_json: case.config.clone(),
        grants: Capability::ALL.into_iter().collect(),
        ..ConfigureOptions::default()
    };
    let factory = match (component.configure(options), &case.expected) {
        (Err(ConfigureError::Refused { pointer, message, .. }), Expected::Refused(refused)) => {
            if pointer != refused.pointer {
                return Err(format!("it is refused at `{pointer}`: {message}"));
            }
            return says(&message, &refused.words);
        }
        (Ok(_), Expected::Refused(_)) => return Err("the config is taken".into()),
        (Err(error), _) => return Err(error.to_string()),
        (Ok(factory), _) => factory,
    };
    let described = &factory.plugin().description;
    if *described != description() {
        return Err(format!("it describes itself as {described:#?}"));
    }
    let mut instance = factory.instantiate().map_err(|error| error.to_string())?;
    let columns = case.columns();
    let states = case.states();
    let batch = Batch {
        rows: case.rows.len() as u32,
        columns: &columns.iter().collect::<Vec<_>>(),
        states: &states,
        batch_time: BATCH_TIME,
    };
    match (instance.transform(&batch), &case.expected) {
        (Ok(reply), Expected::Reply(expected)) => {
            let expected = case.reply(expected);
            compare(reply, &expected)?;
            // And once more: what a call leaves behind must not show.
            let again = instance.transform(&batch).map_err(|error| format!("then {error}"))?;
            compare(again, &expected).map_err(|what| format!("a second time {what}"))
        }
        (Err(error), Expected::Fault(fault)) => {
            if (error.breach, error.row) != (Breach::Trap, Some(fault.row)) {
                return Err(format!("it fails on row {:?}: {error}", error.row));
            }
            says(&error.message, &fault.words)
        }
        (Ok(_), _) => Err("it answers".into()),
        (Err(error), _) => Err(error.to_string()),
    }
}

/// Compares part by part: a whole reply is long.
fn compare(mut reply: Reply, expected: &Reply) -> Result<(), String> {
    // The contract leaves both forms of no texts at all to the guest.
    let texts = reply.columns.iter_mut().filter_map(|column| match &mut column.values {
        Values::Utf8(texts) | Values::Json(texts) => Some(texts),
        _ => None,
    });
    let others = [&mut reply.findings.details, &mut reply.states.values];
    texts.chain(others).filter(|texts| texts.is_empty()).for_each(Binary::clear);

    let differs = |what: &str, answers: &dyn Debug, expected: &dyn Debug| {
        Err(format!("{what}: it answers {answers:?} instead of {expected:?}"))
    };
    if reply.verdicts != expected.verdicts {
        return differs("verdicts", &reply.verdicts, &expected.verdicts);
    }
    if reply.parents != expected.parents {
        return differs("parents", &reply.parents, &expected.parents);
    }
    for (i, (column, expected)) in reply.columns.iter().zip(&expected.columns).enumerate() {
        if column != expected {
            return differs(&format!("column {i}"), column, expected);
        }
    }
    if reply.findings != expected.findings {
        return differs("findings", &reply.findings, &expected.findings);
    }
    if reply != *expected {
        return differs("states", &reply.states, &expected.states);
    }
    Ok(())
}

fn says(message: &str, words: &[String]) -> Result<(), String> {
    match words.iter().find(|word| !message.contains(*word)) {
        Some(word) => Err(format!("{word:?} is not in {message:?}")),
        None => Ok(()),
    }
}

/// What every language's plugin must say of itself.
fn description() -> Description {
    let path = |text: &str| text.parse::<Path>().expect("a path");
    let size = || Kind::Enumeration(["small", "medium", "large"].map(str::to_owned).to_vec());
    let unix = Kind::Timestamp(TimestampFormat::UnixMilliseconds);
    let rfc3339 = Kind::Timestamp(TimestampFormat::Rfc3339);
    let read = |text, kind, required| Read { from: Origin::Field(path(text)), kind, required };
    let write = |text, kind| Written { path: path(text), kind };
    let rule = |id: &str, dimension, severity, field: Option<&str>, text: &str| Rule {
        id: id.to_owned(),
        dimension,
        severity,
        field: field.map(path),
        text: text.to_owned(),
    };
    let lookup = Lookup {
        table: "merchants".into(),
        keys: vec![path("merchant.id")],
        column: "risk".into(),
    };
    Description {
        reads: vec![
            read("key", Kind::Utf8, true),
            read("action", Kind::Utf8, true),
            read("kinds.boolean", Kind::Boolean, false),
            read("kinds.int64", Kind::Int64, false),
            read("kinds.float64", Kind::Float64, false),
            read("kinds.timestamp", rfc3339.clone(), false),
            read("kinds.unix", unix.clone(), false),
            read("kinds.date", Kind::Date, false),
            read("['a.b'][0].text", Kind::Utf8, false),
            read("kinds.size", size(), false),
            read("kinds.json", Kind::Json, false),
            Read {
                from: Origin::Host(HostValue::BatchTime),
                kind: rfc3339.clone(),
                required: false,
            },
            Read { from: Origin::Lookup(lookup), kind: Kind::Float64, required: false },
        ],
        writes: vec![
            write("out.boolean", Kind::Boolean),
            write("out.int64", Kind::Int64),
            write("out.float64", Kind::Float64),
            write("out.timestamp", rfc3339.clone()),
            write("out.unix", unix),
            write("out.date", Kind::Date),
            write("out.text", Kind::Utf8),
            write("out.size", size()),
            write("out.json", Kind::Json),
            write("out.risk", Kind::Float64),
            write("out.absent", Kind::Utf8),
            write("out.count", Kind::Int64),
            write("out.child", Kind::Int64),
            write("out.at", rfc3339),
        ],
        rules: vec![
            rule(
                "refused",
                Dimension::Validity,
                Severity::Reject,
                Some("action"),
                "The action is not to refuse.",
            ),
            rule("gone", Dimension::Completeness, Severity::Info, None, "The row is wanted."),
            rule(
                "noted",
                Dimension::Consistency,
                Severity::Warn,
                Some("['a.b'][0].text"),
                "There is nothing to note.",
            ),
        ],
        state: Some(KeyedState { key: vec![0] }),
    }
}
