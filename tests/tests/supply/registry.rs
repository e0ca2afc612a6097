//! Components out of a real registry, pushed as `wkg` pushes them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use sigstore_verify::crypto::KeyPair;
use tidegate_core::Digest;
use tidegate_tests::program::Program;

use super::{another, code, constant, pipeline, plugin, policy, under};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A registry that ends with the test.
struct Registry {
    process: Child,
    port: u16,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    /// Starts one on a port of its own, where `cargo xtask test` has fetched it.
    fn start(test: &str) -> Option<Self> {
        let Some(program) = std::env::var_os("TIDEGATE_REGISTRY") else {
            println!("SKIPPED: {test}: TIDEGATE_REGISTRY names no registry");
            return None;
        };
        let mut run = Command::new(program);
        run.args(["-port", "0"]).stderr(Stdio::piped());
        let mut process = run.spawn().expect("the registry can be started");
        let log = process.stderr.take().expect("it was asked for");
        let mut lines = BufReader::new(log).lines().map_while(Result::ok);
        let port = lines
            .find_map(|line| line.rsplit_once("serving on port ")?.1.parse().ok())
            .expect("it says where it listens");
        // It must never wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Registry { process, port })
    }

    fn name(&self, tag: &str) -> String {
        format!("localhost:{}/acme/edition:{tag}", self.port)
    }

    /// One request that the registry answers with `201 Created`. Its own protocol is spoken here,
    /// for the library that pulls wants answers to pushes that this registry does not give.
    fn create(&self, method: &str, path: &str, media_type: &str, body: &[u8]) {
        let mut stream = TcpStream::connect(("localhost", self.port)).expect("it listens");
        let head = format!(
            "{method} /v2/acme/edition/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 201"), "{method} {path}: {answer}");
    }

    /// Pushes a manifest with one layer, and gives it.
    fn push_layer(&self, tag: &str, config_type: &str, layer_type: &str, layer: &[u8]) -> Vec<u8> {
        let config = b"{}";
        let blob = |media_type: &str, bytes: &[u8]| {
            let digest = Digest::of(bytes);
            self.create("POST", &format!("blobs/uploads/?digest={digest}"), media_type, bytes);
            json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": blob(config_type, config),
            "layers": [blob(layer_type, layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        self.create("PUT", &format!("manifests/{tag}"), MANIFEST, &manifest);
        manifest
    }

    /// Pushes a component as `wkg` does, and gives its manifest.
    fn push(&self, tag: &str, component: &[u8]) -> Vec<u8> {
        let config = "application/vnd.wasm.config.v0+json";
        self.push_layer(tag, config, "application/wasm", component)
    }

    /// Attaches a bundle to a manifest, by the tag that stands for its digest.
    fn attach(&self, manifest: &[u8], bundle: &[u8]) {
        let empty = "application/vnd.oci.empty.v1+json";
        let attached = self.push_layer("bundle", empty, BUNDLE, bundle);
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{ "mediaType": MANIFEST, "digest": Digest::of(&attached),
                            "size": attached.len(), "artifactType": BUNDLE }],
        });
        let tag = Digest::of(manifest).to_string().replace(':', "-");
        self.create("PUT", &format!("manifests/{tag}"), INDEX, index.to_string().as_bytes());
    }
}

/// A bundle by a key that no log has seen.
fn bundle(key: &KeyPair, signed: &[u8]) -> Vec<u8> {
    let signature = key.sign(signed).expect("a signature");
    let bundle = json!({
        "mediaType": BUNDLE,
        "verificationMaterial": { "publicKey": { "hint": "release" }, "tlogEntries": [] },
        "messageSignature": {
            "messageDigest": { "algorithm": "SHA2_256",
                               "digest": STANDARD.encode(Digest::of(signed).0) },
            "signature": STANDARD.encode(signature.as_bytes()),
        },
    });
    bundle.to_string().into_bytes()
}

fn checked(folder: &Path, reference: &str) -> Program {
    pipeline(folder, &constant(reference))
}

