//! Writing large files past the page cache.
//!
//! What a sink writes is synced at once and hardly ever read here again. Through the page cache
//! each byte of it would be copied into a fresh page, which somebody has to find, write out and
//! free; that costs ten times as much processor time, and takes the pages of what will be read.

use std::{
    fs::File,
    io::{self, Write},
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
};

use super::NewFile;

/// What a disk wants memory, offsets and lengths to be a multiple of, whichever it is.
const PAGE_BYTES: usize = 4096;

/// The least that is worth being written past the cache.
const DIRECT_BYTES_MIN: usize = 256 << 10;

/// A new file, whose large writes go to the disk directly: where the file system knows how, and
/// from memory that begins with a page.
#[derive(Debug)]
pub(super) struct DirectFile {
    file: File,
    /// Whether the file's writes go past the cache at the moment.
    direct: bool,
    /// Whether the file system can do it, as far as is known.
    able: bool,
    written: u64,
}

impl DirectFile {
    pub(super) fn new(file: File) -> Self {
        DirectFile { file, direct: false, able: true, written: 0 }
    }

    /// Turns writing past the cache on or off, and says which it is.
    fn set_direct(&mut self, direct: bool) -> io::Result<bool> {
        if self.direct != direct {
            let flags = fcntl_getfl(&self.file)?;
            let changed = match direct {
                true => fcntl_setfl(&self.file, flags | OFlags::DIRECT),
                false => fcntl_setfl(&self.file, flags - OFlags::DIRECT),
            };
            match changed {
                Ok(()) => self.direct = direct,
                Err(Errno::INVAL | Errno::OPNOTSUPP) if direct => self.able = false,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.direct)
    }
}

impl Write for DirectFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A file that has begun directly goes on so, but for a part of a page at its end.
        let least = if self.direct { PAGE_BYTES } else { DIRECT_BYTES_MIN };
        let fits = bytes.len() >= least
            && bytes.as_ptr().addr().is_multiple_of(PAGE_BYTES)
            && self.written.is_multiple_of(PAGE_BYTES as u64);
        let mut written = None;
        if self.set_direct(fits && self.able)? {
            let whole = bytes.len() / PAGE_BYTES * PAGE_BYTES;
            written = match self.file.write(&bytes[..whole]) {
                // Some find out late that they can't.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.able = false;
                    self.set_direct(false)?;
                    None
                }
                written => Some(written?),
            };
        }
        let written = match written {
            Some(written) => written,
            None => self.file.write(bytes)?,
        };
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for DirectFile {
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[derive(Clone)]
    #[repr(C, align(4096))]
    struct Page([u8; PAGE_BYTES]);

    #[test]
    fn what_is_written_is_in_the_file_whatever_its_size_and_place() {
        let pages = vec![Page(std::array::from_fn(|i| ((i * 7919) >> 5) as u8)); 300];
        let content: Vec<u8> = pages.iter().flat_map(|page| page.0).collect();
        // SAFETY: pages are bytes without gaps.
        let aligned =
            unsafe { std::slice::from_raw_parts(pages.as_ptr().cast::<u8>(), content.len()) };
        let min = DIRECT_BYTES_MIN;
        let sizes = [0, 1, PAGE_BYTES, min - 1, min, min + 1, 2 * min + PAGE_BYTES, content.len()];
        // Also below the working directory, for a temporary one may be in memory, where this is
        // another matter.
        for directory in [tempfile::tempdir(), tempfile::tempdir_in(".")] {
            let directory = directory.expect("a directory can be made");
            for first in sizes {
                for from in [aligned, &aligned[1..]] {
                    let path = directory.path().join("file");
                    let file = File::create_new(&path).expect("the name is free");
                    let mut file = DirectFile::new(file);
                    let parts = from.split_at(first.min(from.len()));
                    for part in [parts.0, parts.1] {
                        file.write_all(part).expect("the disk has room");
                    }
                    file.sync().expect("the disk works");
                    assert!(fs::read(&path).expect("it is there") == from, "{first}");
                    fs::remove_file(&path).expect("it is there");
                }
            }
        }
    }
}
