//! The files of generations, by what is in them: in the data directory, under their SHA-256.
//!
//! `catalogue/<generation>.json` names the files of a generation, and `catalogue/blobs/<sha256>`
//! holds each. They are kept as they were read, variables unexpanded: a secret stays in the
//! environment that it came from. So a generation is made again with the environment of the day,
//! and counts only if its digest is the same.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use tidegate_core::Digest;
use tidegate_pipeline::{Generations, Plan, ProcessError};

use super::candidate::{Candidate, Maker, Refusal, names};
use crate::{
    files::{Content, Contents, Files},
    supply::StageRights,
};

/// Generations that are kept, the latest ones.
const GENERATIONS_MAX: usize = 64;

/// The catalogue of one data directory.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    directory: PathBuf,
    /// Files that lie below are named from here, so that a pipeline's folder can be moved.
    base: PathBuf,
}

/// What a generation is made of.
#[derive(Serialize, Deserialize)]
struct Entry {
    generation: Digest,
    files: Vec<Named>,
    /// What its plugins could ask of the host when it was kept.
    #[serde(default)]
    stages: Vec<StageRights>,
}

#[derive(Serialize, Deserialize)]
struct Named {
    path: PathBuf,
    digest: Digest,
    /// It is a large one, which is read where it lies.
    #[serde(default)]
    placed: bool,
}

/// Copies a file, and gives the digest of what was copied.
pub(super) fn hashed_copy(from: &Path, to: &mut impl io::Write) -> io::Result<Digest> {
    let mut tee = Hashing { to, hasher: sha2::Sha256::new() };
    io::copy(&mut fs::File::open(from)?, &mut tee)?;
    Ok(Digest(tee.hasher.finalize().into()))
}

struct Hashing<'a, W> {
    to: &'a mut W,
    hasher: sha2::Sha256,
}

impl<W: io::Write> io::Write for Hashing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Catalogue {
    pub(crate) fn open(data_dir: &Path, pipeline: &Path) -> io::Result<Self> {
        let catalogue = Catalogue::inspect(data_dir, pipeline);
        let blobs = catalogue.directory.join("blobs");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(blobs)?;
        Ok(catalogue)
    }

    /// One that is only looked at.
    pub(crate) fn inspect(data_dir: &Path, pipeline: &Path) -> Self {
        let base = pipeline.parent().unwrap_or(Path::new("")).to_owned();
        Catalogue { directory: data_dir.join("catalogue"), base }
    }

    /// What the plugins of a generation could ask of the host when it was kept; nothing, where it
    /// is not kept.
    pub(crate) fn rights(&self, generation: &Digest) -> Vec<StageRights> {
        let entry = fs::read(self.entry(generation)).ok();
        let entry = entry.and_then(|text| serde_json::from_slice::<Entry>(&text).ok());
        entry.map(|entry| entry.stages).unwrap_or_default()
    }

    /// Keeps a generation's files.
    pub(crate) fn keep(&self, candidate: &Candidate) -> Result<(), Refusal> {
        self.write(candidate).map_err(|error| {
            let message = format!("failed to keep its files in the catalogue: {error}");
            Refusal::new("catalogue", message)
        })
    }

    fn write(&self, candidate: &Candidate) -> io::Result<()> {
        let mut files = Vec::new();
        for (path, content) in candidate.files.taken() {
            let digest = content.digest();
            let placed = matches!(content, Content::Placed { .. });
            let blob = self.blob(&digest);
            if !blob.exists() {
                match content {
                    Content::Bytes(bytes) => self.put(&blob, |file| file.write_all(&bytes))?,
                    Content::Placed { at, .. } => self.put(&blob, |file| {
                        let copied = hashed_copy(&at, file)?;
                        let changed = || io::Error::other("it changed while it was read");
                        (copied == digest).then_some(()).ok_or_else(changed)
                    })?,
                }
            }
            let path = path.strip_prefix(&self.base).map(Path::to_owned).unwrap_or(path);
            files.push(Named { path, digest, placed });
        }
        let stages = candidate.rights();
        let entry = Entry { generation: candidate.generation(), files, stages };
        let text = serde_json::to_vec(&entry)?;
        self.put(&self.entry(&entry.generation), |file| file.write_all(&text))?;
        self.prune()
    }

    /// A crash leaves the whole file or none, and what is there is on the disk.
    fn put(
        &self,
        path: &Path,
        write: impl FnOnce(&mut fs::File) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        write(file.as_file_mut())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        fs::File::open(path.parent().unwrap_or(&self.directory))?.sync_all()
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs").join(digest.hex())
    }

    fn entry(&self, generation: &Digest) -> PathBuf {
        self.directory.join(format!("{}.json", generation.hex()))
    }

