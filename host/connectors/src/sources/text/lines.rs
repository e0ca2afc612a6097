//! Lines into records, a chunk of them at a time. Blocking; runs off the tasks' threads.

use std::{io, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};

use super::{TextForm, TextFormat};
use crate::sources::{
    chunks::{Chunk, ChunkLoader},
    files::SourceFile,
    fingerprint::tail,
    lines::Loader,
    progress::LineProgress,
    records::{Buffers, Fault, TABLE_BYTES, Table},
};

/// Reads the lines of a file.
pub(in crate::sources) struct TextLines {
    file: Arc<SourceFile>,
    chunks: ChunkLoader,
    format: Arc<TextFormat>,
    progress: LineProgress,
    buffers: Buffers,
}

impl TextLines {
    /// Reads chunks whose first byte stands at an offset, at the start of a line.
    pub(super) fn new(
        chunks: ChunkLoader,
        format: Arc<TextFormat>,
        file: Arc<SourceFile>,
        offset: u64,
    ) -> Self {
        TextLines {
            chunks,
            format,
            progress: LineProgress::new(file.clone(), offset),
            file,
            buffers: Buffers::default(),
        }
    }

    fn records(&mut self, chunk: &Chunk) -> io::Result<Table> {
        let mut table = Table::default();
        let mut output = self.buffers.take();
        output.reserve(TABLE_BYTES * 9 / 8);
        let encoding = self.format.encoding;
        let limits = self.file.limits;
        let mut done = if chunk.offset == 0 { encoding.mark(&chunk.bytes) } else { 0 };
        if let Some(cut_off) = chunk.cut_off {
            output.extend_from_slice(&chunk.bytes[done..]);
            let fault = limits.defect(0, cut_off.line_bytes, output.len());
            let line = self.progress.line_number()?;
            let fault = fault.map(|it| Fault::new(it.code, format!("line {line}: {}", it.message)));
            table.push(0, output.len(), (cut_off.end, None), fault);
            self.progress.pass(1);
            done = chunk.bytes.len();
        }
        let width = encoding.line_feed().bytes().len();
        while done < chunk.bytes.len() {
            let rest = &chunk.bytes[done..];
            let (line, end) = match encoding.line_feed().end_of_first(rest) {
                Some(end) => (&rest[..end - width], end),
                None => (rest, rest.len()),
            };
            let start = output.len();
            let mut fault = match self.write(line, &mut output) {
                Written::Nothing => {
                    done += end;
                    self.progress.pass(1);
                    continue;
                }
                Written::Record => {
                    let bytes = output.len() - start;
                    limits.defect(0, bytes as u64, bytes).map(|it| Fault::new(it.code, it.message))
                }
                Written::Bad(fault) => Some(fault),
            };
            if let Some(fault) = &mut fault {
                output.truncate(start);
                output.extend_from_slice(&line[..line.len().min(limits.payload_bytes_max)]);
                fault.message = format!("line {}: {}", self.progress.line_number()?, fault.message);
            }
            let offset = chunk.offset + (done + end) as u64;
            // One that no chunk might hold has none.
            let known = line.len() <= limits.payload_bytes_max;
            let tail = known.then(|| tail(&rest[..end]));
            table.push(start, output.len(), (offset, tail), fault);
            done += end;
            self.progress.pass(1);
        }
        table.bytes = output.freeze();
        table.head = self.progress.head();
        Ok(table)
    }

    /// Makes a record of a line.
    fn write(&self, line: &[u8], output: &mut BytesMut) -> Written {
        let limits = &self.file.limits;
        if line.len() > limits.record_bytes_max {
            let kept = line.len().min(limits.payload_bytes_max);
            let fault = limits.defect(0, line.len() as u64, kept);
            return fault
                .map_or(Written::Nothing, |it| Written::Bad(Fault::new(it.code, it.message)));
        }
        let Some(text) = self.format.encoding.decode(line) else {
            return Written::Bad(self.format.encoding.fault());
        };
        let text = text.strip_suffix('\r').unwrap_or(&text);
        // A line without anything on it is no record.
        if text.is_empty() {
            return Written::Nothing;
        }
        match &self.format.form {
            TextForm::Json => output.put_slice(text.as_bytes()),
            #[cfg(feature = "text")]
            TextForm::Fields(pattern) => {
                if let Err(fault) = pattern.write(text, output) {
                    return Written::Bad(fault);
                }
            }
        }
        Written::Record
    }
}

