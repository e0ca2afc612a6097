//! Components out of registries, as `wkg` publishes them: a manifest with one layer, the component.
//!
//! ```text
//! oci://host/repository:tag@sha256:… ─► manifest, of this digest ─► layer, of the digest in it
//!                                            ▲
//!                                            └ sigstore bundles refer to the manifest
//! ```
//!
//! What was pulled is kept in files, by the digest of the manifest, and read from there: a start
//! asks no registry for what it had before. Nothing that lies there is believed, it is digested
//! each time. The protocol is the library's business.

use std::{
    collections::BTreeSet,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use docker_credential::DockerCredential;
use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol},
    manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest, WASM_LAYER_MEDIA_TYPE},
    secrets::RegistryAuth,
};
use tidegate_core::Digest;
use tidegate_pipeline::causes;
use tokio::{io::AsyncWrite, time::timeout};

use super::{Evidence, SupplyError};
use crate::{config::RegistryReference, files::Files};

/// The media type of a component since there is a standard for it. Before, each layer of
/// WebAssembly was a [`WASM_LAYER_MEDIA_TYPE`].
const COMPONENT_MEDIA_TYPE: &str = "application/wasm";
/// The artifact type of what refers to a manifest and is a bundle, up to its version.
const BUNDLE_ARTIFACT_TYPE: &str = "application/vnd.dev.sigstore.bundle";
/// The end of the name of a bundle's file.
const BUNDLE_SUFFIX: &str = ".sigstore.json";
/// A component with CPython in it has some forty MiB.
const COMPONENT_BYTES_MAX: usize = 256 << 20;
/// A bundle has some ten KiB.
const BUNDLE_BYTES_MAX: usize = 1 << 20;
/// Bundles of one manifest that are looked at: those of all who sign it, and of some releases.
const BUNDLES_MAX: usize = 16;
/// Pulled components that are kept although nothing uses them, the latest ones. An earlier
/// generation has its own in the catalogue.
const UNUSED_MAX: usize = 8;
/// A registry that says nothing for so long is taken for gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The largest component over a slow line.
const PULL_MAX: Duration = Duration::from_secs(600);

