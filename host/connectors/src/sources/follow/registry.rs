//! Which partitions there are, and where each is.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use tidegate_core::source::{PartitionId, SourceError, SourceErrorKind};

use super::{
    Follow, OnLost, content,
    identity::{FileId, PartitionName},
    stream::GrowingFile,
    watch::Watch,
};
use crate::sources::{compression::Compression, lines::broken};

/// The partitions of a source that follows its files.
pub(in crate::sources) struct Registry {
    base: PathBuf,
    follow: Follow,
    watch: Watch,
    entries: Mutex<BTreeMap<PartitionId, Entry>>,
    /// Files that are copies, by what they are, with the length at which that was found.
    copies: Mutex<HashMap<FileId, u64>>,
    looked: AtomicBool,
}

/// What is known of a partition.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    name: PartitionName,
    /// Where the file was seen last; none where it was not.
    path: Option<PathBuf>,
    /// How far it has been read, with the token that belongs there.
    pub(super) reached: Option<(u64, String)>,
    /// There is no more of it.
    ended: bool,
    /// The file has been filled anew: what this partition is made of is elsewhere.
    displaced: bool,
    /// It is being read: whoever reads it sees what happens to the file.
    open: bool,
    /// Up to here what was added to it after its end has been told of.
    told: u64,
    /// The file's length and time when it was last compared with what was read.
    compared: Option<(u64, Option<SystemTime>)>,
}

/// A file among those that were asked for.
struct Seen {
    name: String,
    path: PathBuf,
    file: FileId,
    length: u64,
    modified: Option<SystemTime>,
}

/// Two files may begin with so many same bytes by chance: a banner without a time.
const CHANCE_BYTES: u64 = 512;

/// Where a partition's bytes are.
enum Place {
    /// In its own file.
    Own(File),
    /// In a copy of it.
    Copy(PathBuf),
    /// Nowhere: it is gone, or filled anew.
    Gone,
}

impl Registry {
    pub(in crate::sources) fn new(base: PathBuf, follow: Follow) -> Self {
        let watch = Watch::new(follow.poll_every);
        let mut entries = BTreeMap::new();
        for known in &follow.known {
            // Others were read when files were not followed; `look` says so.
            let Some(name) = PartitionName::parse(&known.id.0) else { continue };
            let reached = known.resume.as_ref();
            let reached = reached.map(|it| (it.position.offset(), it.token.clone()));
            let entry = Entry { reached, ended: known.finished, ..Entry::new(name) };
            entries.insert(known.id.clone(), entry);
        }
        let generations: Vec<PartitionName> = entries.values().map(|it| it.name.clone()).collect();
        for entry in entries.values_mut() {
            let newer = |it: &PartitionName| {
                it.file == entry.name.file && it.generation > entry.name.generation
            };
            entry.displaced = generations.iter().any(newer);
        }
        Registry {
            base,
            follow,
            watch,
            entries: Mutex::new(entries),
            copies: Mutex::default(),
            looked: AtomicBool::new(false),
        }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<PartitionId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, id: &PartitionId, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries().get_mut(id) {
            change(entry);
        }
    }

    /// Looks at the files of some names, and says which partitions are not finished. Blocks; no
    /// reader waits for it.
    pub(in crate::sources) fn look(
        &self,
        names: impl IntoIterator<Item = String>,
    ) -> Result<Vec<PartitionId>, SourceError> {
        let mut seen: Vec<Seen> = Vec::new();
        for name in names {
            if self.follow.known.iter().any(|it| *it.id.0 == *name) {
                let message = format!(
                    "`{name}` was read when files were not followed, and would be read again: give \
                     this pipeline a `data_dir` of its own, or leave `follow` out"
                );
                return Err(broken(message, None));
            }
            let path = self.base.join(&name);
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let file = FileId::of(&metadata);
            if !metadata.is_file() || seen.iter().any(|it| it.file == file) {
                continue;
            }
            let (length, modified) = (metadata.len(), metadata.modified().ok());
            seen.push(Seen { name, path, file, length, modified });
        }
        let before = self.entries().clone();
        for seen in &seen {
            if let Some((id, entry)) = newest(&before, seen.file) {
                self.see_again(id, entry, seen);
            }
        }
        let is_seen = |entry: &Entry| seen.iter().any(|it| it.file == entry.name.file);
        for (id, entry) in before.iter().filter(|(_, it)| !it.ended && !it.open && !is_seen(it)) {
            let path = self.search(entry);
            self.change(id, |entry| entry.path = path);
        }
        let known = self.entries().clone();
        for seen in seen.iter().filter(|seen| newest(&known, seen.file).is_none()) {
            self.see_first(&known, seen);
        }
        self.looked.store(true, Ordering::Relaxed);
        let entries = self.entries();
        let unfinished = entries.iter().filter(|(_, entry)| !entry.ended);
        Ok(unfinished.map(|(id, _)| id.clone()).collect())
    }

