//! The file system of the machine.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use super::{Files, NewFile, direct::DirectFile};

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

impl Files for RealFiles {
    fn blocks(&self) -> bool {
        true
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        Ok(Box::new(DirectFile::new(File::create_new(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(File::open(path)?))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            // NFS and some overlays lack the flag. A hard link has the same promise, in two steps:
            // a crash between them leaves a second, temporary name, which the next start removes.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link_noreplace(from, to),
            Err(error) => Err(error.into()),
        }
    }

    fn rename_replacing(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = fs::read_dir(directory)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

fn link_noreplace(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_publish_refuse_a_name_that_is_taken() {
        type Publish = fn(&Path, &Path) -> io::Result<()>;
        let ways: [Publish; 2] = [|from, to| RealFiles.rename_noreplace(from, to), link_noreplace];
        for publish in ways {
            let directory = tempfile::tempdir().unwrap();
            let [first, second, name] =
                ["first", "second", "name"].map(|name| directory.path().join(name));
            fs::write(&first, "first").unwrap();
            fs::write(&second, "second").unwrap();

            publish(&first, &name).unwrap();
            let refused = publish(&second, &name).unwrap_err();

            assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read_to_string(&name).unwrap(), "first");
            assert!(!first.exists() && second.exists());
        }
    }
}
