//! Probes of a directory: what is done to one that objects are published in, under names that are
//! taken away again.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use tokio::sync::Mutex;

use super::{Files, RealFiles};
use crate::{
    blocking::off_task,
    probe::{
        Answer,
        ProbeLevel::{Connect, Write},
        Probed, Probes, Probing, Unproven,
    },
};

static TURN: Mutex<()> = Mutex::const_new(());

/// What of a directory that is written to works from here. One that is not there is created by whoever
/// writes first, and is gone again after this.
///
/// One after the other: two may have to make the same directories, and take them away.
pub async fn probe_directory(root: &Path, probing: Probing) -> Vec<Probed> {
    let _turn = TURN.lock().await;
    let mut probes = Probes::new(probing);
    let place = root.display().to_string();
    probes.ask(Connect, "open directory", &place, open(root)).await;
    let action = "create, sync, rename and delete";
    probes.ask(Write, action, &place, write(root)).await;
    probes.found()
}

async fn open(root: &Path) -> Answer<()> {
    let path = root.to_owned();
    match off_task(true, move || fs::metadata(&path)).await {
        Ok(found) if found.is_dir() => Ok(((), "it is there".to_owned())),
        Ok(_) => Err(Unproven::failed("it is no directory", "name a directory").for_all()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Unproven::unknown("it is not there: the first run creates it"))
        }
        Err(error) => {
            Err(Unproven::failed(error.to_string(), "let the program's user reach it").for_all())
        }
    }
}

async fn write(root: &Path) -> Answer<()> {
    let root = std::path::absolute(root).map_err(refused)?;
    off_task(true, move || Ok(publish(&root))).await.map_err(refused)?.map_err(
        |(what, error)| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Unproven::failed(format!("failed to {what}: {error}"), "make room")
            }
            _ => Unproven::failed(
                format!("failed to {what}: {error}"),
                "let the program's user write there",
            ),
        },
    )?;
    Ok(((), "a name that is taken is not replaced, and nothing is left".to_owned()))
}

fn refused(error: io::Error) -> Unproven {
    Unproven::failed(error.to_string(), "name a directory")
}

/// Takes away what was made, the last first.
#[derive(Default)]
struct Made {
    directories: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Drop for Made {
    fn drop(&mut self) {
        self.files.iter().for_each(|file| drop(fs::remove_file(file)));
        // What somebody else has put something into stays.
        self.directories.iter().rev().for_each(|directory| drop(fs::remove_dir(directory)));
    }
}

/// Publishes two files under one name. The directory that they are in looks like a temporary one: who
/// else uses the root leaves it alone. No other host's check has its name.
fn publish(root: &Path) -> Result<(), (String, io::Error)> {
    let files = RealFiles;
    let mut made = Made::default();
    let below = root.join(format!(".tmp-probe-{:016x}", RandomState::new().hash_one("probe")));
    let missing: Vec<&Path> = below.ancestors().take_while(|it| !it.exists()).collect();
    for directory in missing.into_iter().rev() {
        let failed = |error| (format!("create the directory `{}`", directory.display()), error);
        match files.create_directory(directory) {
            Ok(()) => made.directories.push(directory.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let [first, second, name] = ["first", "second", "name"].map(|name| below.join(name));
    for file in [&first, &second] {
        let written = files.create_new(file).and_then(|mut created| {
            made.files.push(file.clone());
            created.write_all(b"probe\n")?;
            created.sync()
        });
        written.map_err(|error| (format!("write `{}`", file.display()), error))?;
    }
    made.files.push(name.clone());
    let renaming = |error| (format!("rename to `{}`", name.display()), error);
    files.rename_noreplace(&first, &name).map_err(renaming)?;
    match files.rename_noreplace(&second, &name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(renaming(error)),
        Ok(()) => return Err(renaming(io::Error::other("it replaces what has the name"))),
    }
    for directory in [below.as_path(), root] {
        let failed = |error| (format!("sync the directory `{}`", directory.display()), error);
        files.sync_directory(directory).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, time::Duration};

    use super::*;
    use crate::probe::{ProbeLevel, ProbeOutcome};

    async fn outcomes(root: &Path, level: ProbeLevel) -> Vec<ProbeOutcome> {
        let probing = Probing { level, timeout: Duration::from_secs(10) };
        probe_directory(root, probing).await.into_iter().map(|it| it.outcome).collect()
    }

    #[tokio::test]
    async fn a_directory_is_as_it_was_whether_or_not_it_was_there() {
        use ProbeOutcome::{NotVerified, Verified};
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("a/b");
        assert_eq!(outcomes(&missing, Write).await, [NotVerified, Verified]);
        assert_eq!(outcomes(folder.path(), Write).await, [Verified, Verified]);
        assert_eq!(outcomes(folder.path(), Connect).await, [Verified, NotVerified]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    }

    #[tokio::test]
    async fn a_place_that_is_no_directory_fails_at_once() {
        use ProbeOutcome::{Failed, NotVerified};
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        assert_eq!(outcomes(&file, Write).await, [Failed, NotVerified]);
        // Root may write anywhere.
        let closed = folder.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
        if fs::write(closed.join("x"), "").is_err() {
            assert_eq!(outcomes(&closed, Write).await[1], Failed);
        }
    }
}