#[test]
fn a_component_is_pulled_once_and_is_the_one_that_was_pinned() {
    let test = "a_component_is_pulled_once_and_is_the_one_that_was_pinned";
    let Some(registry) = Registry::start(test) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let component = plugin("enrich");
    let manifest = registry.push("1.0.0", &component);
    let tagged = format!("oci://{}", registry.name("1.0.0"));

    // A tag may name another component tomorrow.
    let printed = checked(folder.path(), &tagged).run("check", &[]);
    assert_eq!((printed.code, code(&printed)), (4, "unpinned"));
    let shown = Program::new(&tagged).data("plugin inspect", &[]);
    let pinned = format!("{tagged}@{}", Digest::of(&manifest));
    assert_eq!(shown["reference"], json!(pinned));
    assert_eq!(shown["digest"], json!(Digest::of(&component)));
    registry.push("1.0.0", &another(&component));

    let program = checked(folder.path(), &pinned);
    // A registry that the policy does not name is asked for nothing.
    let others = policy(folder.path(), "registries: [ghcr.io, 'localhost:5000']");
    let printed = under(&program, "check", &others);
    assert_eq!((printed.code, code(&printed)), (4, "foreign-registry"), "{:#}", printed.json);
    let printed = under(&Program::new(&tagged), "plugin inspect", &others);
    assert_eq!(printed.code, 4, "{:#}", printed.json);
    let this = format!("registries: ['localhost:{}/acme']", registry.port);
    assert_eq!(under(&program, "check", &policy(folder.path(), &this)).code, 0);

    assert_eq!(program.data("run", &[])["delivered"], 2);
    let absent = format!("{tagged}@{}", Digest::of(b"no manifest"));
    let printed = checked(folder.path(), &absent).run("check", &[]);
    assert_eq!((printed.code, code(&printed)), (4, "registry"));

    // What was pulled serves without the registry, and is not believed.
    drop(registry);
    let program = checked(folder.path(), &pinned);
    assert_eq!(program.run("check", &[]).code, 0);
    let place = folder.path().join("data/registry").join(Digest::of(&manifest).hex());
    fs::write(place.join("component.wasm"), another(&component)).expect("it was kept there");
    let printed = program.run("check", &[]);
    assert_eq!((printed.code, code(&printed)), (4, "wrong-digest"));
}

#[test]
fn a_bundle_that_refers_to_the_manifest_signs_its_component() {
    let test = "a_bundle_that_refers_to_the_manifest_signs_its_component";
    let Some(registry) = Registry::start(test) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (release, stranger) = (
        KeyPair::generate_ecdsa_p256().expect("a key"),
        KeyPair::generate_ecdsa_p256().expect("a key"),
    );
    let public = release.public_key_der().expect("a public key").to_pem();
    fs::write(folder.path().join("release.pub"), public).expect("a temporary folder");
    let keys =
        policy(folder.path(), "signatures: { keys: [{ name: release, file: release.pub }] }");
    let manifest = registry.push("1.0.0", &plugin("enrich"));
    let pinned = format!("oci://{}@{}", registry.name("1.0.0"), Digest::of(&manifest));
    let program = checked(folder.path(), &pinned);

    let printed = under(&program, "check", &keys);
    assert_eq!((printed.code, code(&printed)), (4, "unsigned"), "{:#}", printed.json);
    registry.attach(&manifest, &bundle(&stranger, &manifest));
    let printed = under(&program, "check", &keys);
    assert_eq!((printed.code, code(&printed)), (4, "unsigned"), "{:#}", printed.json);
    registry.attach(&manifest, &bundle(&release, &manifest));
    let printed = under(&program, "check", &keys);
    assert_eq!(printed.code, 0, "{:#}\n{}", printed.json, printed.stderr);
    let shown = under(&Program::new(&pinned), "plugin inspect", &keys);
    assert_eq!(shown.json["data"]["signed_by"], json!("key release"));
}
