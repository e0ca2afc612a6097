//! Writing large files past the page cache.
//!
//! What a sink writes is synced at once and hardly ever read here again. Through the page cache
//! each byte of it would be copied into a fresh page, which somebody has to find, write out and
//! free; that costs ten times as much processor time, and takes the pages of what will be read.

use std::{
    fs::File,
    io::{self, Write},
    slice,
    sync::{Arc, Mutex, PoisonError},
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
};

use super::NewFile;

/// What a disk wants memory, offsets and lengths to be a multiple of, whichever it is.
const BLOCK: usize = 4096;

/// How much is written at once. Also the least that is worth being written past the cache.
const PIECE: usize = 1 << 20;

/// How many pieces are kept for the next file.
const PIECES_KEPT: usize = 4;

/// A new file, whose large writes go to the disk directly where the file system knows how.
#[derive(Debug)]
pub(super) struct DirectFile {
    file: File,
    /// Whether the file's writes go past the cache at the moment.
    direct: bool,
    /// Whether the file system can do it, as far as is known.
    able: bool,
    written: u64,
    pieces: Pieces,
}

/// Memory that files of one file system write from, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces(Arc<Mutex<Vec<Vec<Block>>>>);

impl Pieces {
    fn take(&self) -> Vec<Block> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        waiting.unwrap_or_else(|| vec![Block([0; BLOCK]); PIECE / BLOCK])
    }

    fn give(&self, piece: Vec<Block>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < PIECES_KEPT {
            waiting.push(piece);
        }
    }
}

/// Memory as a disk wants it.
#[derive(Clone, Debug)]
#[repr(C, align(4096))]
struct Block([u8; BLOCK]);

impl DirectFile {
    pub(super) fn new(file: File, pieces: Pieces) -> Self {
        DirectFile { file, direct: false, able: true, written: 0, pieces }
    }

    /// Turns writing past the cache on or off, and says which it is.
    fn set_direct(&mut self, direct: bool) -> io::Result<bool> {
        if self.direct != direct {
            let flags = fcntl_getfl(&self.file)?;
            let changed = fcntl_setfl(
                &self.file,
                match direct {
                    true => flags | OFlags::DIRECT,
                    false => flags - OFlags::DIRECT,
                },
            );
            match changed {
                Ok(()) => self.direct = direct,
                Err(Errno::INVAL | Errno::OPNOTSUPP) if direct => self.able = false,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.direct)
    }

    /// Writes as much as fits a piece.
    fn write_piece(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE) / BLOCK * BLOCK;
        let mut piece = self.pieces.take();
        for (block, bytes) in piece.iter_mut().zip(bytes[..length].as_chunks::<BLOCK>().0) {
            block.0 = *bytes;
        }
        // SAFETY: blocks are bytes without gaps, and there are at least as many of them.
        let aligned = unsafe { slice::from_raw_parts(piece.as_ptr().cast::<u8>(), length) };
        let written = self.file.write(aligned);
        self.pieces.give(piece);
        written
    }
}

impl Write for DirectFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A file that has begun directly goes on so, but for its last, incomplete block.
        let least = if self.direct { BLOCK } else { PIECE };
        let fits = bytes.len() >= least && self.written.is_multiple_of(BLOCK as u64);
        let mut written = None;
        if self.set_direct(fits && self.able)? {
            written = match self.write_piece(bytes) {
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

    #[test]
    fn what_is_written_is_in_the_file_whatever_its_sizes() {
        let content: Vec<u8> = (0..3 * PIECE + 12_345).map(|i| (i * 7919 >> 5) as u8).collect();
        let sizes = [0, 1, BLOCK, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + BLOCK, content.len()];
        // Below the target directory, for a temporary one may be in memory, where this is another
        // matter.
        for directory in [tempfile::tempdir(), tempfile::tempdir_in(".")] {
            let directory = directory.expect("a directory can be made");
            for first in sizes {
                for rest in [false, true] {
                    let path = directory.path().join(format!("{first}-{rest}"));
                    let file = File::create_new(&path).expect("the name is free");
                    let mut file = DirectFile::new(file, Pieces::default());
                    let parts = [&content[..first], &content[first..]];
                    let parts = &parts[..1 + usize::from(rest)];
                    for part in parts {
                        file.write_all(part).expect("the disk has room");
                    }
                    file.sync().expect("the disk works");
                    assert_eq!(fs::read(&path).expect("it is there"), parts.concat(), "{first}");
                }
            }
        }
    }
}
