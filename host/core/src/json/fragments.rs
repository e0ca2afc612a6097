//! New members as text, ready to be appended: made column by column for a whole batch.
//!
//! Most records just get new members of their own. What these have in common, their name, their
//! kind, often their few values, is worked out once a batch and not once a record, and a record
//! then takes a copy a member.

use super::{
    WrittenColumn,
    splice::Targets,
    tree::{NodeId, ROOT},
    write,
};
use crate::{
    column::{Column, Values, Write},
    description::Kind,
};

/// A fragment up to this length is copied without asking how long it is.
const COPIED_BYTES: usize = 32;

/// The members that columns add. Keeps its memory from one batch to the next.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    /// Those of this batch come first.
    columns: Vec<Fragment>,
    /// How many columns there are; nothing where some of them may do more than add a member.
    count: Option<usize>,
}

/// The members that a column adds.
#[derive(Debug, Default)]
struct Fragment {
    target: NodeId,
    /// `,"name":value` for each place or each value, and [`COPIED_BYTES`] more.
    bytes: Vec<u8>,
    /// For each place of the column where its member stands in `bytes`.
    spans: Vec<Span>,
}

/// A stretch of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u32,
    length: u32,
}

impl Span {
    const NOTHING: Span = Span { start: 0, length: 0 };
    /// Something else is to be done than to add a member.
    const OTHER: Span = Span { start: 0, length: u32::MAX };
}

impl Fragments {
    /// Makes those of a batch.
    pub(super) fn fill(&mut self, columns: &[WrittenColumn<'_>], targets: Targets<'_>) {
        self.count = None;
        let mut last = ROOT;
        for written in columns {
            let Some((target, _)) = targets.new_member(written.path) else { return };
            // Members are added in the order of their declaration, each once.
            if target <= last {
                return;
            }
            last = target;
        }
        self.columns.resize_with(columns.len().max(self.columns.len()), Fragment::default);
        for (fragment, written) in self.columns.iter_mut().zip(columns) {
            let Some((target, name)) = targets.new_member(written.path) else { return };
            fragment.fill(target, name, written);
        }
        self.count = Some(columns.len());
    }

    /// Appends the members of a row. False where there is something else to do; then `out` may
    /// have some of them.
    #[inline]
    pub(super) fn push(
        &self,
        columns: &[WrittenColumn<'_>],
        row: usize,
        is_there: impl Fn(NodeId) -> bool,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(count) = self.count else { return false };
        for (fragment, written) in self.columns[..count].iter().zip(columns) {
            let Some(place) = written.place(row) else { continue };
            let Span { start, length } = fragment.spans[place];
            let start = start as usize;
            if length == 0 {
                continue;
            }
            if length == u32::MAX || is_there(fragment.target) {
                return false;
            }
            let length = length as usize;
            if length <= COPIED_BYTES {
                out.extend_from_slice(&fragment.bytes[start..start + COPIED_BYTES]);
                out.truncate(out.len() - COPIED_BYTES + length);
            } else {
                out.extend_from_slice(&fragment.bytes[start..start + length]);
            }
        }
        true
    }
}

impl Fragment {
    fn fill(&mut self, target: NodeId, name: &[u8], written: &WrittenColumn<'_>) {
        self.target = target;
        self.bytes.clear();
        self.spans.clear();
        let WrittenColumn { column, kind, .. } = *written;
        match (&column.values, kind) {
            (Values::Boolean(flags), _) => {
                let [no, yes] = [&b"false"[..], b"true"]
                    .map(|text| self.member(name, |out| out.extend_from_slice(text)));
                self.spans.extend(flags.iter().map(|flag| if *flag == 0 { no } else { yes }));
            }
            // A dictionary with more words than there are rows is not worth being written out.
            (Values::Enumeration(codes), Kind::Enumeration(words))
                if words.len() <= codes.len() =>
            {
                let word = |word: &String| {
                    self.member(name, |out| write::write_string(word.as_bytes(), out))
                };
                let words: Vec<Span> = words.iter().map(word).collect();
                let of_code = |code: &u32| words.get(*code as usize).copied();
                self.spans.extend(codes.iter().map(|code| of_code(code).unwrap_or(Span::OTHER)));
            }
            _ => self.fill_each(name, column, kind),
        }
        self.leave_out(name, &column.presence);
        self.bytes.extend_from_slice(&[0; COPIED_BYTES]);
    }

    /// A member for each place.
    fn fill_each(&mut self, name: &[u8], column: &Column, kind: &Kind) {
        self.spans.reserve(column.values.len());
        self.bytes.reserve(column.values.len() * COPIED_BYTES);
        for place in 0..column.values.len() {
            let start = self.bytes.len();
            let mut has_text = false;
            let span = self.member(name, |out| {
                has_text = write::write_cell(column, kind, place, out);
            });
            if !has_text {
                self.bytes.truncate(start);
            }
            self.spans.push(if has_text { span } else { Span::OTHER });
        }
    }

    /// What does not set its path has another member, or none.
    fn leave_out(&mut self, name: &[u8], presence: &[u8]) {
        if presence.is_empty() {
            return;
        }
        let null = self.member(name, |out| out.extend_from_slice(b"null"));
        for (span, action) in self.spans.iter_mut().zip(presence) {
            *span = match Write::from_byte(*action) {
                Some(Write::Set) => *span,
                Some(Write::Leave) => Span::NOTHING,
                Some(Write::Null) => null,
                Some(Write::Remove) | None => Span::OTHER,
            };
        }
    }

    /// Writes a member out.
    #[inline]
    fn member(&mut self, name: &[u8], value: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.bytes.len();
        self.bytes.push(b',');
        self.bytes.extend_from_slice(name);
        value(&mut self.bytes);
        // A reply is limited far below 4 GiB.
        Span { start: start as u32, length: (self.bytes.len() - start) as u32 }
    }
}