    /// The generations that are kept, the latest first.
    fn entries(&self) -> io::Result<Vec<(SystemTime, PathBuf)>> {
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.directory)? {
            let file = file?;
            if file.path().extension().is_some_and(|extension| extension == "json") {
                entries.push((file.metadata()?.modified()?, file.path()));
            }
        }
        entries.sort_by(|a, b| b.cmp(a));
        Ok(entries)
    }

    /// The oldest generations go, and then the files that none has any more.
    fn prune(&self) -> io::Result<()> {
        let entries = self.entries()?;
        let Some((_, surplus)) = entries.split_at_checked(GENERATIONS_MAX) else { return Ok(()) };
        if surplus.is_empty() {
            return Ok(());
        }
        for (_, path) in surplus {
            fs::remove_file(path)?;
        }
        let mut named = std::collections::BTreeSet::new();
        for (_, path) in &entries[..GENERATIONS_MAX] {
            let entry: Entry = serde_json::from_slice(&fs::read(path)?)?;
            named.extend(entry.files.iter().map(|file| file.digest.hex()));
        }
        for blob in fs::read_dir(self.directory.join("blobs"))? {
            let blob = blob?;
            if !named.contains(&*blob.file_name().to_string_lossy()) {
                fs::remove_file(blob.path())?;
            }
        }
        Ok(())
    }

    /// The files of a generation by its name, or of the latest one besides `serving`.
    pub(crate) fn find(&self, name: Option<&str>, serving: Digest) -> Result<Files, Refusal> {
        self.read(&self.named(name, serving)?)
    }

    /// Which generation a name means, or which is the latest one besides `serving`.
    fn named(&self, name: Option<&str>, serving: Digest) -> Result<Entry, Refusal> {
        let unreadable = |error: io::Error| Refusal::new("catalogue", error.to_string());
        let mut found = Vec::new();
        for (_, path) in self.entries().map_err(unreadable)? {
            let read = fs::read(&path).map_err(unreadable)?;
            let Ok(entry) = serde_json::from_slice::<Entry>(&read) else { continue };
            let is_meant = match name {
                Some(name) => names(&entry.generation, name),
                None => entry.generation != serving,
            };
            if is_meant {
                found.push(entry);
            }
            if name.is_none() && !found.is_empty() {
                break;
            }
        }
        match (found.len(), name) {
            (1, _) => Ok(found.remove(0)),
            (0, None) => {
                Err(Refusal::new("no-generation", "there is no earlier generation to go back to"))
            }
            (0, Some(name)) => {
                let message = format!(
                    "no generation `{name}` is kept; `tidegate generations` lists those that are"
                );
                Err(Refusal::new("no-generation", message))
            }
            (more, _) => {
                let message = format!("{more} generations begin like this: name more digits");
                Err(Refusal::new("ambiguous-generation", message))
            }
        }
    }

    fn read(&self, entry: &Entry) -> Result<Files, Refusal> {
        let mut contents = Contents::new();
        for Named { path, digest, placed } in &entry.files {
            let blob = self.blob(digest);
            let missing = |error: io::Error| {
                let path = path.display();
                let message = format!("`{path}` is missing from the catalogue: {error}");
                Refusal::new("catalogue", message)
            };
            let content = match *placed {
                true => {
                    let found = hashed_copy(&blob, &mut io::sink()).map_err(missing)?;
                    Content::Placed { at: blob, digest: found }
                }
                false => Content::Bytes(fs::read(&blob).map_err(missing)?.into()),
            };
            if content.digest() != *digest {
                let message = format!("`{}` is damaged in the catalogue", path.display());
                return Err(Refusal::new("catalogue", message));
            }
            contents.insert(self.base.join(path), content);
        }
        Ok(Files::of(contents))
    }
}

/// Makes the plans of earlier generations, for ranges that they left half done.
pub(crate) struct KeptGenerations {
    pub(crate) catalogue: Catalogue,
    pub(crate) maker: Maker,
}

#[async_trait]
impl Generations for KeptGenerations {
    async fn find(&self, generation: Digest) -> Result<Option<Arc<Plan>>, ProcessError> {
        let (catalogue, maker) = (self.catalogue.clone(), self.maker.clone());
        let made = tokio::task::spawn_blocking(move || {
            let files = catalogue.find(Some(&generation.hex()), generation)?;
            maker.make(files)
        });
        Ok(match made.await {
            Ok(Ok(candidate)) if candidate.generation() == generation => Some(candidate.plan),
            Ok(Ok(_)) => {
                tracing::warn!(
                    generation = generation.short(),
                    "the environment has changed since this generation served: it can't be made \
                     again"
                );
                None
            }
            // Nothing is lost by waiting: the operator who refuses it may change his mind.
            Ok(Err(refusal)) if refusal.is_by_policy() => {
                return Err(ProcessError::Withheld { generation, reason: refusal.message });
            }
            Ok(Err(refusal)) => {
                tracing::warn!(generation = generation.short(), "can't be made again: {refusal}");
                None
            }
            Err(error) => {
                tracing::warn!(generation = generation.short(), "can't be made again: {error}");
                None
            }
        })
    }
}
