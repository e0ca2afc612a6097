use serde_json::{Value, json};
use tidegate_plugin::{
    Verdict,
    testing::{self, Harness, Outcome},
};

use super::*;

/// In the form of a key that is made at random, and in no text here.
const KEY: &str = "c9c1f7a3b5d04e6f8a2b";

fn config(fields: Value) -> Value {
    json!({"keys": {"main": KEY, "other": "another key of twenty bytes"}, "fields": fields})
}

/// What an action makes of a value.
fn redacted(action: Value, value: Value) -> Value {
    let config = config(json!([{"field": "a", "action": action}]));
    let outcome = testing::run::<Redact>(config, json!([{"a": value, "b": 1}])).remove(0);
    assert!(outcome.findings.is_empty());
    assert_eq!(outcome.record()["b"], 1);
    outcome.record()["a"].clone()
}

fn search(find: Value, records: Value) -> Vec<Outcome> {
    let config = json!({
        "keys": {"main": KEY},
        "texts": [{"fields": ["note", "more"], "find": find}],
    });
    testing::run::<Redact>(config, records)
}

#[test]
fn a_dropped_field_is_gone_and_an_element_becomes_null() {
    let config = config(json!([
        {"field": "secret", "action": "drop"},
        {"field": "list[1]", "action": "drop"},
    ]));
    let records = json!([
        {"secret": {"deep": [1]}, "list": [1, 2, 3]},
        {"secret": null, "list": [1, "x"]},
        {"list": [0, 0], "other": 1},
        {"list": [0]},
        {},
    ]);
    let outcomes = testing::run::<Redact>(config, records);
    assert_eq!(*outcomes[0].record(), json!({"list": [1, null, 3]}));
    assert_eq!(*outcomes[1].record(), json!({"list": [1, null]}));
    assert_eq!(*outcomes[2].record(), json!({"list": [0, null], "other": 1}));
    assert_eq!(*outcomes[3].record(), json!({"list": [0]}), "there is no such element");
    assert_eq!(*outcomes[4].record(), json!({}));
}

#[test]
fn a_mask_keeps_what_is_to_be_kept_of_what_is_long_enough() {
    let mask = |mask: Value, value: &str| redacted(json!({"mask": mask}), json!(value));
    assert_eq!(mask(json!({}), "größe"), "*****");
    assert_eq!(mask(json!({}), ""), "");
    assert_eq!(mask(json!({"keep_last": 4}), "4111111111111234"), "************1234");
    assert_eq!(
        mask(json!({"keep_first": 6, "keep_last": 4}), "4111111111111234"),
        "411111******1234"
    );
    assert_eq!(mask(json!({"keep_last": 4}), "12345678"), "****5678");
    assert_eq!(mask(json!({"keep_last": 4}), "1234567"), "*******", "too short to keep a part of");
    assert_eq!(mask(json!({"keep_last": 4, "masked_min": 1}), "12345"), "*2345");
    assert_eq!(
        mask(json!({"keep_first": 255, "keep_last": 255}), "4111111111111234"),
        "*".repeat(16)
    );
    assert_eq!(mask(json!({"keep_first": 1, "character": "•"}), "äöüßé"), "ä••••");
    let punctuated = json!({"keep_last": 4, "keep_punctuation": true});
    assert_eq!(mask(punctuated.clone(), "4111-1111-1111-1234"), "****-****-****-1234");
    assert_eq!(mask(punctuated, "a.b@c"), "*.*@*");
    assert_eq!(mask(json!({"keep_punctuation": true}), "¡😀 ¿!"), "** *!", "of ASCII only");
    let fixed = json!({"keep_last": 2, "length": 3});
    assert_eq!(mask(fixed.clone(), "abcdefgh"), "***gh");
    assert_eq!(mask(fixed.clone(), "abc"), "***");
    assert_eq!(mask(fixed, ""), "***", "an empty text is not told from others");
}

