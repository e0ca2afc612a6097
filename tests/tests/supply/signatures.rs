//! A component's signature is checked before anything parses it.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use cargo_metadata::MetadataCommand;
use serde_json::json;
use sigstore_verify::{
    crypto::{KeyPair, parse_certificate_info},
    types::Bundle,
};
use tidegate_tests::program::{Program, root};

use super::{another, code, constant, pipeline, plugin, policy, under};

/// Makes a key, and writes down its public half.
fn key(folder: &Path, name: &str) -> KeyPair {
    let pair = KeyPair::generate_ecdsa_p256().expect("a key");
    let public = pair.public_key_der().expect("a public key").to_pem();
    fs::write(folder.join(name), public).expect("a temporary folder");
    pair
}

#[test]
fn only_what_a_key_of_the_policy_has_signed_comes_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let release = key(folder.path(), "release.pub");
    let nightly = key(folder.path(), "nightly.pub");
    let stranger = key(folder.path(), "stranger.pub");
    let keys = policy(
        folder.path(),
        "signatures:\n  keys:\n    - { name: release, file: release.pub }\n    - { name: nightly, \
         file: nightly.pub }\n",
    );
    let component = plugin("enrich");
    let program = pipeline(folder.path(), &constant("edition.wasm"));
    let refused = |why: &str| {
        let printed = under(&program, "check", &keys);
        assert_eq!((printed.code, code(&printed)), (4, "unsigned"), "{:#}", printed.json);
        let message = printed.json["findings"][0]["message"].as_str().expect("a message");
        assert!(message.contains(why), "{message}");
    };

    // Nobody looks into what is not signed: it need not even be a component.
    fs::write(at("edition.wasm"), "no component").expect("a temporary folder");
    refused("no signature lies beside it");
    fs::write(at("edition.wasm"), &component).expect("a temporary folder");
    refused("no signature lies beside it");
    for (name, pair) in [("release", &release), ("nightly", &nightly)] {
        let signature = pair.sign(&component).expect("a signature");
        for written in [signature.as_bytes().to_vec(), STANDARD.encode(signature.as_bytes()).into()]
        {
            fs::write(at("edition.wasm.sig"), written).expect("a temporary folder");
            assert_eq!(under(&program, "check", &keys).code, 0);
        }
        let shown = under(&Program::new(at("edition.wasm")), "plugin inspect", &keys);
        assert_eq!(shown.json["data"]["signed_by"], json!(format!("key {name}")));
    }
    let signature = stranger.sign(&component).expect("a signature");
    fs::write(at("edition.wasm.sig"), signature.as_bytes()).expect("a temporary folder");
    refused("no key of the policy");
    let signature = release.sign(&component).expect("a signature");
    fs::write(at("edition.wasm.sig"), signature.as_bytes()).expect("a temporary folder");
    fs::write(at("edition.wasm"), another(&component)).expect("a temporary folder");
    refused("no key of the policy");

    let keys = policy(folder.path(), "signatures: { keys: [{ name: a, file: edition.wasm.sig }] }");
    let printed = under(&program, "check", &keys);
    assert_eq!(printed.code, 2, "{:#}", printed.json);
}

/// The second test of RFC 8032, section 7.1: one byte and its signature. What is let in is then
/// refused by the engine, for it is no component.
#[test]
fn an_ed25519_key_signs_as_well() {
    const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=\n\
         -----END PUBLIC KEY-----\n";
    const SIGNATURE: &str = "kqAJqfDUyrhyDoILX2QlQKKye1QWUD+Ps3YiI+vbadoI\
                             WsHkPhWZbkWPNhPQ8R2MOHsurrQwKu6wDSkWErsMAA==";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("ed25519.pub"), KEY).expect("a temporary folder");
    fs::write(at("byte.wasm"), [0x72]).expect("a temporary folder");
    fs::write(at("byte.wasm.sig"), SIGNATURE).expect("a temporary folder");
    let keys = policy(folder.path(), "signatures: { keys: [{ name: rfc, file: ed25519.pub }] }");
    let byte = Program::new(at("byte.wasm"));
    assert_eq!(under(&byte, "plugin inspect", &keys).code, 1, "it came in");
    fs::write(at("byte.wasm"), [0x73]).expect("a temporary folder");
    assert_eq!(under(&byte, "plugin inspect", &keys).code, 4, "it did not");
}

/// Real bundles of the public instance, which the library that checks them is tested with: they
/// lie in its package, of the version that this workspace is locked to.
fn bundles() -> std::path::PathBuf {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .exec()
        .expect("cargo metadata reads the workspace");
    let library = metadata.packages.iter().find(|it| *it.name == "sigstore-verify");
    let manifest = &library.expect("it is a dependency").manifest_path;
    manifest.parent().expect("a package has a folder").join("test_data/bundles").into()
}

/// Whom a bundle names.
fn signer(bundle: &Path) -> String {
    let bundle =
        Bundle::from_json(&fs::read_to_string(bundle).expect("a bundle")).expect("a bundle");
    let certificate = bundle.signing_certificate().expect("it is signed by an identity");
    let info = parse_certificate_info(certificate).expect("a certificate");
    info.identity.expect("it names somebody").as_str().to_owned()
}

/// It is a text that was signed, and no component: what is let in is then refused by the engine.
#[test]
fn only_what_an_identity_of_the_policy_has_signed_comes_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    fs::copy(bundles().join("cosign-v3-blob.txt"), at("text.wasm")).expect("a real bundle");
    let bundle = bundles().join("cosign-v3-blob.sigstore.json");
    fs::copy(bundle, at("text.wasm.sigstore.json")).expect("a real bundle");
    let issuer = "https://github.com/login/oauth";
    let identities = |identity: &str, issuer: &str| {
        let identities = json!([{ "identity": identity, "issuer": issuer }]);
        policy(folder.path(), &json!({ "signatures": { "identities": identities } }).to_string())
    };
    let text = Program::new(at("text.wasm"));
    let error = |policy: &[String; 2]| {
        let printed = under(&text, "plugin inspect", policy);
        (printed.code, printed.json["error"].as_str().expect("an error").to_owned())
    };

    let (code, why) = error(&identities("somebody@example.com", issuer));
    assert!(code == 4 && why.contains("signed by nobody whom"), "{code}: {why}");
    let identity = &signer(&at("text.wasm.sigstore.json"));
    let (code, why) = error(&identities(identity, issuer));
    assert!(code == 1 && why.contains("not a WebAssembly component"), "{code}: {why}");
    let (code, why) = error(&identities(identity, "https://accounts.google.com"));
    assert!(code == 4 && why.contains("signed by nobody whom"), "{code}: {why}");

    // Another root of trust knows nothing of the public instance's.
    let stranger = json!({
        "signatures": { "identities": [{ "identity": identity, "issuer": issuer }],
                        "trusted_root": "root.json" }
    });
    let empty = json!({ "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1" });
    fs::write(at("root.json"), empty.to_string()).expect("a temporary folder");
    let (code, why) = error(&policy(folder.path(), &stranger.to_string()));
    assert!(code == 4, "{code}: {why}");

    let trusted = identities(identity, issuer);
    fs::write(at("text.wasm"), "another text").expect("a temporary folder");
    let (code, why) = error(&trusted);
    assert!(code == 4 && why.contains("signed by nobody whom"), "{code}: {why}");
}
