//! Whose a component is. Checked over its bytes, before anything parses them.
//!
//! A component's signature lies beside it: `NAME.wasm.sig` holds one by a key, as it is or in
//! base64, and `NAME.wasm.sigstore.json` a sigstore bundle, by a key or by an identity. Parsing,
//! chains of certificates, logs and cryptography are the libraries' business.
//!
//! Nothing is asked of a network: what an identity is believed by comes with the policy or with
//! this program.

use std::{fmt, fs, path::Path, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use sigstore_verify::{
    PublicKeyVerificationPolicy, VerificationPolicy, Verifier,
    crypto::VerificationKey,
    trust_root::{SigstoreInstance, TrustedRoot},
    types::{Bundle, DerPublicKey, SignatureBytes, SignatureContent},
};

use crate::{
    config::{Identity, LoadedPolicy, Signatures},
    finding::Finding,
};

/// Everybody whose signature a component may have.
pub(crate) struct Signers {
    keys: Vec<SigningKey>,
    identities: Vec<Identity>,
    verifier: Verifier,
}

struct SigningKey {
    name: String,
    key: VerificationKey,
    /// The same key, for bundles. A log need not have seen them: the key is what is believed.
    in_bundles: PublicKeyVerificationPolicy,
}

/// What was found beside something that is to be signed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// A signature by a key.
    pub(crate) signature: Option<Arc<[u8]>>,
    /// Sigstore bundles.
    pub(crate) bundles: Vec<Arc<[u8]>>,
    /// What they sign, where it is not the component itself: a manifest that names its digest.
    pub(crate) of: Option<Arc<[u8]>>,
}

/// Nobody whom the policy names has signed it: why not, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsigned(pub(crate) String);

impl fmt::Debug for Signers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.keys.iter().map(|key| key.name.as_str()).collect();
        f.debug_struct("Signers")
            .field("keys", &keys)
            .field("identities", &self.identities)
            .finish()
    }
}

impl Signers {
    /// Reads the keys and the trusted root that a policy names.
    pub(crate) fn load(
        loaded: &LoadedPolicy,
        signatures: &Signatures,
    ) -> Result<Self, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut find = |code, pointer: &str, message| {
            findings.push(loaded.finding(code, &format!("/signatures/{pointer}"), message));
        };
        let mut keys = Vec::new();
        for (i, key) in signatures.keys.iter().enumerate() {
            let pointer = format!("keys/{i}/file");
            match read(&key.file) {
                Err(message) => find("unreadable-file", &pointer, message),
                Ok(pem) => match SigningKey::parse(&key.name, &pem) {
                    Ok(key) => keys.push(key),
                    Err(why) => {
                        let message = format!("`{}` is no public key: {why}", key.file.display());
                        find("invalid-value", &pointer, message);
                    }
                },
            }
        }
        let root = match &signatures.trusted_root {
            None => TrustedRoot::from_embedded(SigstoreInstance::PublicGood)
                .map_err(|error| ("invalid-value", error.to_string())),
            Some(path) => {
                read(path).map_err(|message| ("unreadable-file", message)).and_then(|json| {
                    TrustedRoot::from_json(&json).map_err(|error| {
                        let message = format!("`{}` is no trusted root: {error}", path.display());
                        ("invalid-value", message)
                    })
                })
            }
        };
        let verifier = root.and_then(|root| {
            Verifier::new(&root).map_err(|error| ("invalid-value", error.to_string()))
        });
        let verifier = verifier.map_err(|(code, message)| find(code, "trusted_root", message));
        match verifier {
            Ok(verifier) if findings.is_empty() => {
                Ok(Signers { keys, identities: signatures.identities.clone(), verifier })
            }
            _ => Err(findings),
        }
    }

    /// Who has signed a component: the name of a key, or an identity.
    pub(crate) fn check(&self, component: &[u8], evidence: &Evidence) -> Result<String, Unsigned> {
        let bytes = evidence.of.as_deref().unwrap_or(component);
        let mut why = None;
        if let Some(signature) = &evidence.signature {
            let signature = SignatureBytes::new(decoded(signature));
            let signed = |key: &&SigningKey| key.key.verify(bytes, &signature).is_ok();
            match self.keys.iter().find(signed) {
                Some(key) => return Ok(format!("key {}", key.name)),
                None => why = Some("no key of the policy has made its signature".to_owned()),
            }
        }
        for bundle in &evidence.bundles {
            match self.check_bundle(bytes, bundle) {
                Ok(signer) => return Ok(signer),
                Err(Unsigned(message)) => why = Some(message),
            }
        }
        let none = match &evidence.of {
            None => "no signature lies beside it, named as it is and `.sig` or `.sigstore.json`",
            Some(_) => "no bundle in its registry refers to its manifest",
        };
        Err(Unsigned(why.unwrap_or_else(|| none.to_owned())))
    }

    fn check_bundle(&self, bytes: &[u8], bundle: &[u8]) -> Result<String, Unsigned> {
        let unusable =
            |error: &dyn fmt::Display| Unsigned(format!("its bundle is no use: {error}"));
        let text = std::str::from_utf8(bundle).map_err(|error| unusable(&error))?;
        let bundle = Bundle::from_json(text).map_err(|error| unusable(&error))?;
        let mut why = None;
        if bundle.signing_certificate().is_none() {
            for key in &self.keys {
                // A signature of the bytes themselves needs nothing but the key: the log may be
                // left out of such a bundle. An attestation is the library's business.
                let signed = match &bundle.content {
                    SignatureContent::MessageSignature(signed) => {
                        let verified = key.key.verify(bytes, &signed.signature);
                        verified.map_err(|error| error.to_string())
                    }
                    _ => {
                        let verified = self.verifier.verify(bytes, &bundle, &key.in_bundles);
                        verified.map(drop).map_err(|error| error.to_string())
                    }
                };
                match signed {
                    Ok(()) => return Ok(format!("key {}", key.name)),
                    Err(error) => why = Some(format!("key {}: {error}", key.name)),
                }
            }
            return Err(Unsigned(why.unwrap_or_else(|| "the policy names no key".to_owned())));
        }
        for Identity { identity, issuer } in &self.identities {
            let policy = VerificationPolicy::new(identity, issuer);
            match self.verifier.verify(bytes, &bundle, &policy) {
                Ok(_) => return Ok(format!("{identity} by {issuer}")),
                Err(error) => why = Some(error.to_string()),
            }
        }
        Err(Unsigned(why.unwrap_or_else(|| "the policy names no identity".to_owned())))
    }
}

impl SigningKey {
    fn parse(name: &str, pem: &str) -> Result<Self, String> {
        let der = DerPublicKey::from_pem(pem).map_err(|error| error.to_string())?;
        let key = VerificationKey::from_spki(&der).map_err(|error| error.to_string())?;
        let in_bundles = PublicKeyVerificationPolicy::new(der).skip_tlog_unsafe();
        Ok(SigningKey { name: name.to_owned(), key, in_bundles })
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path)
        .map_err(|error| format!("failed to read `{}`: {error}", path.display()))
}

/// `cosign` writes base64, `openssl` the bytes themselves.
fn decoded(signature: &[u8]) -> Vec<u8> {
    let text = signature.trim_ascii();
    STANDARD.decode(text).unwrap_or_else(|_| signature.to_owned())
}