/// What came of a line.
enum Written {
    Record,
    Nothing,
    Bad(Fault),
}

impl Loader for TextLines {
    type Piece = Table;

    fn load(&mut self) -> io::Result<Option<Table>> {
        loop {
            let Some(chunk) = self.chunks.chunk()? else { return Ok(None) };
            self.progress.read(&chunk);
            let table = self.records(&chunk)?;
            self.chunks.take_back(chunk.bytes);
            if !table.is_empty() {
                return Ok(Some(table));
            }
        }
    }

    fn retire(&mut self, bytes: Bytes) {
        self.buffers.give(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use tidegate_core::source::ReadLimit;

    use super::*;
    use crate::sources::{
        compression::Compression,
        encoding::TextEncoding,
        lines::{LineLimits, Piece},
    };

    /// A stream that is cut at random places, and has nothing for now at some of them.
    struct Cut(Vec<u8>, usize, ChaCha8Rng);

    impl Read for Cut {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.2.random_range(0..3) == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let most = buffer.len().min(self.0.len() - self.1);
            let n = self.2.random_range(0..20).max(1).min(most);
            buffer[..n].copy_from_slice(&self.0[self.1..self.1 + n]);
            self.1 += n;
            Ok(n)
        }
    }

    /// All records with their positions and defects, however the bytes come.
    fn read(
        bytes: &[u8],
        encoding: TextEncoding,
        seed: u64,
    ) -> Vec<(Vec<u8>, u64, Option<String>)> {
        let limits = LineLimits { record_bytes_max: 30, payload_bytes_max: 50 };
        let file = Arc::new(SourceFile::at("none".into(), Compression::Plain, limits));
        let stream = Cut(bytes.to_vec(), 0, ChaCha8Rng::seed_from_u64(seed));
        let chunks = ChunkLoader::new(Box::new(stream), 0, 50, seed.is_multiple_of(2));
        let chunks = chunks.with_line_feed(encoding.line_feed());
        let format = Arc::new(TextFormat { encoding, form: TextForm::Json });
        let mut lines = TextLines::new(chunks, format, file, 0);
        let limit = ReadLimit { records_max: usize::MAX, bytes_max: usize::MAX, until: None };
        let mut all = Vec::new();
        loop {
            match lines.load() {
                Ok(Some(mut table)) => {
                    let batch = table.split(&limit, u64::MAX, &limits).batch;
                    for row in 0..batch.len() {
                        let defect = batch.defects.iter().find(|it| it.row as usize == row);
                        let position = batch.positions[row].offset();
                        let said = defect.map(|it| format!("{} {}", it.code, it.message));
                        all.push((batch.record(row).to_vec(), position, said));
                    }
                }
                Ok(None) => return all,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }

    #[test]
    fn however_the_bytes_come_the_records_are_the_same() {
        for name in ["utf-8", "utf-16le", "utf-16be", "windows-1252"] {
            let encoding = TextEncoding::named(name).unwrap();
            let long = "long ".repeat(30);
            let text =
                format!("\u{feff}a\n\r\nb\u{a0a}\u{e9}\r\n{long}\nsome of twenty or so\n{long}");
            let bytes: Vec<u8> = match name {
                "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                "utf-16be" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
                _ => text.into_bytes(),
            };
            let expected = read(&bytes, encoding, 0);
            assert_eq!(expected.len(), 5, "{name} {expected:?}");
            for seed in 1..200 {
                assert_eq!(read(&bytes, encoding, seed), expected, "{name}, seed {seed}");
            }
        }
    }
}
