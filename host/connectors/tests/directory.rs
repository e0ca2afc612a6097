//! What the directory sink promises: a name is there with all of its bytes or not at all, and what
//! was acknowledged is there after a power cut.

#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::{
    collections::BTreeMap,
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use tidegate_connectors::{
    files::{Files, NewFile, Operation, RealFiles, SimulatedFiles},
    sinks::DirectorySink,
};
use tidegate_core::{
    ObjectDigest, Sink, conformance,
    failure::Failure,
    sink::{Object, SinkErrorKind},
};

fn object(key: &str, content: impl Into<Bytes>) -> Object {
    Object::new(key, content)
}

/// What ranges write: several objects in several directories each, some of them shared.
fn ranges() -> Vec<Vec<Object>> {
    (0..4)
        .map(|range| {
            (0..3)
                .map(|part| {
                    let day = (range + part) % 3;
                    let key = format!("type=a%2Fb/day={day}/hour={part}/r{range}-{part}.jsonl");
                    object(&key, format!("{range} {part}\n").repeat(range * 40 + part + 1))
                })
                .collect()
        })
        .collect()
}

fn open(files: &Arc<dyn Files>) -> Result<DirectorySink, tidegate_core::sink::SinkError> {
    DirectorySink::open("out", Path::new("/data/out"), files.clone())
}

/// Writes all ranges, one behind the other, and says what was acknowledged.
async fn write_all(files: &Arc<dyn Files>) -> Vec<Object> {
    let mut acknowledged = Vec::new();
    let Ok(sink) = open(files) else { return acknowledged };
    for objects in ranges() {
        if sink.write(&objects).await.is_err() {
            break;
        }
        acknowledged.extend(objects);
    }
    acknowledged
}

fn published(disk: &SimulatedFiles) -> BTreeMap<PathBuf, Vec<u8>> {
    let final_names = |(path, _): &(PathBuf, _)| !path.to_string_lossy().contains("/.tmp-");
    disk.contents().into_iter().filter(final_names).collect()
}

/// Everything under a final name is whole, and everything acknowledged is there.
fn check(disk: &SimulatedFiles, acknowledged: &[Object]) -> Result<(), String> {
    let found = published(disk);
    let path_of = |object: &Object| Path::new("/data/out").join(&object.key);
    for object in acknowledged {
        if found.get(&path_of(object)).map(Vec::as_slice) != Some(&object.content[..]) {
            return Err(format!("{} was acknowledged and is lost", object.key));
        }
    }
    for object in ranges().iter().flatten() {
        if found.get(&path_of(object)).is_some_and(|content| *content != object.content) {
            return Err(format!("{} is torn", object.key));
        }
    }
    Ok(())
}

async fn operations_of_a_whole_run() -> usize {
    let disk = SimulatedFiles::new(0);
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    assert_eq!(write_all(&files).await.len(), 12);
    disk.trace().len()
}

#[tokio::test]
async fn no_power_cut_at_any_operation_loses_or_tears_what_was_acknowledged() {
    let operations = operations_of_a_whole_run().await;
    assert!(operations > 60, "{operations}");
    for seed in 0..40 {
        for at in 0..=operations {
            let disk = SimulatedFiles::new(seed * 10_007 + at as u64);
            let files: Arc<dyn Files> = Arc::new(disk.clone());
            disk.crash_after(at);
            let acknowledged = write_all(&files).await;
            if !disk.restart() {
                disk.crash();
            }
            check(&disk, &acknowledged)
                .unwrap_or_else(|what| panic!("seed {seed} at {at}: {what}"));

            // The next process goes on, and a power cut right behind it takes nothing.
            let acknowledged = write_all(&files).await;
            assert_eq!(acknowledged.len(), 12, "seed {seed} at {at}");
            disk.crash();
            check(&disk, &acknowledged)
                .unwrap_or_else(|what| panic!("seed {seed} at {at}: {what}"));
        }
    }
}

