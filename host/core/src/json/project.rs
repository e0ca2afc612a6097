//! From records to typed columns.

use std::sync::Arc;

use super::{
    DEPTH_MAX, JsonError, Layout, Splicer,
    convert::Conversion,
    fault,
    tokens::{self, Tokens},
    tree::{NodeId, ROOT, Tree},
    walk::{self, Duplicate, Notes, Span},
};
use crate::{
    column::Column,
    description::Kind,
    path::{Path, Segment},
};

/// What a chain reads and writes, made ready for one pass a record. Immutable: all partitions
/// share one.
#[derive(Clone, Debug)]
pub struct Projector {
    plan: Arc<Plan>,
}

/// What a projector and its splicers share.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) tree: Tree,
    reads: Vec<ReadColumn>,
    pub(super) writes: Vec<Target>,
    pub(super) layout: Layout,
    /// The end of each envelope.
    pub(super) envelope_end: Vec<u8>,
    /// Where the fields lie in `{}`: what an envelope's new fields are spliced into.
    pub(super) nothing: Vec<Span>,
}

/// A column that is read.
#[derive(Debug)]
struct ReadColumn {
    node: NodeId,
    kind: Kind,
    conversion: Conversion,
}

/// Where a written path goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// The node that is set.
    pub(super) node: NodeId,
    /// The node that is removed besides it: the record's own, where the layout sets another.
    pub(super) own: Option<NodeId>,
}

/// Reads or writes that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProjection {
    /// The whole record is text, and nothing else.
    #[error("`$` is the whole record, which has kind json, not {0}")]
    RootKind(String),
    /// No record is nested that deeply.
    #[error("`{0}` has more than {DEPTH_MAX} segments")]
    TooDeep(Path),
    /// New objects have members only.
    #[error("`{0}` leads through an array: only the layout `flat` can write it")]
    ElementNeedsFlat(Path),
}

impl Projector {
    /// A projector of these columns, for splicing to these paths in this layout.
    ///
    /// The columns of a [`Projection`] stand in the order of `reads`; the same path may be read
    /// with several kinds. An [`Edit`](super::Edit) names its path by its place in `writes`.
    pub fn new(
        reads: &[(Path, Kind)],
        writes: &[Path],
        layout: Layout,
    ) -> Result<Self, InvalidProjection> {
        let paths = || reads.iter().map(|(path, _)| path).chain(writes);
        if let Some(path) = paths().find(|path| path.0.len() > DEPTH_MAX) {
            return Err(InvalidProjection::TooDeep(path.clone()));
        }
        if let Some((_, kind)) = reads.iter().find(|(p, kind)| p.is_root() && *kind != Kind::Json) {
            return Err(InvalidProjection::RootKind(kind.name().to_owned()));
        }
        let through_array = |path: &&Path| path.0.iter().any(|s| matches!(s, Segment::Index(_)));
        if layout != Layout::Flat
            && let Some(path) = writes.iter().find(through_array)
        {
            return Err(InvalidProjection::ElementNeedsFlat(path.clone()));
        }
        // Targets come first, so that new members are written in the order of their declaration.
        let targets: Vec<Path> = writes.iter().map(|path| layout.target(path)).collect();
        let tree = Tree::new(targets.iter().chain(paths()));
        let node = |path| tree.find(path).expect("the tree was made of these paths");
        let plan = Plan {
            reads: reads
                .iter()
                .map(|(path, kind)| ReadColumn {
                    node: node(path),
                    kind: kind.clone(),
                    conversion: Conversion::new(kind),
                })
                .collect(),
            writes: writes
                .iter()
                .zip(&targets)
                .map(|(path, target)| Target {
                    node: node(target),
                    own: (path != target).then(|| node(path)),
                })
                .collect(),
            nothing: {
                let mut spans = vec![Span::default(); tree.len()];
                spans[ROOT as usize] = Span { member: 0, start: 0, end: 2 };
                spans
            },
            envelope_end: layout.envelope_end(),
            tree,
            layout,
        };
        Ok(Projector { plan: Arc::new(plan) })
    }

