//! Payloads that producers have encrypted, read by the source alone.

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;
use tidegate_connectors::{
    aws::AwsConfig,
    sources::kinesis::{
        KinesisConfig, KinesisSource, PayloadCompression,
        encryption::{DataKeyLimits, Decryption, DecryptionConfig, KeyArn, KeyDiscovery},
    },
};
use tidegate_core::{
    Source,
    source::{PartitionId, SourceErrorKind},
};
use tidegate_tests::{
    kms::{ENVELOPE, Encrypted, Fault, Kms, Producer},
    program::root,
};

use super::{
    server::{Kinesis, REGION},
    source::{config, read_shard},
};

/// A server and a producer. A test that can't have them says so.
pub(super) fn servers(test: &str) -> Option<(Kms, Producer)> {
    let kms = Kms::start(test)?;
    let producer = kms.producer(test)?;
    Some((kms, producer))
}

/// What is encrypted under a key, as producers do it who care for nothing.
pub(super) fn encrypted<'a>(key: &'a str, payload: &[u8]) -> Encrypted<'a> {
    Encrypted {
        key,
        context: json!({ "purpose": "orders" }),
        own_data_key: false,
        payload: payload.to_vec(),
    }
}

fn allowing(kinesis: &Kinesis, kms: &Kms, keys: &[&str]) -> DecryptionConfig {
    let given = config(kinesis, Path::new("")).aws.given;
    DecryptionConfig {
        pipeline: "test".to_owned(),
        keys: keys.iter().map(|it| KeyArn::parse(it).expect("it is one")).collect(),
        discovery: None,
        context: BTreeMap::new(),
        refused_key_fails: false,
        cache: DataKeyLimits {
            entries_max: 100,
            age_max: Duration::from_secs(300),
            records_max: 1_000_000,
        },
        aws: AwsConfig { endpoint: Some(kms.endpoint()), given, ..AwsConfig::default() },
    }
}

/// What the source gives of a stream of one shard: each payload and, where it is none, why.
fn read_all(
    kinesis: &Kinesis,
    decryption: DecryptionConfig,
    count: usize,
) -> Vec<(String, Option<&'static str>)> {
    let notes = tempfile::tempdir().expect("a temporary folder");
    let source = KinesisSource::new(KinesisConfig {
        decryption: Some(Decryption::new(decryption)),
        ..config(kinesis, notes.path())
    });
    let found = kinesis.block_on(async {
        source.partitions().await.expect("the shards are listed");
        read_shard(&source, &PartitionId::from("shardId-000000000000"), None, count).await
    });
    found.expect("readable").into_iter().map(|it| (it.text, it.defect)).collect()
}

fn put(kinesis: &Kinesis, payloads: &[Vec<u8>]) {
    let records: Vec<_> = payloads.iter().map(|it| ("k", it.as_slice())).collect();
    kinesis.put(&records);
}

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

#[test]
fn the_docs_show_the_producer_that_is_tested_here() {
    let docs = std::fs::read_to_string(root().join("docs/kinesis.md")).expect("the page is there");
    assert!(docs.contains(ENVELOPE.trim()), "tests/src/envelope.py is not in docs/kinesis.md");
}

#[test]
fn what_was_encrypted_comes_out_and_a_data_key_is_asked_for_once() {
    let test = "what_was_encrypted_comes_out_and_a_data_key_is_asked_for_once";
    let Some((kms, producer)) = servers(test) else { return };
    let kinesis = Kinesis::start(1);
    let (key, other) = (kms.create_key(), kms.create_key());
    let mut payloads = Vec::new();
    for n in 0..60_usize {
        let text = format!("{{\"n\":{n},\"text\":\"{}\"}}", "ü".repeat(n * n));
        let it = encrypted(if n % 2 == 0 { &key } else { &other }, text.as_bytes());
        let context = json!({ "purpose": "orders", "ünder": format!("\"{}\"", n % 3) });
        payloads.push(Encrypted { context, ..it });
    }
    put(&kinesis, &producer.encrypt(&payloads));
    let found = read_all(&kinesis, allowing(&kinesis, &kms, &[&key, &other]), payloads.len());
    let texts = payloads.iter().map(|it| String::from_utf8_lossy(&it.payload).into_owned());
    assert_eq!(found, texts.map(|it| (it, None)).collect::<Vec<_>>());
    assert_eq!(kms.proxy.calls(), 6, "two keys in three contexts");
}