    /// Whether the files have been looked at yet.
    pub(in crate::sources) fn has_looked(&self) -> bool {
        self.looked.load(Ordering::Relaxed)
    }

    /// A file of which there is a partition.
    fn see_again(&self, id: &PartitionId, entry: &Entry, seen: &Seen) {
        self.change(id, |entry| entry.path = Some(seen.path.clone()));
        let compared = Some((seen.length, seen.modified));
        if entry.open || entry.compared == compared {
            return;
        }
        self.change(id, |entry| entry.compared = compared);
        let same = !entry.displaced
            && entry.reached.as_ref().is_none_or(|(offset, token)| {
                *offset <= seen.length && content::is(&seen.path, *offset, token)
            });
        if !same {
            self.change(id, |entry| entry.displaced = true);
            if seen.length > 0 {
                let mut name = entry.name.clone();
                name.generation += 1;
                self.add(name, seen);
            }
            return;
        }
        let end = entry.reached.as_ref().map_or(0, |it| it.0).max(entry.told);
        if entry.ended && seen.length > end && !content::ends(&seen.path, end) {
            tracing::error!(
                partition = %id,
                "`{}` was finished, and {} bytes were added to it after that: they are not read; \
                 let its writer close it sooner, or raise how long it is waited for",
                seen.path.display(),
                seen.length - end,
            );
            self.change(id, |entry| entry.told = seen.length);
        }
    }

    /// A file of which there is none: a new one, or a copy.
    fn see_first(&self, known: &BTreeMap<PartitionId, Entry>, seen: &Seen) {
        let compressed = Compression::ByExtension.of(&seen.path) != Compression::Plain;
        // What it is shows once it holds something. What is compressed was written before, and is
        // only looked into for the rest of a partition.
        if seen.length == 0 || compressed {
            return;
        }
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        if copies.get(&seen.file) == Some(&seen.length) {
            return;
        }
        copies.remove(&seen.file);
        let neighbours =
            known.values().filter(|it| self.directory(it).as_deref() == seen.path.parent());
        for entry in neighbours {
            if self.is_copy(entry, seen) {
                copies.insert(seen.file, seen.length);
                return;
            }
        }
        drop(copies);
        let name = PartitionName { home: seen.name.clone(), file: seen.file, generation: 0 };
        self.add(name, seen);
    }

    /// Whether a file, as it is now, holds nothing but what a partition holds.
    fn is_copy(&self, entry: &Entry, seen: &Seen) -> bool {
        let own = if entry.displaced { None } else { self.search(entry) };
        let holds = |own: &PathBuf| {
            let reached = entry.reached.as_ref();
            reached.is_none_or(|(offset, token)| content::is(own, *offset, token))
        };
        if let Some(own) = own.as_ref().filter(|own| holds(own)) {
            // It may be a copy that is being made, or a file that has only begun like that one.
            return content::is_beginning(&seen.path, own);
        }
        let Some((offset, token)) = &entry.reached else { return false };
        let displaced = entry.displaced || own.is_some();
        let long_enough = match (entry.ended, displaced) {
            (true, _) => content::ends(&seen.path, *offset),
            (false, true) => *offset > 0,
            (false, false) => *offset >= CHANCE_BYTES,
        };
        long_enough && *offset <= seen.length && content::is(&seen.path, *offset, token)
    }

