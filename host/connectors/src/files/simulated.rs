//! A file system in memory that can lose power.
//!
//! It keeps two versions of everything: what processes see, and what would be found after a power
//! cut. A sync of a file copies its content from the first to the second, a sync of a directory
//! its entries. A crash keeps, for everything that was not synced, what a seeded choice says:
//! the old, the new, or for a file's content any prefix of the new. That is more than real file
//! systems lose, and all that POSIX promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Files, NewFile};

/// What was done to a [`SimulatedFiles`], in order: the trace that two runs of a seed share.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the operations of `Files`")]
pub enum Operation {
    CreateNew(PathBuf),
    Write(PathBuf, usize),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Replace(PathBuf, PathBuf),
    Remove(PathBuf),
    CreateDirectory(PathBuf),
    SyncDirectory(PathBuf),
}

/// A file system in memory that can lose power. Clones are the same file system.
#[derive(Clone)]
pub struct SimulatedFiles {
    disk: Arc<Mutex<Disk>>,
}

impl SimulatedFiles {
    /// An empty one, whose crashes are drawn from a seed.
    pub fn new(seed: u64) -> Self {
        let root = Node::Directory { durable: Entries::new(), seen: Entries::new() };
        let disk = Disk {
            nodes: vec![root],
            trace: Vec::new(),
            crash_after: None,
            fail_next: None,
            down: false,
            random: ChaCha8Rng::seed_from_u64(seed),
        };
        SimulatedFiles { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Cuts the power once `operations` more have changed something: the next one fails, and all
    /// after it, until [`SimulatedFiles::restart`].
    pub fn crash_after(&self, operations: usize) {
        self.lock().crash_after = Some(operations);
    }

    /// Makes the next operation that changes something fail.
    pub fn fail_next(&self, error: io::ErrorKind) {
        self.lock().fail_next = Some(error);
    }

    /// Cuts the power now, and has it back: what was not synced is there, or not.
    pub fn crash(&self) {
        self.lock().crash();
    }

    /// Has the power back, after a cut by [`SimulatedFiles::crash_after`]. Says whether there had
    /// been one.
    pub fn restart(&self) -> bool {
        let mut disk = self.lock();
        disk.crash_after = None;
        let was_down = std::mem::take(&mut disk.down);
        if was_down {
            disk.crash();
        }
        was_down
    }

    /// Everything that has changed something so far.
    pub fn trace(&self) -> Vec<Operation> {
        self.lock().trace.clone()
    }

    /// Every file as processes see it: path and content, in the paths' order.
    pub fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let disk = self.lock();
        let mut found = Vec::new();
        let mut open = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, node)) = open.pop() {
            match &disk.nodes[node] {
                Node::File { seen, .. } => found.push((path, seen.clone())),
                Node::Directory { seen, .. } => {
                    open.extend(seen.iter().map(|(name, node)| (path.join(name), *node)));
                }
            }
        }
        found.sort();
        found
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for SimulatedFiles {
    fn blocks(&self) -> bool {
        false
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let mut disk = self.lock();
        disk.admit(Operation::CreateNew(path.to_owned()))?;
        let node = disk.add(path, Node::File { durable: Vec::new(), seen: Vec::new() })?;
        Ok(Box::new(SimulatedFile { files: self.clone(), node, path: path.to_owned() }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        let disk = self.lock();
        disk.readable()?;
        match &disk.nodes[disk.find(path)?] {
            Node::File { seen, .. } => Ok(Box::new(io::Cursor::new(seen.clone()))),
            Node::Directory { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let disk = self.lock();
        disk.readable()?;
        match disk.find(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        disk.admit(Operation::Rename(from.to_owned(), to.to_owned()))?;
        let node = disk.find(from)?;
        disk.link(to, node)?;
        disk.unlink(from)
    }

    fn rename_replacing(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        disk.admit(Operation::Replace(from.to_owned(), to.to_owned()))?;
        let node = disk.find(from)?;
        disk.unlink(to)?;
        disk.link(to, node)?;
        disk.unlink(from)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        disk.admit(Operation::Remove(path.to_owned()))?;
        disk.find(path)?;
        disk.unlink(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let disk = self.lock();
        disk.readable()?;
        let node = disk.find(directory)?;
        Ok(disk.entries(node)?.keys().cloned().collect())
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        disk.admit(Operation::CreateDirectory(path.to_owned()))?;
        disk.add(path, Node::Directory { durable: Entries::new(), seen: Entries::new() })?;
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        disk.admit(Operation::SyncDirectory(path.to_owned()))?;
        let node = disk.find(path)?;
        match &mut disk.nodes[node] {
            Node::Directory { durable, seen } => durable.clone_from(seen),
            Node::File { .. } => return Err(io::ErrorKind::NotADirectory.into()),
        }
        Ok(())
    }
}

struct SimulatedFile {
    files: SimulatedFiles,
    node: usize,
    path: PathBuf,
}

impl Write for SimulatedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.files.lock();
        disk.admit(Operation::Write(self.path.clone(), bytes.len()))?;
        if let Node::File { seen, .. } = &mut disk.nodes[self.node] {
            seen.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for SimulatedFile {
    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.files.lock();
        disk.admit(Operation::Sync(self.path.clone()))?;
        if let Node::File { durable, seen } = &mut disk.nodes[self.node] {
            durable.clone_from(seen);
        }
        Ok(())
    }
}

type Entries = BTreeMap<String, usize>;

/// The index of the root directory.
const ROOT: usize = 0;

enum Node {
    File { durable: Vec<u8>, seen: Vec<u8> },
    Directory { durable: Entries, seen: Entries },
}

struct Disk {
    nodes: Vec<Node>,
    trace: Vec<Operation>,
    crash_after: Option<usize>,
    fail_next: Option<io::ErrorKind>,
    down: bool,
    random: ChaCha8Rng,
}

impl Disk {
    fn readable(&self) -> io::Result<()> {
        if self.down { Err(io::Error::other("the power is out")) } else { Ok(()) }
    }

    fn admit(&mut self, operation: Operation) -> io::Result<()> {
        self.readable()?;
        if let Some(kind) = self.fail_next.take() {
            return Err(kind.into());
        }
        match &mut self.crash_after {
            Some(0) => self.down = true,
            Some(left) => *left -= 1,
            None => {}
        }
        self.readable()?;
        self.trace.push(operation);
        Ok(())
    }

    fn entries(&self, node: usize) -> io::Result<&Entries> {
        match &self.nodes[node] {
            Node::Directory { seen, .. } => Ok(seen),
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        names(path).try_fold(ROOT, |node, name| {
            self.entries(node)?.get(name).copied().ok_or(io::ErrorKind::NotFound.into())
        })
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        self.nodes.push(node);
        let index = self.nodes.len() - 1;
        self.link(path, index).inspect_err(|_| drop(self.nodes.pop()))?;
        Ok(index)
    }

    fn link(&mut self, path: &Path, node: usize) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        if parent.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        parent.insert(name, node);
        Ok(())
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        parent.remove(&name);
        Ok(())
    }

    fn parent(&mut self, path: &Path) -> io::Result<(&mut Entries, String)> {
        let name = names(path).last().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let parent = self.find(path.parent().unwrap_or(Path::new("/")))?;
        match &mut self.nodes[parent] {
            Node::Directory { seen, .. } => Ok((seen, name)),
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn crash(&mut self) {
        for node in &mut self.nodes {
            match node {
                Node::File { durable, seen } if durable != seen => {
                    *durable = match self.random.random_range(0..3u8) {
                        0 => std::mem::take(durable),
                        1 => std::mem::take(seen),
                        _ => seen[..self.random.random_range(0..seen.len().max(1))].to_vec(),
                    };
                    seen.clone_from(durable);
                }
                Node::Directory { durable, seen } if durable != seen => {
                    let names: BTreeSet<String> =
                        durable.keys().chain(seen.keys()).cloned().collect();
                    for name in names {
                        if self.random.random_bool(0.5) {
                            match seen.get(&name) {
                                Some(node) => durable.insert(name, *node),
                                None => durable.remove(&name),
                            };
                        }
                    }
                    seen.clone_from(durable);
                }
                _ => {}
            }
        }
    }
}

fn names(path: &Path) -> impl Iterator<Item = &str> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(files: &SimulatedFiles, path: &str, content: &str, sync: bool) {
        let mut file = files.create_new(Path::new(path)).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        if sync {
            file.sync().unwrap();
        }
    }

    #[test]
    fn what_was_synced_survives_and_what_was_not_is_sometimes_lost() {
        let mut lost_contents = 0;
        let mut lost_names = 0;
        for seed in 0..100 {
            let files = SimulatedFiles::new(seed);
            files.create_directory(Path::new("/d")).unwrap();
            write(&files, "/d/kept", "kept", true);
            write(&files, "/d/content", "content", false);
            files.sync_directory(Path::new("/")).unwrap();
            files.sync_directory(Path::new("/d")).unwrap();
            write(&files, "/d/name", "name", true);

            files.crash();

            let contents: BTreeMap<_, _> = files.contents().into_iter().collect();
            assert_eq!(contents[Path::new("/d/kept")], b"kept");
            lost_contents += usize::from(contents[Path::new("/d/content")] != b"content");
            lost_names += usize::from(!contents.contains_key(Path::new("/d/name")));
        }
        assert!((20..100).contains(&lost_contents), "{lost_contents}");
        assert!((20..80).contains(&lost_names), "{lost_names}");
    }

    #[test]
    fn a_cut_fails_every_operation_until_the_restart() {
        let files = SimulatedFiles::new(1);
        files.crash_after(1);
        files.create_directory(Path::new("/d")).unwrap();
        assert!(files.sync_directory(Path::new("/")).is_err());
        assert!(files.list(Path::new("/")).is_err());
        assert!(files.restart());
        files.list(Path::new("/")).unwrap();
    }
}