#[test]
fn a_value_of_any_type_is_redacted() {
    let card = json!({"mask": {"keep_last": 4}});
    assert_eq!(redacted(card.clone(), json!(4111111111111234_u64)), "************1234");
    assert_eq!(redacted(card.clone(), json!(-12.5)), "*****");
    assert_eq!(redacted(card.clone(), json!(true)), redacted(card.clone(), json!(false)));
    assert_eq!(redacted(card.clone(), json!({"number": "4111111111111234"})), "********");
    let mixed = json!(["4111111111111234", 4111111111111234_u64, null, {"n": 1}, [true, []]]);
    let expected =
        json!(["************1234", "************1234", null, "********", ["********", []]]);
    assert_eq!(redacted(card, mixed), expected, "each element on its own");
    assert_eq!(redacted(json!({"replace": "[gone]"}), json!({"x": "}"})), "[gone]");
    assert_eq!(redacted(json!({"replace": "\"\\\n"}), json!(1)), "\"\\\n");
}

#[test]
fn a_field_that_is_missing_or_null_is_left_alone() {
    for action in [json!({"replace": "x"}), json!({"mask": {}}), json!({"hash": {"key": "main"}})] {
        let config = config(json!([{"field": "a.b", "action": action}]));
        let records = json!([{}, {"a": null}, {"a": {}}, {"a": {"b": null}}]);
        for (outcome, record) in
            testing::run::<Redact>(config, records.clone()).iter().zip(records.as_array().unwrap())
        {
            assert_eq!(outcome.record(), record);
            assert!(outcome.findings.is_empty());
        }
    }
}

#[test]
fn a_record_in_which_a_field_can_not_be_looked_for_is_rejected() {
    let config = config(json!([
        {"field": "card.owner.name", "action": "drop"},
        {"field": "items[0].card", "action": {"mask": {}}},
    ]));
    let records = json!([
        {"card": "Jane, 4111111111111111"},
        {"card": {"owner": ["Jane"]}},
        {"card": 4111111111111111_u64, "items": "4111111111111111"},
        {"items": {"card": "4111111111111111"}},
        {"items": ["4111111111111111"]},
        {"items": [{"card": "4111"}], "card": {"owner": {"name": "Jane"}}},
        {"items": [], "card": null},
    ]);
    let outcomes = testing::run::<Redact>(config, records);
    let rules: Vec<_> = outcomes.iter().map(Outcome::rules).collect();
    let (owner, card) = ("reachable:card.owner.name", "reachable:items[0].card");
    let expected: [&[&str]; 7] = [&[owner], &[owner], &[owner, card], &[card], &[card], &[], &[]];
    assert_eq!(rules, expected);
    assert!(outcomes[..5].iter().all(|outcome| outcome.verdict == Verdict::Reject));
    assert_eq!(*outcomes[5].record(), json!({"items": [{"card": "****"}], "card": {"owner": {}}}));
    assert_eq!(*outcomes[6].record(), json!({"items": [], "card": null}));
}

/// The host keeps earlier members of the same name unless the field is written: so it always is.
#[test]
fn every_field_is_written_in_every_record() {
    let config = json!({
        "fields": [{"field": "a", "action": "drop"}, {"field": "b", "action": {"mask": {}}}],
        "texts": [{"fields": ["c"], "find": [{"pattern": "ip", "action": "drop"}]}],
    });
    let (plugin, _) = tidegate_plugin::configure::<Redact>(&config.to_string()).unwrap();
    let offsets: &[u32] = &[0, 0, 0, 4];
    let json = tidegate_plugin::batch::Values::Json(tidegate_plugin::batch::Text {
        offsets,
        bytes: "\"ok\"",
    });
    // Missing, null, and a value without a match.
    let column = tidegate_plugin::batch::Column { values: json, presence: &[1, 2, 0] };
    let batch = Batch { rows: 3, columns: &[column, column], states: Default::default() };
    let reply = plugin.transform(&batch);
    assert_eq!(reply.columns[0].presence, [3, 3, 3]);
    assert_eq!(reply.columns[1].presence, [3, 2, 0]);
    assert_eq!(reply.columns[2].presence, [3, 2, 0]);
    let Values::Json(written) = &reply.columns[2].values else { panic!("not JSON") };
    assert_eq!(written.bytes, b"\"ok\"", "byte for byte");
}

