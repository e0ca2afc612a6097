//! Whether a file holds what is looked for. Blocks; what can't be read holds nothing.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use crate::sources::{
    compression::Compression,
    files::SourceFile,
    lines::{LineLimits, Stream},
};

/// Files are compared in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

/// Whether what a file holds before an offset is what a token stands for.
pub(super) fn is(path: &Path, offset: u64, token: &str) -> bool {
    let file = SourceFile::at(path.to_owned(), Compression::ByExtension, LineLimits::default());
    file.open(Some((offset, token))).is_ok()
}

/// The stream of a file behind an offset, if it begins with some bytes and has others right before
/// the offset.
pub(super) fn behind(
    path: &Path,
    head: &[u8],
    offset: u64,
    last: &[u8],
) -> Option<Box<dyn Read + Send>> {
    let mut stream = Compression::ByExtension.open(path).ok()?;
    let mut found = vec![0; head.len()];
    stream.read_exact(&mut found).ok()?;
    let before = offset - last.len() as u64;
    if found != head {
        return None;
    }
    // What the head has of the last bytes has been compared.
    let skip = before.saturating_sub(head.len() as u64);
    if io::copy(&mut (&mut stream).take(skip), &mut io::sink()).ok()? < skip {
        return None;
    }
    let rest = offset.saturating_sub((head.len() as u64).max(before)) as usize;
    let mut found = vec![0; rest];
    stream.read_exact(&mut found).ok()?;
    (found == last[last.len() - rest..]).then_some(stream)
}

/// Whether a file holds nothing behind an offset but line breaks.
pub(super) fn ends(path: &Path, offset: u64) -> bool {
    let look = || -> io::Result<bool> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut rest = Vec::new();
        file.take(PIECE_BYTES as u64).read_to_end(&mut rest)?;
        Ok(rest.len() < PIECE_BYTES && rest.iter().all(|it| matches!(it, b'\r' | b'\n' | 0)))
    };
    look().unwrap_or(false)
}

/// Whether all that a file holds is how another one begins.
pub(super) fn is_beginning(path: &Path, of: &Path) -> bool {
    let compare = || -> io::Result<bool> {
        let (mut file, mut other) = (File::open(path)?, File::open(of)?);
        let (mut piece, mut same) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
        loop {
            let n = file.read(&mut piece)?;
            if n == 0 {
                return Ok(true);
            }
            match other.read_exact(&mut same[..n]) {
                Ok(()) if same[..n] == piece[..n] => {}
                Ok(()) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    };
    compare().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_rest_of_a_file_is_found_by_what_lies_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        let text: Vec<u8> = (0..9000u32).map(|i| (i * 7 % 251) as u8).collect();
        fs::write(&path, &text).unwrap();
        for (head, last, offset) in [(0, 0, 0), (10, 10, 10), (4096, 64, 4100), (4096, 64, 8000)] {
            let stream =
                behind(&path, &text[..head], offset, &text[offset as usize - last..][..last]);
            let mut rest = Vec::new();
            stream.unwrap().read_to_end(&mut rest).unwrap();
            assert!(rest == text[offset as usize..], "{offset}");
        }
        assert!(behind(&path, b"other", 8000, &text[7990..8000]).is_none());
        assert!(behind(&path, &text[..10], 8000, b"other").is_none());
        assert!(behind(&path, &text[..10], 9001, &text[..10]).is_none());
    }

    #[test]
    fn line_breaks_at_the_end_are_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (text, expected) in [("ab", true), ("ab\r\n\n", true), ("ab\nc", false)] {
            fs::write(&path, text).unwrap();
            assert_eq!(ends(&path, 2), expected, "{text:?}");
        }
    }

    #[test]
    fn a_beginning_is_told_from_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        for (text, other, expected) in
            [("", "x", true), ("x", "xy", true), ("xy", "x", false), ("xz", "xyz", false)]
        {
            fs::write(&a, text).unwrap();
            fs::write(&b, other).unwrap();
            assert_eq!(is_beginning(&a, &b), expected, "{text} {other}");
        }
    }
}
