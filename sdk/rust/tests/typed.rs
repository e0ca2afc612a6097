//! A plugin as a function between two structs, run as a host would run it.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tidegate_plugin::{
    Absence, Capability, Enumeration, Field, Found, HostValue, Kind, Origin, Plugin, Reads, Reject,
    Rules, State, Timestamp, TimestampFormat, Verdict, Writes,
    testing::{self, Harness},
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Bands {
    large: f64,
}

#[derive(Reads)]
struct Transaction<'a> {
    amount: f64,
    currency: &'a str,
    #[read(path = "merchant.id")]
    merchant: Option<&'a str>,
    #[read(host = "@batch-time")]
    now: Timestamp,
    #[read(path = "at", format = "unix-seconds")]
    at: Result<Timestamp, Absence>,
    #[lookup(table = "merchants", key = "merchant.id")]
    risk: Option<f64>,
    size: Option<Size>,
}

#[derive(Clone, Copy, Debug, PartialEq, Enumeration)]
enum Size {
    Small,
    #[label("LARGE")]
    Large,
}

#[derive(Debug, PartialEq, Writes)]
struct Categorized<'a> {
    size: Size,
    is_high_value: bool,
    #[write(path = "merchant.risk")]
    risk: Option<f64>,
    #[write(path = "merchant.name")]
    merchant_name: Field<String>,
    currency: &'a str,
    #[write(format = "unix-milliseconds")]
    seen: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Rules)]
enum CardRule {
    /// The amount is not negative.
    #[rule(field = "amount")]
    NegativeAmount,
    /// The merchant is known
    /// to us.
    #[rule(completeness, warn, field = "merchant.id", id = "merchant")]
    UnknownMerchant,
    /// The record says when it was.
    #[rule(timeliness, warn)]
    Timeless,
}

/// Sizes transactions up.
///
/// More about it.
#[tidegate_plugin::plugin(may_be_passed_by = true)]
fn size_up<'a>(
    config: &Bands,
    tx: Transaction<'a>,
    found: &mut Found<CardRule>,
) -> Result<Categorized<'a>, Reject<CardRule>> {
    if tx.risk.is_none() {
        found.add(CardRule::UnknownMerchant);
    }
    if let Err(absence) = tx.at {
        found.add_with(CardRule::Timeless, absence.name());
    }
    if tx.amount < 0.0 {
        return Err(Reject::by(CardRule::NegativeAmount).detail("below zero"));
    }
    let size = tx.size.unwrap_or(match tx.amount < config.large {
        true => Size::Small,
        false => Size::Large,
    });
    Ok(Categorized {
        size,
        is_high_value: size == Size::Large,
        risk: tx.risk,
        merchant_name: match tx.merchant {
            Some(id) => Field::Set(id.to_uppercase()),
            None => Field::Remove,
        },
        currency: tx.currency,
        seen: tx.now,
    })
}

#[test]
fn the_description_is_what_the_structs_say() {
    let harness = Harness::<SizeUpPlugin>::new(json!({"large": 1000})).unwrap();
    let description = harness.description();
    let required: Vec<bool> = description.reads.iter().map(|read| read.required).collect();
    assert_eq!(required, [true, true, false, true, false, false, false]);
    let Origin::Field(path) = &description.reads[2].from else { panic!("a field") };
    assert_eq!(path.to_string(), "merchant.id");
    assert_eq!(description.reads[3].from, Origin::Host(HostValue::BatchTime));
    assert_eq!(description.reads[4].kind, Kind::Timestamp(TimestampFormat::UnixSeconds));
    assert_eq!(description.reads[6].kind, Kind::Enumeration(vec!["small".into(), "LARGE".into()]));
    let paths: Vec<_> = description.writes.iter().map(|write| write.path.to_string()).collect();
    assert_eq!(
        paths,
        ["size", "is_high_value", "merchant.risk", "merchant.name", "currency", "seen"]
    );
    let rules: Vec<_> = description.rules.iter().map(|rule| (&*rule.id, &*rule.text)).collect();
    assert_eq!(rules[0], ("negative-amount", "The amount is not negative."));
    assert_eq!(rules[1], ("merchant", "The merchant is known to us."));

    let about = SizeUpPlugin::about();
    assert_eq!((about.name, about.summary), ("size-up", "Sizes transactions up."));
    assert_eq!(about.capabilities, [Capability::Lookups]);
    assert!(about.may_be_passed_by);
}