    fn add(&self, name: PartitionName, seen: &Seen) {
        let id = PartitionId(name.to_string().into());
        let entry = Entry { path: Some(seen.path.clone()), ..Entry::new(name) };
        self.entries().entry(id).or_insert(entry);
    }

    fn home(&self, entry: &Entry) -> PathBuf {
        self.base.join(&entry.name.home)
    }

    fn directory(&self, entry: &Entry) -> Option<PathBuf> {
        self.home(entry).parent().map(Path::to_owned)
    }

    /// Looks for a partition's file in its directory: by what it is, under whatever name.
    fn search(&self, entry: &Entry) -> Option<PathBuf> {
        let is_it = |path: &PathBuf| {
            fs::metadata(path).is_ok_and(|it| it.is_file() && FileId::of(&it) == entry.name.file)
        };
        let last = entry.path.iter().cloned().chain([self.home(entry)]).find(is_it);
        last.or_else(|| self.siblings(entry).into_iter().find(is_it))
    }

    /// The files of a partition's directory, in the order of their names.
    fn siblings(&self, entry: &Entry) -> Vec<PathBuf> {
        let Some(directory) = self.directory(entry) else { return Vec::new() };
        let directory =
            if directory.as_os_str().is_empty() { Path::new(".").into() } else { directory };
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|it| it.path()).collect();
        paths.sort();
        paths
    }

    /// Finds a partition's bytes, up to an offset with a token at least.
    fn locate(&self, id: &PartitionId, reached: Option<(u64, &str)>) -> io::Result<Place> {
        let entry = self.entries().get(id).cloned();
        let Some(entry) = entry else { return Ok(Place::Gone) };
        let known = entry.reached.as_ref().map(|it| (it.0, it.1.as_str()));
        let own = if entry.displaced { None } else { self.search(&entry) };
        let displaced = entry.displaced || own.is_some();
        if let Some(path) = own {
            let file = File::open(&path)?;
            if FileId::of(&file.metadata()?) == entry.name.file {
                let holds = |(offset, token): (u64, &str)| content::is(&path, offset, token);
                if reached.or(known).is_none_or(holds) {
                    return Ok(Place::Own(file));
                }
            }
        }
        let least = if displaced { 1 } else { CHANCE_BYTES };
        let Some((offset, token)) = reached.or(known).filter(|it| it.0 >= least) else {
            return Ok(Place::Gone);
        };
        let mut siblings = self.siblings(&entry).into_iter();
        let copy = siblings.find(|path| content::is(path, offset, token));
        Ok(copy.map_or(Place::Gone, Place::Copy))
    }

    /// The rest of a partition whose file was truncated: what lies behind an offset in a copy of
    /// it.
    pub(super) fn rest(
        &self,
        id: &PartitionId,
        head: &[u8],
        offset: u64,
        last: &[u8],
    ) -> Option<(PathBuf, Box<dyn io::Read + Send>)> {
        let entry = self.entries().get(id).cloned()?;
        // The file itself, filled anew, is none.
        let other = |path: &PathBuf| {
            fs::metadata(path).is_ok_and(|it| it.is_file() && FileId::of(&it) != entry.name.file)
        };
        let siblings = self.siblings(&entry).into_iter().filter(other);
        let mut found = siblings.filter_map(|path| {
            let stream = content::behind(&path, head, offset, last)?;
            Some((path, stream))
        });
        found.next()
    }
}

impl Entry {
    fn new(name: PartitionName) -> Self {
        Entry {
            name,
            path: None,
            reached: None,
            ended: false,
            displaced: false,
            open: false,
            told: 0,
            compared: None,
        }
    }
}

/// The last generation of a file.
fn newest(entries: &BTreeMap<PartitionId, Entry>, file: FileId) -> Option<(&PartitionId, &Entry)> {
    let generations = entries.iter().filter(|(_, entry)| entry.name.file == file);
    generations.max_by_key(|(_, entry)| entry.name.generation)
}