#[tokio::test]
async fn what_a_killed_process_left_is_durable_once_it_has_been_found() {
    let operations = operations_of_a_whole_run().await;
    for at in 0..=operations {
        // A kill, unlike a power cut, loses nothing that was written: all of it stands in the page
        // cache, synced or not. A cut that is never followed by a restart of the disk is one.
        let disk = SimulatedFiles::new(at as u64);
        let killed: Arc<dyn Files> = Arc::new(Kill { disk: disk.clone(), left: at.into() });
        write_all(&killed).await;

        let files: Arc<dyn Files> = Arc::new(disk.clone());
        let sink = open(&files).unwrap();
        let mut found = Vec::new();
        for object in ranges().into_iter().flatten() {
            match sink.find(&object.key).await.unwrap() {
                Some(digest) if digest == object.digest => found.push(object),
                Some(_) => panic!("{} is torn", object.key),
                None => {}
            }
        }
        disk.crash();
        check(&disk, &found).unwrap_or_else(|what| panic!("killed at {at}: {what}"));
    }
}

#[tokio::test]
async fn a_missing_sync_of_any_kind_would_be_found() {
    for skipped in ["content", "directory of an object", "parent of a directory"] {
        let mut caught = false;
        for seed in 0..50 {
            let disk = SimulatedFiles::new(seed);
            let files: Arc<dyn Files> = Arc::new(Careless { disk: disk.clone(), skipped });
            let acknowledged = write_all(&files).await;
            assert_eq!(acknowledged.len(), 12);
            disk.crash();
            caught |= check(&disk, &acknowledged).is_err();
        }
        assert!(caught, "nobody noticed that the {skipped} was not synced");
    }
}

#[tokio::test]
async fn the_same_calls_do_the_same_operations() {
    let traces = [0, 1].map(|_| SimulatedFiles::new(7));
    for disk in &traces {
        let files: Arc<dyn Files> = Arc::new(disk.clone());
        write_all(&files).await;
    }
    assert_eq!(traces[0].trace(), traces[1].trace());
}

#[tokio::test]
async fn one_range_syncs_each_directory_once() {
    let disk = SimulatedFiles::new(1);
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let sink = open(&files).unwrap();
    let objects = |range: u32| {
        (0..10).map(|part| object(&format!("d/{range}-{part}"), "x")).collect::<Vec<_>>()
    };
    sink.write(&objects(0)).await.unwrap();
    let before = disk.trace().len();
    sink.write(&objects(1)).await.unwrap();
    let synced = disk.trace().split_off(before);
    let directories = |it: &&Operation| matches!(it, Operation::SyncDirectory(_));
    assert_eq!(synced.iter().filter(directories).count(), 1, "{synced:?}");
}

#[tokio::test]
async fn it_passes_the_suite_of_sinks() {
    let directory = tempfile::tempdir().unwrap();
    let sink = DirectorySink::open("out", directory.path(), Arc::new(RealFiles)).unwrap();
    let read = async |key: &str| fs::read(directory.path().join(key)).ok().map(Bytes::from);
    conformance::sink(&sink, read).await;

    let disk = SimulatedFiles::new(1);
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let sink = open(&files).unwrap();
    let path_of = |key: &str| Path::new("/data/out").join(key);
    let read = async |key: &str| published(&disk).remove(&path_of(key)).map(Bytes::from);
    conformance::sink(&sink, read).await;
}

#[tokio::test]
async fn other_bytes_under_a_name_stay_and_are_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let sink = DirectorySink::open("out", directory.path(), Arc::new(RealFiles)).unwrap();
    fs::write(directory.path().join("taken"), "theirs").unwrap();
    let error = sink.write(&[object("free", "ours"), object("taken", "ours")]).await.unwrap_err();
    let found = ObjectDigest::of(b"theirs");
    assert_eq!(error.kind, SinkErrorKind::Occupied { key: "taken".to_owned(), found });
    assert_eq!(error.failure(), Failure::Fatal);
    assert_eq!(fs::read_to_string(directory.path().join("taken")).unwrap(), "theirs");
}

#[tokio::test]
async fn what_was_superseded_stays_so_after_a_power_cut_and_is_never_half_there() {
    let (old, empty) = (object("d/part", "old bytes"), object("d/part", ""));
    for seed in 0..200 {
        let disk = SimulatedFiles::new(seed);
        let files: Arc<dyn Files> = Arc::new(disk.clone());
        let sink = open(&files).unwrap();
        sink.write(std::slice::from_ref(&old)).await.unwrap();
        disk.crash_after(seed as usize % 5);
        let done = sink.occupy(&empty, old.digest).await.is_ok();
        if !disk.restart() {
            disk.crash();
        }
        let found = published(&disk).into_values().next().unwrap();
        assert!(found.is_empty() || (!done && found == old.content), "seed {seed}: {found:?}");
    }
}