#[test]
fn rows_go_through_the_function() {
    let mut harness = Harness::<SizeUpPlugin>::new(json!({"large": 1000}))
        .unwrap()
        .at("2026-03-01T00:00:00Z")
        .lookup("merchants", json!(["m1"]), json!({"risk": 0.5}));
    let outcomes = harness.run(json!([
        {"amount": 5, "currency": "EUR", "merchant": {"id": "m1"}, "at": 1.5},
        {"amount": 2000, "currency": "USD", "merchant": {"name": "?"}, "at": "noon"},
        {"amount": -1, "currency": "USD"},
        {"amount": "5", "currency": "USD"},
        {"amount": 5, "currency": "USD", "size": "LARGE", "at": 0},
    ]));
    let seen = 1_772_323_200_000_i64;
    assert_eq!(
        *outcomes[0].record(),
        json!({"amount": 5, "currency": "EUR", "at": 1.5, "size": "small", "is_high_value": false,
            "merchant": {"id": "m1", "risk": 0.5, "name": "M1"}, "seen": seen})
    );
    assert!(outcomes[0].findings.is_empty());
    assert_eq!(
        *outcomes[1].record(),
        json!({"amount": 2000, "currency": "USD", "at": "noon", "size": "LARGE",
            "is_high_value": true, "merchant": {}, "seen": seen})
    );
    assert_eq!(outcomes[1].rules(), ["merchant", "timeless"]);
    assert_eq!(outcomes[1].findings[1].detail, "of another type");
    assert_eq!(outcomes[2].verdict, Verdict::Reject);
    assert_eq!(outcomes[2].rules(), ["negative-amount", "merchant", "timeless"]);
    assert_eq!(outcomes[2].findings[0].detail, "below zero");
    assert_eq!(outcomes[3].rules(), ["required"]);
    assert_eq!(outcomes[4].record()["size"], "LARGE");
}

#[test]
fn the_function_is_an_ordinary_function() {
    let tx = Transaction {
        amount: -1.0,
        currency: "EUR",
        merchant: None,
        now: Timestamp(0),
        at: Err(Absence::Missing),
        risk: Some(0.1),
        size: None,
    };
    let mut found = Found::new();
    let outcome = size_up(&Bands { large: 10.0 }, tx, &mut found);
    assert_eq!(outcome, Err(Reject::by(CardRule::NegativeAmount).detail("below zero")));
    assert_eq!(found.rules().collect::<Vec<_>>(), [CardRule::Timeless]);
}

mod counting {
    use super::*;

    #[derive(Reads)]
    pub(crate) struct Event<'a> {
        #[read(key)]
        #[allow(dead_code, reason = "the key is the host's business")]
        user: &'a str,
    }

    #[derive(Clone, Debug, Default, State)]
    pub(crate) struct Count {
        events: u32,
        names: Vec<String>,
    }

    #[derive(Writes)]
    pub(crate) struct Counted {
        count: i64,
    }

    /// Counts the events of each user.
    #[tidegate_plugin::plugin(name = "count", version = "2.0.0", state_version = 3)]
    fn count_events(event: Event<'_>, state: &mut Count) -> Counted {
        state.events += 1;
        state.names = vec![event.user.to_owned()];
        Counted { count: i64::from(state.events) }
    }

    #[test]
    fn state_is_kept_for_each_key() {
        let about = CountEventsPlugin::about();
        assert_eq!((about.name, about.version, about.state_version), ("count", "2.0.0", 3));
        assert_eq!(about.capabilities, [Capability::State]);
        let mut harness = Harness::<CountEventsPlugin>::new(json!({})).unwrap();
        let counts = |outcomes: Vec<testing::Outcome>| -> Vec<i64> {
            outcomes.iter().map(|outcome| outcome.record()["count"].as_i64().unwrap()).collect()
        };
        let events = json!([{"user": "a"}, {"user": "b"}, {"user": "a"}]);
        assert_eq!(counts(harness.run(events.clone())), [1, 1, 2]);
        assert_eq!(counts(harness.run(events)), [3, 2, 4]);
        assert_eq!(harness.states(), (2, 4 + 4 + 4 + 1));
    }
}

mod judging {
    use super::*;

    #[derive(Reads)]
    pub(crate) struct Ping {
        ok: bool,
    }

    /// Lets pings through.
    #[tidegate_plugin::plugin]
    fn judge(ping: Ping) -> Result<(), Reject> {
        if ping.ok { Ok(()) } else { Err(Reject::because("not ok")) }
    }

    #[test]
    fn a_plugin_may_judge_and_write_nothing() {
        let outcomes = testing::run::<JudgePlugin>(json!({}), json!([{"ok": true}, {"ok": false}]));
        assert_eq!(outcomes[0].verdict, Verdict::Emit);
        assert_eq!(outcomes[1].rules(), ["rejected"]);
        assert_eq!(outcomes[1].findings[0].detail, "not ok");
        let error = Harness::<JudgePlugin>::new(json!({"x": 1})).unwrap_err();
        assert_eq!(error.pointer, "/x");
    }
}