/// A partition that somebody reads.
pub(in crate::sources) struct Live {
    pub(super) registry: Arc<Registry>,
    pub(super) id: PartitionId,
    /// Where the file was first seen.
    pub(in crate::sources) home: PathBuf,
    /// It was finished by an earlier run, and is read again.
    pub(super) was_ended: bool,
}

impl Live {
    /// Takes a partition to be read; none where there is no such thing.
    pub(in crate::sources) fn new(registry: Arc<Registry>, id: &PartitionId) -> Option<Self> {
        let (home, was_ended) = {
            let mut entries = registry.entries();
            let entry = entries.get_mut(id)?;
            entry.open = true;
            (registry.home(entry), entry.ended)
        };
        registry.watch.add(&home);
        Some(Live { registry, id: id.clone(), home, was_ended })
    }

    pub(super) fn is_at_home(&self, file: FileId) -> bool {
        fs::metadata(&self.home).is_ok_and(|it| FileId::of(&it) == file)
    }

    /// Finds the partition's bytes for somebody who goes on behind an offset.
    pub(in crate::sources) fn locate(
        &self,
        after: Option<(u64, &str)>,
    ) -> Result<Located, SourceError> {
        let place = self.registry.locate(&self.id, after).map_err(|error| {
            let message = format!("failed to open the file of `{}`", self.id);
            SourceError::new(SourceErrorKind::Unavailable, message, error)
        })?;
        Ok(match place {
            Place::Own(file) => Located::Own(file),
            Place::Copy(path) => {
                tracing::info!(partition = %self.id, "reading the copy `{}`", path.display());
                Located::Copy(path)
            }
            Place::Gone => {
                self.lost(after.map_or(0, |it| it.0))?;
                Located::Over
            }
        })
    }

    /// What lies behind an offset can't be read any more.
    pub(super) fn lost(&self, offset: u64) -> Result<(), SourceError> {
        let home = &self.home;
        let what = format!(
            "data may be lost: what `{}` held behind byte {offset} is gone; nothing in its \
             directory is that file or a copy of it",
            home.display()
        );
        match self.registry.follow.on_lost {
            OnLost::Finish => {
                tracing::error!(partition = %self.id, "{what}; the partition is finished there");
                Ok(())
            }
            OnLost::Stop => {
                let remedy = "put the file back under any name, or set `on_lost: finish`";
                let message = format!("{what}: {remedy}");
                Err(SourceError::plain(SourceErrorKind::Trimmed, message))
            }
        }
    }

    /// The file as something to read that may not have ended.
    pub(in crate::sources) fn stream(
        self: &Arc<Self>,
        file: File,
        offset: u64,
        (head, last): (&[u8], &[u8]),
    ) -> io::Result<Box<dyn io::Read + Send>> {
        Ok(Box::new(GrowingFile::new(self.clone(), file, offset, head, last)?))
    }

    pub(in crate::sources) fn version(&self) -> u64 {
        self.registry.watch.version(&self.home)
    }

    pub(in crate::sources) async fn changed(&self, since: u64) {
        self.registry.watch.changed(&self.home, since).await;
    }

    pub(in crate::sources) fn reached(&self, offset: u64, token: String) {
        let further = |entry: &mut Entry| {
            if entry.reached.as_ref().is_none_or(|it| it.0 < offset) {
                entry.reached = Some((offset, token));
            }
        };
        self.registry.change(&self.id, further);
    }

    pub(in crate::sources) fn ended(&self) {
        self.registry.change(&self.id, |entry| entry.ended = true);
    }

    pub(super) fn displaced(&self) {
        self.registry.change(&self.id, |entry| entry.displaced = true);
    }

    pub(super) fn settle(&self) -> std::time::Duration {
        self.registry.follow.settle
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.registry.change(&self.id, |entry| entry.open = false);
    }
}

/// Where somebody who reads a partition finds it.
pub(in crate::sources) enum Located {
    /// In its own file.
    Own(File),
    /// In a copy, which does not grow.
    Copy(PathBuf),
    /// Nowhere, and that is to be the end of it.
    Over,
}