/// RFC 4231, test cases 1 and 6.
#[test]
fn a_hash_is_hmac_sha_256() {
    let hash = |key: &str, settings: Value, value: Value| {
        let mut hash = json!({"key": "k"});
        hash.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let config =
            json!({"keys": {"k": key}, "fields": [{"field": "a", "action": {"hash": hash}}]});
        testing::run::<Redact>(config, json!([{"a": value}]))[0].record()["a"].clone()
    };
    let key = "\u{b}".repeat(20);
    let sum = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
    assert_eq!(hash(&key, json!({}), json!("Hi There")), sum);
    assert_eq!(
        hash(&key, json!({"length": 20, "prefix": "h:"}), json!("Hi There")),
        format!("h:{}", &sum[..20])
    );
    assert_eq!(hash(&key, json!({}), json!(5)), hash(&key, json!({}), json!("5")));
    assert_ne!(hash(&key, json!({}), json!("x")), hash(KEY, json!({}), json!("x")));
    assert_eq!(hash(&key, json!({}), json!(["Hi There"])), json!([sum]));
}

#[test]
fn a_token_is_the_same_for_the_same_value_and_key() {
    let token = |key: &str, value: Value| {
        redacted(json!({"tokenize": {"key": key, "prefix": "cus_"}}), value)
    };
    let one = token("main", json!("Jane"));
    assert_eq!(one, token("main", json!("Jane")));
    assert_ne!(one, token("main", json!("Jone")));
    assert_ne!(one, token("other", json!("Jane")));
    let text = one.as_str().unwrap();
    assert_eq!(text.len(), 4 + 26);
    assert!(text[4..].bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')), "{text}");
    let long = redacted(json!({"tokenize": {"key": "main", "length": 51}}), json!("Jane"));
    assert!(long.as_str().unwrap().starts_with(&text[4..]));
}

#[test]
fn a_token_may_have_the_form_of_its_value() {
    let same = |value: Value| redacted(json!({"tokenize": {"key": "main", "form": "same"}}), value);
    let form = |text: &str| -> String {
        let class = |c: char| match c {
            '0'..='9' => '0',
            'A'..='Z' => 'A',
            'a'..='z' => 'a',
            c => c,
        };
        text.chars().map(class).collect()
    };
    for value in ["4111-1111-1111-1111", "Jane Doe", "AB-12 cd/3", &"7".repeat(300)] {
        let token = same(json!(value));
        assert_eq!(form(token.as_str().unwrap()), form(value));
        assert_ne!(token, value);
        assert_eq!(token, same(json!(value)));
    }
    assert_eq!(form(same(json!("größe")).as_str().unwrap()), "aaaaa", "beyond ASCII a letter");
    let number = same(json!(4111111111111111_u64));
    assert_eq!(number.to_string().len(), 16, "a whole number stays one");
    assert!(number.is_u64() && number != json!(4111111111111111_u64));
    assert!(same(json!(-5)).as_i64().unwrap() < 0);
    assert!(same(json!(1.5)).is_string());
    assert_eq!(same(json!(true)).as_str().unwrap().len(), 26);
    // All digits turn up, the first and the last too.
    let digits: std::collections::BTreeSet<char> = (0..100)
        .flat_map(|i| same(json!(format!("{i}"))).as_str().unwrap().chars().collect::<Vec<_>>())
        .collect();
    assert_eq!(digits.len(), 10);
}

#[test]
fn what_is_found_in_texts_is_redacted_and_said() {
    let find = json!([
        {"pattern": "card", "action": {"mask": {"keep_last": 4, "keep_punctuation": true}}},
        {"pattern": "email", "action": {"replace": "[e-mail]"}},
        {"pattern": "phone", "action": "drop"},
        {"pattern": "ip", "action": {"replace": "[ip]"}},
        {"pattern": "iban", "action": {"mask": {"keep_first": 4}}},
    ]);
    let outcomes = search(
        find,
        json!([
            {"note": "Card 4111 1111 1111 1234 is no card, 4111 1111 1111 1111 is", "more": 7},
            {"note": "a@b.de, +49 30 1234567", "more": "10.0.0.1 DE89370400440532013000"},
            {"note": "nothing here: \"größe\"\n", "more": null, "other": "a@b.de"},
        ]),
    );
    let note = "Card 4111 1111 1111 1234 is no card, **** **** **** 1111 is";
    assert_eq!(*outcomes[0].record(), json!({"note": note, "more": 7}));
    assert_eq!(outcomes[0].rules(), ["card-in:note"]);
    let expected = json!({"note": "[e-mail], ", "more": "[ip] DE89******************"});
    assert_eq!(*outcomes[1].record(), expected);
    assert_eq!(
        outcomes[1].rules(),
        ["email-in:note", "phone-in:note", "ip-in:more", "iban-in:more"]
    );
    let untouched = json!({"note": "nothing here: \"größe\"\n", "more": null, "other": "a@b.de"});
    assert_eq!(*outcomes[2].record(), untouched);
    assert!(outcomes[2].findings.is_empty());
    let details = outcomes.iter().flat_map(|outcome| &outcome.findings);
    assert!(details.into_iter().all(|finding| finding.detail.is_empty()));
}

#[test]
fn texts_are_searched_wherever_they_are() {
    let find = json!([
        {"pattern": "card", "action": {"replace": "<card>"}},
        {"pattern": "email", "action": {"replace": "<email>"}},
    ]);
    let outcomes = search(
        find,
        json!([
            {"note": {"a@b.de": [1, {"x": ["to c@d.de", true, null, 1.5]}]}, "more": {}},
            {"note": 4111111111111111_u64, "more": [4111111111111111.0, -4111111111111111_i64, 12]},
            {"note": "{\"pan\":\"4111111111111111\"}", "more": "\u{1}\"a@b.de\"\\"},
        ]),
    );
    let expected =
        json!({"note": {"<email>": [1, {"x": ["to <email>", true, null, 1.5]}]}, "more": {}});
    assert_eq!(*outcomes[0].record(), expected);
    assert_eq!(*outcomes[1].record(), json!({"note": "<card>", "more": ["<card>", "<card>", 12]}));
    let inside = json!({"note": "{\"pan\":\"<card>\"}", "more": "\u{1}\"<email>\"\\"});
    assert_eq!(*outcomes[2].record(), inside);
}

#[test]
fn more_patterns_than_a_host_takes_findings_for_are_all_redacted() {
    let fields: Vec<String> = (0..20).map(|i| format!("f{i}")).collect();
    let find = json!([{"pattern": "email", "action": "drop"}]);
    let record: Value = fields
        .iter()
        .map(|field| (field.clone(), json!("a@b.de")))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let config = json!({"texts": [{"fields": fields, "find": find}]});
    let outcome = testing::run::<Redact>(config, json!([record])).remove(0);
    assert_eq!(outcome.findings.len(), 16);
    assert!(outcome.record().as_object().unwrap().values().all(|value| value == ""));
}

/// The secret is put wherever a field may have it; what comes out, or is said, does not hold it.
#[test]
fn no_value_gets_through() {
    let secret = "4111111111111111";
    let places = [
        json!(secret),
        json!(4111111111111111_u64),
        json!(4111111111111111.0),
        json!([secret]),
        json!([[{"x": secret}]]),
        json!({"x": {secret: 1}}),
        json!(format!("[{{\"{secret}\" \\ ")),
        json!({"a": [null, secret, {"b": 4111111111111111_u64}]}),
    ];
    let actions = [
        json!("drop"),
        json!({"replace": "x"}),
        json!({"mask": {"keep_first": 6, "keep_last": 4}}),
        json!({"hash": {"key": "main"}}),
        json!({"tokenize": {"key": "main"}}),
        json!({"tokenize": {"key": "main", "form": "same"}}),
    ];
    for action in &actions {
        let find = json!([{"pattern": "card", "action": action}]);
        let config = json!({
            "keys": {"main": KEY},
            "fields": [{"field": "whole", "action": action}],
            "texts": [{"fields": ["text"], "find": find}],
        });
        for place in &places {
            let records = json!([{"whole": place, "text": place}]);
            let outcomes = testing::run::<Redact>(config.clone(), records);
            let said = format!("{outcomes:?}");
            assert!(!said.contains(secret), "{action} on {place}: {said}");
            assert!(!said.contains(KEY));
        }
    }
}

#[test]
fn records_may_not_pass_it_by_and_it_reads_what_it_needs() {
    assert!(!Redact::about().may_be_passed_by);
    assert!(Redact::about().capabilities.is_empty());
    let config = config(json!([
        {"field": "a.b", "action": "drop"},
        {"field": "c", "action": {"mask": {}}},
        {"field": "d", "action": "drop"},
    ]));
    let harness = Harness::<Redact>::new(config).unwrap();
    let reads: Vec<String> = harness
        .description()
        .reads
        .iter()
        .map(|read| match &read.from {
            tidegate_plugin::Origin::Field(path) => path.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(reads, ["a", "c"], "what is dropped is not read, what lies above it is");
}

#[test]
fn a_config_that_makes_no_sense_is_refused_with_its_place() {
    let refused =
        |config: Value| Harness::<Redact>::new(config).expect_err("it is refused").pointer;
    let field = |action: Value| {
        refused(json!({"keys": {"k": KEY}, "fields": [{"field": "a", "action": action}]}))
    };
    assert_eq!(refused(json!({})), "");
    assert_eq!(refused(json!({"fields": [{"field": "$", "action": "drop"}]})), "/fields/0/field");
    assert_eq!(
        refused(json!({"fields": [
            {"field": "a.b", "action": "drop"}, {"field": "a", "action": "drop"},
        ]})),
        "/fields/1/field"
    );
    let find = json!([{"pattern": "ip", "action": "drop"}]);
    assert_eq!(
        refused(json!({
            "fields": [{"field": "a", "action": "drop"}],
            "texts": [{"fields": ["b", "a.c"], "find": find}],
        })),
        "/texts/0/fields/1"
    );
    assert_eq!(refused(json!({"texts": [{"fields": [], "find": find}]})), "/texts/0/fields");
    assert_eq!(refused(json!({"texts": [{"fields": ["a"], "find": []}]})), "/texts/0/find");
    let twice = json!([find[0], find[0]]);
    assert_eq!(
        refused(json!({"texts": [{"fields": ["a"], "find": twice}]})),
        "/texts/0/find/1/pattern"
    );
    assert_eq!(
        field(json!({"mask": {"length": 2, "keep_punctuation": true}})),
        "/fields/0/action/mask/length"
    );
    assert_eq!(field(json!({"mask": {"length": 0}})), "/fields/0/action/mask/length");
    assert_eq!(field(json!({"mask": {"masked_min": 0}})), "/fields/0/action/mask/masked_min");
    assert_eq!(field(json!({"hash": {"key": "k", "length": 8}})), "/fields/0/action/hash/length");
    assert_eq!(field(json!({"hash": {"key": "x"}})), "/fields/0/action/hash/key");
    assert_eq!(
        field(json!({"tokenize": {"key": "k", "length": 52}})),
        "/fields/0/action/tokenize/length"
    );
    let same = json!({"tokenize": {"key": "k", "form": "same", "prefix": "p"}});
    assert_eq!(field(same), "/fields/0/action/tokenize/prefix");
    assert_eq!(
        refused(json!({"keys": {"a/b": "short"}, "fields": [{"field": "a", "action": "drop"}]})),
        "/keys/a~1b"
    );
}

/// Whatever is wrong, and wherever the operator has put the key.
#[test]
fn no_error_shows_a_key() {
    let action =
        |action: Value| json!({"keys": {"k": KEY}, "fields": [{"field": "a", "action": action}]});
    for config in [
        json!({"keys": KEY}),
        json!({"keys": [KEY]}),
        json!({"keys": {"k": [KEY]}}),
        json!({"keys": {"k": {"value": KEY}}}),
        json!({"keys": {"k": 987_654_321_987_654_321_u64}}),
        json!({"keys": {"k": "987654321"}, "fields": [{"field": "a", "action": "drop"}]}),
        action(json!({"hash": KEY})),
        action(json!({"hash": [KEY]})),
        action(json!({"hash": {"key": KEY}})),
        action(json!({"hash": {"key": {"k": KEY}}})),
        action(json!({"hash": {"key": 987_654_321_987_654_321_u64}})),
        action(json!({"tokenize": {"key": KEY}})),
        action(json!({"tokenize": KEY})),
    ] {
        let error = Harness::<Redact>::new(config.clone()).expect_err("it is refused");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(KEY) && !shown.contains("987654321"), "{config}: {shown}");
    }
    let config = action(json!({"hash": {"key": "k"}})).to_string();
    let parsed: Config = tidegate_plugin::config::parse(&config).unwrap();
    let (plugin, description) = tidegate_plugin::configure::<Redact>(&config).unwrap();
    let shown = format!("{parsed:?} {plugin:?} {description:?}");
    assert!(!shown.contains(KEY) && !shown.contains(&format!("{:?}", KEY.as_bytes())), "{shown}");
}