    /// An empty projection.
    pub fn projection(&self) -> Projection {
        Projection {
            columns: self.plan.reads.iter().map(|read| Column::empty(&read.kind)).collect(),
            rows: 0,
            nodes_kept: if self.plan.writes.is_empty() { 0 } else { self.plan.tree.len() },
            spans: Vec::new(),
            duplicates: Vec::new(),
            controls: Vec::new(),
            tokens: Tokens::default(),
        }
    }

    /// A splicer for the records of this projector's projections.
    pub fn splicer(&self) -> Splicer {
        Splicer::new(Arc::clone(&self.plan))
    }

    /// Reads a record: appends one row to each column of a projection of this projector. A record
    /// that is no JSON appends nothing.
    pub fn project(&self, record: &[u8], into: &mut Projection) -> Result<(), JsonError> {
        let plan = &*self.plan;
        let nodes = plan.tree.len();
        if into.nodes_kept == 0 {
            into.spans.clear();
            into.duplicates.clear();
        }
        let from = into.spans.len();
        let duplicates = into.duplicates.len();
        into.spans.resize(from + nodes, Span::default());
        let mut notes = Notes {
            spans: &mut into.spans[from..],
            duplicates: &mut into.duplicates,
            row: into.rows,
        };
        if !tokens::index(record, &mut into.tokens)
            || !walk::walk(&into.tokens, &plan.tree, &mut notes)
        {
            into.spans.truncate(from);
            into.duplicates.truncate(duplicates);
            return Err(fault::name(record));
        }
        for (column, read) in into.columns.iter_mut().zip(&plan.reads) {
            let span = into.spans[from + read.node as usize];
            read.conversion.append(column, &into.tokens, span);
        }
        into.controls.push(into.tokens.controls);
        into.rows += 1;
        Ok(())
    }
}

/// The columns of a batch of records, and where in each record the fields lie.
#[derive(Debug)]
pub struct Projection {
    /// One for each read of the projector, in its order. They may be taken out; the next batch
    /// needs [`Projection::clear`] or columns without rows in their place.
    pub columns: Vec<Column>,
    rows: u32,
    /// How many spans there are a row: one a node, or none where nothing is written.
    nodes_kept: usize,
    /// The spans of all rows; of the last one where none are kept.
    spans: Vec<Span>,
    duplicates: Vec<Duplicate>,
    /// Whether a row's record has a control character.
    controls: Vec<bool>,
    tokens: Tokens,
}

impl Projection {
    /// How many records were read.
    pub fn rows(&self) -> usize {
        self.rows as usize
    }

    /// Forgets all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.columns.iter_mut().for_each(Column::clear);
        self.rows = 0;
        self.spans.clear();
        self.duplicates.clear();
        self.controls.clear();
    }

    /// Where the written fields of a row lie, for a splicer of the same projector.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn located(&self, row: usize) -> Located<'_> {
        assert!(row < self.rows(), "the projection has no row {row}");
        let row_id = row as u32;
        let first = self.duplicates.partition_point(|duplicate| duplicate.row < row_id);
        let last = self.duplicates.partition_point(|duplicate| duplicate.row <= row_id);
        Located {
            spans: &self.spans[row * self.nodes_kept..][..self.nodes_kept],
            duplicates: &self.duplicates[first..last],
            controls: self.controls[row],
        }
    }
}

/// Where the written fields of one record lie in its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Located<'a> {
    pub(super) spans: &'a [Span],
    pub(super) duplicates: &'a [Duplicate],
    pub(super) controls: bool,
}

impl Located<'_> {
    /// Whether the record may have a raw CR or LF, which the grammar allows between tokens. Most
    /// records have none, and need not be searched for it.
    pub fn may_break_lines(&self) -> bool {
        self.controls
    }
}