/// A component can't be pulled.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistryError {
    /// The reference can't be one.
    #[error("it is no reference: {0}")]
    Reference(String),
    /// The registry can't be reached, or does not have it.
    #[error("the registry says: {0}")]
    Registry(#[from] oci_client::errors::OciDistributionError),
    /// It takes too long.
    #[error("the registry does not answer in time")]
    Time,
    /// The manifest is none of a component.
    #[error("its manifest is none of a component: {0}")]
    Manifest(String),
    /// It does not say how it wants to be known.
    #[error("its credentials can't be read: {0}")]
    Credentials(String),
    /// What was pulled can't be kept.
    #[error("failed to keep what was pulled in `{}`", path.display())]
    Keep {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// The files of one pulled component.
#[derive(Clone, Debug)]
struct Place {
    directory: PathBuf,
}

impl Place {
    fn new(cache: &Path, manifest: Digest) -> Self {
        Place { directory: cache.join(manifest.hex()) }
    }

    fn manifest(&self) -> PathBuf {
        self.directory.join("manifest.json")
    }

    fn component(&self) -> PathBuf {
        self.directory.join("component.wasm")
    }

    fn bundle(&self, bundle: &[u8]) -> PathBuf {
        self.directory.join(format!("{}{BUNDLE_SUFFIX}", Digest::of(bundle).short()))
    }

    /// A crash leaves the whole file or none.
    fn keep(&self, path: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
        let keep = || -> io::Result<()> {
            fs::create_dir_all(&self.directory)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(bytes)?;
            file.persist(path)?;
            Ok(())
        };
        keep().map_err(|cause| RegistryError::Keep { path: path.to_owned(), cause })
    }
}

/// The bytes of a component, pulled if need be.
pub(super) fn fetch(
    reference: &RegistryReference,
    cache: &Path,
    files: &Files,
) -> Result<Arc<[u8]>, SupplyError> {
    let (place, manifest) = manifest(reference, cache, files)?;
    let component = component_of(&manifest).map_err(failed(reference))?;
    let bytes = read(&place.component(), files)?;
    let found = Digest::of(&bytes);
    match found == component {
        true => Ok(bytes),
        false => Err(SupplyError::Digest { name: reference.to_string(), found }),
    }
}

/// What signs a component: the bundles that were pulled with it.
pub(super) fn evidence(
    reference: &RegistryReference,
    cache: &Path,
    files: &Files,
) -> Result<Evidence, SupplyError> {
    let (place, manifest) = manifest(reference, cache, files)?;
    let unread = |cause| SupplyError::Read { path: place.directory.clone(), cause };
    let mut paths = files.of_directory(&place.directory).map_err(unread)?;
    paths.retain(|path| path.to_string_lossy().ends_with(BUNDLE_SUFFIX));
    let bundles = paths.iter().map(|path| read(path, files)).collect::<Result<_, _>>()?;
    Ok(Evidence { signature: None, bundles, of: Some(manifest) })
}

/// Pulls the bundles that refer to a component's manifest by now.
pub(super) fn renew_evidence(
    reference: &RegistryReference,
    cache: &Path,
    files: &Files,
) -> Result<(), SupplyError> {
    let (place, manifest) = manifest(reference, cache, files)?;
    pull_bundles(reference, Digest::of(&manifest), &place).map_err(failed(reference))
}

/// The reference with the digest that its tag has now.
pub(super) fn pinned(reference: &RegistryReference) -> Result<RegistryReference, SupplyError> {
    let digest = look_up(reference).map_err(failed(reference))?;
    Ok(RegistryReference { name: reference.name.clone(), digest: Some(digest) })
}

/// The manifest that a reference is pinned to, and the place of what was pulled with it.
fn manifest(
    reference: &RegistryReference,
    cache: &Path,
    files: &Files,
) -> Result<(Place, Arc<[u8]>), SupplyError> {
    let pinned = reference.digest.ok_or_else(|| SupplyError::Unpinned(reference.to_string()))?;
    let place = Place::new(cache, pinned);
    if files.are_on_disk() && !place.manifest().exists() {
        pull(reference, &place).map_err(failed(reference))?;
    }
    let manifest = read(&place.manifest(), files)?;
    let found = Digest::of(&manifest);
    match found == pinned {
        true => Ok((place, manifest)),
        false => Err(SupplyError::Digest { name: reference.to_string(), found }),
    }
}

/// Removes what was pulled, but for what these manifests name and what was pulled last.
pub(super) fn prune(cache: &Path, used: &BTreeSet<Digest>) -> io::Result<()> {
    let mut unused = Vec::new();
    let entries = match fs::read_dir(cache) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let manifest = name.to_str().and_then(|hex| format!("sha256:{hex}").parse().ok());
        // What lies there under another name is not ours.
        if manifest.is_some_and(|digest| !used.contains(&digest)) {
            unused.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    unused.sort();
    let surplus = unused.len().saturating_sub(UNUSED_MAX);
    unused[..surplus].iter().try_for_each(|(_, directory)| fs::remove_dir_all(directory))
}

fn read(path: &Path, files: &Files) -> Result<Arc<[u8]>, SupplyError> {
    files.read(path).map_err(|cause| SupplyError::Read { path: path.to_owned(), cause })
}

fn failed(reference: &RegistryReference) -> impl Fn(RegistryError) -> SupplyError {
    let name = reference.to_string();
    move |error| SupplyError::Registry { name: name.clone(), why: causes(&error) }
}

/// The digest of the component that a manifest names.
fn component_of(manifest: &[u8]) -> Result<Digest, RegistryError> {
    let layer = layer_of(&parse(manifest)?)?;
    layer.digest.parse().map_err(|_| RegistryError::Manifest(format!("`{}`", layer.digest)))
}

fn parse(manifest: &[u8]) -> Result<OciImageManifest, RegistryError> {
    serde_json::from_slice(manifest).map_err(|error| RegistryError::Manifest(error.to_string()))
}

fn layer_of(manifest: &OciImageManifest) -> Result<OciDescriptor, RegistryError> {
    let is_component = |layer: &&OciDescriptor| {
        matches!(layer.media_type.as_str(), COMPONENT_MEDIA_TYPE | WASM_LAYER_MEDIA_TYPE)
    };
    match manifest.layers.as_slice() {
        [layer] if is_component(&layer) => {
            let fits = usize::try_from(layer.size).is_ok_and(|size| size <= COMPONENT_BYTES_MAX);
            let too_large =
                || RegistryError::Manifest(format!("{} bytes are too many", layer.size));
            fits.then(|| layer.clone()).ok_or_else(too_large)
        }
        [layer] => Err(RegistryError::Manifest(format!("its layer is `{}`", layer.media_type))),
        layers => Err(RegistryError::Manifest(format!("it has {} layers", layers.len()))),
    }
}

/// The manifest that a reference means now. Blocks.
fn look_up(reference: &RegistryReference) -> Result<Digest, RegistryError> {
    blocking(async {
        let (client, image, auth) = connect(reference)?;
        let (manifest, _) =
            client.pull_manifest_raw(&image, &auth, &[OCI_IMAGE_MEDIA_TYPE]).await?;
        Ok(Digest::of(&manifest))
    })
}

/// Pulls the component of a manifest. Blocks.
fn pull(reference: &RegistryReference, place: &Place) -> Result<(), RegistryError> {
    blocking(async {
        let (client, image, auth) = connect(reference)?;
        let (manifest, _) =
            client.pull_manifest_raw(&image, &auth, &[OCI_IMAGE_MEDIA_TYPE]).await?;
        let layer = layer_of(&parse(&manifest)?)?;
        let component = blob(&client, &image, &layer, COMPONENT_BYTES_MAX).await?;
        place.keep(&place.component(), &component)?;
        // Where it is, the component is there as well.
        place.keep(&place.manifest(), &manifest)
    })
}

/// Pulls the bundles that refer to a manifest. Blocks.
fn pull_bundles(
    reference: &RegistryReference,
    manifest: Digest,
    place: &Place,
) -> Result<(), RegistryError> {
    blocking(async {
        let (client, image, auth) = connect(reference)?;
        let image = image.clone_with_digest(manifest.to_string());
        client.store_auth_if_needed(image.resolve_registry(), &auth).await;
        let referrers = client.pull_referrers(&image, None).await?;
        let is_bundle =
            |kind: Option<&str>| kind.is_some_and(|kind| kind.starts_with(BUNDLE_ARTIFACT_TYPE));
        let bundles =
            referrers.manifests.iter().filter(|it| is_bundle(it.artifact_type.as_deref()));
        for referrer in bundles.take(BUNDLES_MAX) {
            let image = image.clone_with_digest(referrer.digest.clone());
            let (manifest, _) =
                client.pull_manifest_raw(&image, &auth, &[OCI_IMAGE_MEDIA_TYPE]).await?;
            if let Some(layer) = parse(&manifest)?.layers.first() {
                let bundle = blob(&client, &image, layer, BUNDLE_BYTES_MAX).await?;
                place.keep(&place.bundle(&bundle), &bundle)?;
            }
        }
        Ok(())
    })
}

async fn blob(
    client: &Client,
    image: &Reference,
    layer: &OciDescriptor,
    bytes_max: usize,
) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Bounded { bytes: Vec::new(), bytes_max };
    client.pull_blob(image, layer, &mut bytes).await?;
    Ok(bytes.bytes)
}

/// A client for one reference. Registries of this machine itself are spoken to in plain HTTP, as
/// all tools do; no other is.
fn connect(
    reference: &RegistryReference,
) -> Result<(Client, Reference, RegistryAuth), RegistryError> {
    let image: Reference = match reference.digest {
        None => reference.name.clone(),
        Some(digest) => format!("{}@{digest}", reference.name),
    }
    .parse()
    .map_err(|error: oci_client::ParseError| RegistryError::Reference(error.to_string()))?;
    let host = image.resolve_registry().to_owned();
    let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
    let protocol = match name {
        "localhost" | "127.0.0.1" | "[::1]" => ClientProtocol::HttpsExcept(vec![host.clone()]),
        _ => ClientProtocol::Https,
    };
    let config = ClientConfig {
        protocol,
        connect_timeout: Some(SILENCE_MAX),
        read_timeout: Some(SILENCE_MAX),
        user_agent: concat!("tidegate/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    Ok((Client::new(config), image, credentials(&host)?))
}

/// What `docker login` has left, where somebody has logged in.
fn credentials(host: &str) -> Result<RegistryAuth, RegistryError> {
    use docker_credential::CredentialRetrievalError as Missing;
    match docker_credential::get_credential(host) {
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Ok(RegistryAuth::Basic(user, password))
        }
        Ok(DockerCredential::IdentityToken(token)) => Ok(RegistryAuth::Bearer(token)),
        Err(
            Missing::ConfigNotFound | Missing::ConfigReadError | Missing::NoCredentialConfigured,
        ) => Ok(RegistryAuth::Anonymous),
        Err(error) => Err(RegistryError::Credentials(error.to_string())),
    }
}

/// Runs on a thread of its own: whoever wants a component may be anywhere.
fn blocking<T: Send>(
    work: impl Future<Output = Result<T, RegistryError>> + Send,
) -> Result<T, RegistryError> {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime
            .map_err(|cause| RegistryError::Keep { path: PathBuf::from("a thread"), cause })?;
        runtime
            .block_on(async { timeout(PULL_MAX, work).await.unwrap_or(Err(RegistryError::Time)) })
    };
    std::thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Takes so many bytes and no more, whatever a registry sends.
struct Bounded {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        more: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.bytes.len() + more.len() > self.bytes_max {
            let message = format!("it has more than {} bytes", self.bytes_max);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::FileTooLarge, message)));
        }
        self.bytes.extend_from_slice(more);
        Poll::Ready(Ok(more.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_and_what_was_pulled_last_is_kept() {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let digest = |number: usize| Digest::of(&number.to_le_bytes());
        let pulled = UNUSED_MAX + 4;
        for number in 0..pulled {
            let place = Place::new(cache.path(), digest(number));
            place.keep(&place.component(), b"bytes").expect("a temporary folder");
            let pulled_at = std::time::UNIX_EPOCH + Duration::from_secs(number as u64);
            let directory = fs::File::open(&place.directory).expect("it was made");
            directory.set_modified(pulled_at).expect("it is ours");
        }
        fs::create_dir(cache.path().join("notes")).expect("a temporary folder");
        prune(cache.path(), &[digest(0)].into()).expect("a temporary folder");
        let kept = |number| Place::new(cache.path(), digest(number)).component().exists();
        let kept: Vec<usize> = (0..pulled).filter(|&number| kept(number)).collect();
        assert_eq!(kept, [&[0][..], &(4..pulled).collect::<Vec<_>>()].concat());
        assert!(cache.path().join("notes").exists(), "it is not ours");
        prune(&cache.path().join("none"), &BTreeSet::new()).expect("there is nothing to remove");
    }
}
