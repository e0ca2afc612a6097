//! A table as JSON Lines: a row a line.

use std::io::Read;

use memchr::memchr;

use super::{ROW_BYTES_MAX, TableError, intake::Intake};
use crate::sources::chunks::ChunkLoader;

/// Takes all rows of a stream. Lines with nothing on them are passed over.
pub(super) fn read(stream: Box<dyn Read + Send>, mut intake: Intake) -> Result<Intake, TableError> {
    let mut chunks = ChunkLoader::new(stream, 0, ROW_BYTES_MAX, false);
    let mut line_number = 0;
    while let Some(chunk) = chunks.chunk()? {
        if chunk.cut_off.is_some() {
            line_number += 1;
            intake.fault(line_number, &format!("it is longer than {ROW_BYTES_MAX} bytes"));
            continue;
        }
        let mut rest = &chunk.bytes[..];
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).map_or(rest.len(), |line_feed| line_feed + 1);
            let (line, behind) = rest.split_at(end);
            rest = behind;
            line_number += 1;
            let line = line.trim_ascii();
            if !line.is_empty() {
                intake.take(line, line_number)?;
            }
        }
        chunks.take_back(chunk.bytes);
    }
    Ok(intake)
}