#[tokio::test]
async fn no_key_leads_out_of_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let sink = DirectorySink::open("out", &root, Arc::new(RealFiles)).unwrap();
    let long = "x".repeat(256);
    let keys = ["../x", "a/../../x", "/x", "a//b", "", ".", "a/", "a\0b", ".tmp-out/x", &long];
    for key in keys {
        let error = sink.write(&[object(key, "x")]).await.unwrap_err();
        assert_eq!(error.kind, SinkErrorKind::Broken, "{key}");
        assert!(error.message.contains("can't be the name of an object"), "{error}");
    }
    assert!(!directory.path().join("x").exists());
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_nothing_is_left_behind() {
    for (kind, failure) in [
        (io::ErrorKind::StorageFull, Failure::RETRY),
        (io::ErrorKind::QuotaExceeded, Failure::RETRY),
        (io::ErrorKind::PermissionDenied, Failure::Fatal),
        (io::ErrorKind::ReadOnlyFilesystem, Failure::Fatal),
    ] {
        let disk = SimulatedFiles::new(1);
        let files: Arc<dyn Files> = Arc::new(disk.clone());
        let sink = open(&files).unwrap();
        sink.write(&[object("first", "x")]).await.unwrap();
        disk.fail_next(kind);
        let error = sink.write(&[object("second", "x")]).await.unwrap_err();
        assert_eq!(error.failure(), failure, "{kind}");
        assert_eq!(disk.contents().len(), 1, "{kind}: {:?}", disk.contents());
        sink.write(&[object("second", "x")]).await.unwrap();
        assert_eq!(published(&disk).len(), 2);
    }
}

#[tokio::test]
async fn what_an_earlier_process_left_half_done_is_removed_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let temporary = directory.path().join(".tmp-out");
    fs::create_dir(&temporary).unwrap();
    fs::write(temporary.join("12-0"), "half").unwrap();
    DirectorySink::open("out", directory.path(), Arc::new(RealFiles)).unwrap();
    assert_eq!(fs::read_dir(temporary).unwrap().count(), 0);
}

#[tokio::test]
async fn a_directory_that_was_removed_is_made_again_at_the_next_try() {
    let directory = tempfile::tempdir().unwrap();
    let sink = DirectorySink::open("out", directory.path(), Arc::new(RealFiles)).unwrap();
    sink.write(&[object("d/first", "x")]).await.unwrap();
    fs::remove_dir_all(directory.path().join("d")).unwrap();
    let error = sink.write(&[object("d/second", "x")]).await.unwrap_err();
    assert_eq!(error.failure(), Failure::RETRY);
    sink.write(&[object("d/second", "x")]).await.unwrap();
    assert!(directory.path().join("d/second").exists());
}

/// A process that is killed after some operations: nothing more is done, and nothing is undone.
struct Kill {
    disk: SimulatedFiles,
    left: std::sync::atomic::AtomicUsize,
}

impl Kill {
    fn step(&self) -> io::Result<()> {
        use std::sync::atomic::Ordering::Relaxed;
        let lives = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        lives.map(drop).map_err(|_| io::Error::other("killed"))
    }
}

impl Files for Kill {
    fn blocks(&self) -> bool {
        false
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        self.step()?;
        self.disk.create_new(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        self.disk.open(path)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        self.disk.rename_noreplace(from, to)
    }
    fn rename_replacing(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        self.disk.rename_replacing(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        self.disk.remove(path)
    }
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        self.disk.create_directory(path)
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        self.disk.sync_directory(path)
    }
}

/// A file system on which one kind of sync does nothing: what a sink that forgot it would do.
struct Careless {
    disk: SimulatedFiles,
    skipped: &'static str,
}

struct Unsynced(Box<dyn NewFile>);

impl io::Write for Unsynced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for Unsynced {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Files for Careless {
    fn blocks(&self) -> bool {
        false
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let file = self.disk.create_new(path)?;
        Ok(if self.skipped == "content" { Box::new(Unsynced(file)) } else { file })
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        self.disk.open(path)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename_noreplace(from, to)
    }
    fn rename_replacing(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename_replacing(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.disk.create_directory(path)
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let of_an_object = path.to_string_lossy().contains("/hour=");
        match (self.skipped, of_an_object) {
            ("directory of an object", true) | ("parent of a directory", false) => Ok(()),
            _ => self.disk.sync_directory(path),
        }
    }
}
