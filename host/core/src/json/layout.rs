//! How an output record is laid out.

use super::write;
use crate::{
    path::{Path, Segment},
    time::Timestamp,
};

/// How what plugins wrote joins the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Written fields join the record.
    Flat,
    /// Written fields stand under one key of the record, and the record's own stay as they are.
    /// A field that is removed is removed from the record.
    Nested {
        /// The key. The member is created where it is absent, and joined where it is an object.
        key: String,
    },
    /// The original bytes and an object of the written fields, side by side.
    Envelope(Envelope),
}

/// What is the same in all envelopes of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// `metadata.source`: the source's name.
    pub source: String,
    /// `metadata.processing_stage`.
    pub processing_stage: String,
    /// `metadata.version`.
    pub version: String,
}

/// What an envelope says of its record. The other layouts don't read it.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// The record's id.
    pub record_id: &'a str,
    /// The batch time. Its year is in 0 to 9999.
    pub processed: Timestamp,
}

impl Layout {
    /// Whether it needs a [`Stamp`].
    pub fn is_envelope(&self) -> bool {
        matches!(self, Layout::Envelope(_))
    }

    /// What stands behind the timestamp in each envelope; nothing in the other layouts.
    pub(super) fn envelope_end(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Layout::Envelope(Envelope { source, processing_stage, version }) = self {
            out.extend_from_slice(b",\"metadata\":{\"source\":");
            write::write_string(source.as_bytes(), &mut out);
            out.extend_from_slice(b",\"processing_stage\":");
            write::write_string(processing_stage.as_bytes(), &mut out);
            out.extend_from_slice(b",\"version\":");
            write::write_string(version.as_bytes(), &mut out);
            out.extend_from_slice(b"}}");
        }
        out
    }

    /// Where a written path goes in the record.
    pub(super) fn target(&self, path: &Path) -> Path {
        match self {
            Layout::Flat | Layout::Envelope(_) => path.clone(),
            Layout::Nested { key } => {
                let segments = [Segment::Key(key.clone())].into_iter();
                Path(segments.chain(path.0.iter().cloned()).collect())
            }
        }
    }
}