#[test]
fn what_can_not_be_decrypted_is_a_dead_letter_with_what_was_sent() {
    let test = "what_can_not_be_decrypted_is_a_dead_letter_with_what_was_sent";
    let Some((kms, producer)) = servers(test) else { return };
    let kinesis = Kinesis::start(1);
    let (key, other, disabled) = (kms.create_key(), kms.create_key(), kms.create_key());
    let good = encrypted(&key, b"{\"good\":1}");
    let payloads = [
        good.clone(),
        encrypted(&other, b"{\"other\":1}"),
        Encrypted { context: json!({ "purpose": "else" }), ..good.clone() },
        Encrypted { context: json!({}), ..good.clone() },
        encrypted(&disabled, b"{\"disabled\":1}"),
        good.clone(),
    ];
    let mut sent = producer.encrypt(&payloads);
    kms.disable(&disabled);
    // Whole as an envelope, and another ciphertext.
    let mut tampered = sent[0].clone();
    let member = b"\"ciphertext\": \"";
    let at = tampered.windows(member.len()).position(|it| it == member).expect("it has one");
    let first = &mut tampered[at + member.len()];
    *first = if *first == b'A' { b'B' } else { b'A' };
    sent.insert(1, tampered);
    sent.insert(1, b"{\"plain\":1}".to_vec());
    put(&kinesis, &sent);
    let context = BTreeMap::from([("purpose".to_owned(), "orders".to_owned())]);
    let allowed = DecryptionConfig { context, ..allowing(&kinesis, &kms, &[&key, &disabled]) };
    let found = read_all(&kinesis, allowed, sent.len());
    let dead = Some("not-decryptable");
    let outcomes: Vec<_> = found.iter().map(|it| it.1).collect();
    assert_eq!(outcomes, [None, dead, dead, dead, dead, dead, dead, None]);
    assert_eq!(found[0].0, "{\"good\":1}");
    assert_eq!(found[1].0, "{\"plain\":1}");
    for (found, sent) in found.iter().zip(&sent).filter(|it| it.0.1.is_some()) {
        assert_eq!(found.0, String::from_utf8_lossy(sent), "what was sent, byte for byte");
    }
    let asked = kms.proxy.keys();
    assert!(!asked.contains(&other), "a key that is not allowed is never asked: {asked:?}");
}

#[test]
fn a_key_that_is_refused_stops_the_shard_behind_what_lies_before() {
    let test = "a_key_that_is_refused_stops_the_shard_behind_what_lies_before";
    let Some((kms, producer)) = servers(test) else { return };
    let kinesis = Kinesis::start(1);
    let (key, disabled) = (kms.create_key(), kms.create_key());
    let own = |key| Encrypted { own_data_key: true, ..encrypted(key, b"{}") };
    let sent = producer.encrypt(&[own(&key), own(&key), own(&disabled), own(&key)]);
    kms.disable(&disabled);
    put(&kinesis, &sent);
    let allowed = || DecryptionConfig {
        refused_key_fails: true,
        ..allowing(&kinesis, &kms, &[&key, &disabled])
    };
    let read = |decryption, count| {
        let notes = tempfile::tempdir().expect("a temporary folder");
        let source = KinesisSource::new(KinesisConfig {
            decryption: Some(Decryption::new(decryption)),
            ..config(&kinesis, notes.path())
        });
        kinesis.block_on(async {
            source.partitions().await.expect("the shards are listed");
            read_shard(&source, &PartitionId::from("shardId-000000000000"), None, count).await
        })
    };
    assert_eq!(read(allowed(), 2).expect("what lies before").len(), 2);
    let error = read(allowed(), 3).expect_err("it stops there");
    assert_eq!(error.kind, SourceErrorKind::Broken);
    let said = error.to_string();
    assert!(said.contains(&disabled) && said.contains("DisabledException"), "{said}");
    assert!(said.contains("on_refused_key: dead_letter"), "{said}");
    // A key that was discovered was chosen by the producer, who must not be able to stop it.
    let discovery = |regions: &[&str]| KeyDiscovery {
        partition: "aws".to_owned(),
        accounts: vec!["000000000000".to_owned()],
        regions: regions.iter().map(|it| (*it).to_owned()).collect(),
    };
    // A payload may not name where KMS is.
    let elsewhere = Some(discovery(&["eu-central-2"]));
    let elsewhere = DecryptionConfig { keys: Vec::new(), discovery: elsewhere, ..allowed() };
    let before = kms.proxy.calls();
    let found = read(elsewhere, 4).expect("nothing stops");
    assert!(found.len() == 4 && found.iter().all(|it| it.defect == Some("not-decryptable")));
    assert_eq!(kms.proxy.calls(), before, "nobody is asked");
    let discovery = discovery(&[REGION]);
    let discovering =
        DecryptionConfig { keys: Vec::new(), discovery: Some(discovery), ..allowed() };
    let found = read(discovering, 4).expect("nothing stops");
    let outcomes: Vec<_> = found.iter().map(|it| it.defect).collect();
    assert_eq!(outcomes, [None, None, Some("not-decryptable"), None]);
}

