//! What tells one file from all others, and the names of partitions that are made of it.

use std::{fs::Metadata, os::unix::fs::MetadataExt, time::UNIX_EPOCH};

/// A file, whatever its name is: the number of its inode, and when that was made, in nanoseconds of
/// the Unix epoch (0 where the file system does not say).
///
/// Numbers of inodes are used again, times of birth are not. The device's number is left out: it
/// may be another after a restart, and no two devices make the same inode in the same nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileId {
    inode: u64,
    born: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let born = born.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0));
        FileId { inode: metadata.ino(), born }
    }
}

/// What a partition's name says: `<where it was first seen>@<inode>-<born>`, both in hex, with a
/// `.<generation>` behind it where the file was truncated and filled anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartitionName {
    pub(super) home: String,
    pub(super) file: FileId,
    pub(super) generation: u32,
}

impl std::fmt::Display for PartitionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let FileId { inode, born } = self.file;
        write!(f, "{}@{inode:x}-{born:x}", self.home)?;
        if self.generation > 0 {
            write!(f, ".{}", self.generation)?;
        }
        Ok(())
    }
}

impl PartitionName {
    /// Reads a name, if it is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (home, file) = text.rsplit_once('@')?;
        let (file, generation) = match file.split_once('.') {
            Some((file, generation)) => (file, generation.parse().ok()?),
            None => (file, 0),
        };
        let (inode, born) = file.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let file = FileId { inode: hex(inode)?, born: hex(born)? };
        Some(PartitionName { home: home.to_owned(), file, generation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let file = FileId { inode: 0x2a1b, born: 0x18c7_ffff_0000_1234 };
        for (home, generation) in [("app.log", 0), ("logs/a@b.log", 0), ("logs/app.log", 12)] {
            let name = PartitionName { home: home.to_owned(), file, generation };
            assert_eq!(PartitionName::parse(&name.to_string()), Some(name));
        }
        for text in ["app.log", "app.log@", "app.log@1", "app.log@x-1", "app.log@1-2.x"] {
            assert_eq!(PartitionName::parse(text), None, "{text}");
        }
    }
}