#[test]
fn records_with_data_keys_of_their_own_are_asked_for_several_at_once() {
    let test = "records_with_data_keys_of_their_own_are_asked_for_several_at_once";
    let Some((kms, producer)) = servers(test) else { return };
    let kinesis = Kinesis::start(1);
    let key = kms.create_key();
    let payloads: Vec<_> = (0..50)
        .map(|n| {
            let text = format!("{{\"n\":{n}}}");
            Encrypted { own_data_key: true, ..encrypted(&key, text.as_bytes()) }
        })
        .collect();
    put(&kinesis, &producer.encrypt(&payloads));
    kms.proxy.delay(Duration::from_millis(200));
    let found = read_all(&kinesis, allowing(&kinesis, &kms, &[&key]), 50);
    let texts: Vec<_> = (0..50).map(|n| (format!("{{\"n\":{n}}}"), None)).collect();
    assert_eq!(found, texts);
    assert_eq!(kms.proxy.calls(), 50);
    assert!(kms.proxy.most_at_once() > 4, "not one after the other");
}

/// Whatever becomes of a payload on its way, it is an error, or what it was.
#[test]
fn a_payload_that_was_changed_is_never_another_record() {
    let test = "a_payload_that_was_changed_is_never_another_record";
    let Some((kms, producer)) = servers(test) else { return };
    let kinesis = Kinesis::start(1);
    let key = kms.create_key();
    let plaintext = b"{\"a\":\"some text\"}";
    let payload = producer.encrypt(&[encrypted(&key, plaintext)]).remove(0);
    let decryption = Decryption::new(allowing(&kinesis, &kms, &[&key]));
    let open = |payload: &[u8]| {
        let mut into = Vec::new();
        let none = PayloadCompression::None;
        let fault = kinesis.block_on(decryption.fill(payload, none, 1 << 20, &mut into));
        fault.expect("KMS answers").map_or(Ok(into), Err)
    };
    assert_eq!(open(&payload).expect("it is whole"), plaintext);
    let mut unnoticed = Vec::new();
    for place in 0..payload.len() {
        for flip in [0x01, 0x02, 0x20, 0x80, 0xff] {
            let mut changed = payload.clone();
            changed[place] ^= flip;
            match open(&changed) {
                Ok(opened) => {
                    assert_eq!(opened, plaintext, "{place} ^ {flip:x}");
                    unnoticed.push(place);
                }
                Err((code, why)) => {
                    assert_eq!(code, "not-decryptable");
                    assert!(!why.contains("some text"), "{why}");
                }
            }
        }
        assert!(open(&payload[..place]).is_err(), "cut at {place}");
    }
    // Between the members of the JSON there may be one blank or another. And this KMS, unlike Amazon's,
    // does not look at the id of 36 bytes that its data keys begin with.
    let text = String::from_utf8_lossy(&payload);
    let data_key = text.find("\"data_key\": \"").expect("it has one") + "\"data_key\": \"".len();
    let known =
        |place: &usize| payload[*place] == b' ' || (data_key..data_key + 48).contains(place);
    assert!(unnoticed.iter().all(known), "{data_key}: {unnoticed:?}");
    assert!(open(&[&payload, &b"x"[..]].concat()).is_err(), "longer");
}

#[test]
fn what_is_compressed_is_decrypted_first() {
    let Some((kms, producer)) = servers("what_is_compressed_is_decrypted_first") else { return };
    let kinesis = Kinesis::start(1);
    let key = kms.create_key();
    let payloads = [
        encrypted(&key, &gzip(b"{\"n\":1}")),
        encrypted(&key, b"{\"not compressed\":1}"),
        encrypted(&key, &gzip(&vec![b' '; 200_000])),
    ];
    let sent = producer.encrypt(&payloads);
    put(&kinesis, &sent);
    let notes = tempfile::tempdir().expect("a temporary folder");
    let source = KinesisSource::new(KinesisConfig {
        decryption: Some(Decryption::new(allowing(&kinesis, &kms, &[&key]))),
        compression: PayloadCompression::Gzip,
        record_bytes_max: 100_000,
        ..config(&kinesis, notes.path())
    });
    let found = kinesis.block_on(async {
        source.partitions().await.expect("the shards are listed");
        read_shard(&source, &PartitionId::from("shardId-000000000000"), None, 3).await
    });
    let found = found.expect("readable");
    let defects: Vec<_> = found.iter().map(|it| it.defect).collect();
    assert_eq!(defects, [None, Some("not-decompressible"), Some("record-too-large")]);
    assert_eq!(found[0].text, "{\"n\":1}");
    // What is dead is not shown.
    assert_eq!(found[1].text, String::from_utf8_lossy(&sent[1]));
}

#[test]
fn while_kms_is_away_nothing_is_lost_or_dead() {
    let Some((kms, producer)) = servers("while_kms_is_away_nothing_is_lost_or_dead") else {
        return;
    };
    let kinesis = Kinesis::start(1);
    let key = kms.create_key();
    put(&kinesis, &producer.encrypt(&[encrypted(&key, b"{}")]));
    let notes = tempfile::tempdir().expect("a temporary folder");
    let source = KinesisSource::new(KinesisConfig {
        decryption: Some(Decryption::new(allowing(&kinesis, &kms, &[&key]))),
        ..config(&kinesis, notes.path())
    });
    let limit =
        tidegate_core::source::ReadLimit { records_max: 9, bytes_max: 1 << 20, until: None };
    kinesis.block_on(async {
        source.partitions().await.expect("the shards are listed");
        let shard = PartitionId::from("shardId-000000000000");
        let mut reader = source.open(&shard, None).await.expect("it is there");
        for fault in [
            Fault::Reset,
            Fault::Refused(400, "ThrottlingException"),
            Fault::Refused(500, "KMSInternalException"),
            Fault::Refused(400, "ExpiredTokenException"),
        ] {
            kms.proxy.fail(fault);
            let error = reader.read(limit).await.expect_err("it is away");
            assert_eq!(error.kind, SourceErrorKind::Unavailable, "{fault:?}");
        }
        // Whoever asks may not ask at all.
        kms.proxy.fail(Fault::Refused(400, "UnrecognizedClientException"));
        let error = reader.read(limit).await.expect_err("it is refused");
        assert_eq!(error.kind, SourceErrorKind::Broken);
        kms.proxy.forgive();
        assert!(reader.read(limit).await.is_ok());
    });
}

/// For the docs: what a shard's records cost with a data key that is there, and without encryption.
#[test]
#[ignore = "it measures"]
fn what_decrypting_costs() {
    let Some((kms, producer)) = servers("what_decrypting_costs") else { return };
    let kinesis = Kinesis::start(1);
    let key = kms.create_key();
    let decryption = Decryption::new(allowing(&kinesis, &kms, &[&key]));
    for bytes in [200, 1_000, 10_000, 100_000] {
        let payload = producer.encrypt(&[encrypted(&key, &vec![b'x'; bytes])]).remove(0);
        let mut into = Vec::new();
        let mut times = 0_u32;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(1) {
            into.clear();
            let filled = decryption.fill(&payload, PayloadCompression::None, 1 << 20, &mut into);
            assert_eq!(kinesis.block_on(filled).expect("KMS answers"), None);
            assert_eq!(into.len(), bytes);
            times += 1;
        }
        println!("a payload of {bytes} bytes: {:?}", started.elapsed() / times);
    }
}
