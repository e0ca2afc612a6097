//! From written values back to bytes: edits are spliced into a record, and everything else of it
//! stays as it is.
//!
//! The rules:
//! - A field that is there is rewritten in place, at its last occurrence. Earlier duplicates of it
//!   and of the objects above it are removed, so that nothing that was redacted stays behind.
//! - A field that is not there joins its parent behind the last member, in the order in which the
//!   paths were declared. Absent parents are created as objects.
//! - A parent that is something else than an object (null included), or an array index out of
//!   range, is a [`WriteConflict`]; so is the removal of an array's element, which would move the
//!   others, and that of the whole record; so is any edit of a record that is no object.
//! - Removing what is not there changes nothing, but still removes duplicates.
//! - Edits apply in their order. An edit of a path makes void all earlier ones at or under it.

use std::{ops::Range, sync::Arc};

use super::{
    Change, Conflict, Edit, Layout, Located, Stamp, WriteConflict, WrittenColumn,
    fragments::Fragments,
    project::Plan,
    tokens::{self, Tokens},
    tree::{NONE, NodeId, ROOT},
    walk::{self, Duplicate, Notes, Span},
    write,
};
use crate::{description::TimestampFormat, path::Segment};

/// Splices edits into records. Keeps its memory from one record to the next.
#[derive(Debug)]
pub struct Splicer {
    plan: Arc<Plan>,
    /// One a node.
    pending: Vec<Pending>,
    /// The nodes whose `pending` is set.
    touched: Vec<NodeId>,
    /// One behind the last of them: written nodes have lower numbers than those only read.
    work_end: NodeId,
    operations: Vec<Operation>,
    removals: Vec<(u32, u32)>,
    fragments: Fragments,
}

/// What is to be done at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Nothing,
    /// There may be something further down.
    Below,
    /// The edit with this index.
    Edit(u32),
}

/// A stretch of the record that something else takes the place of.
#[derive(Clone, Debug)]
struct Operation {
    at: Range<u32>,
    with: With,
}

#[derive(Clone, Copy, Debug)]
enum With {
    Nothing,
    /// The value of an edit.
    Value(u32),
    /// The members that an object lacks.
    Members(NodeId),
}

/// Splices the edits that columns have for each of their rows, in the columns' order.
#[derive(Debug)]
pub struct RowSplicer<'a> {
    splicer: &'a mut Splicer,
    columns: &'a [WrittenColumn<'a>],
}

impl RowSplicer<'_> {
    /// Appends a record with a row's edits to `out`, as [`Splicer::splice`] does.
    pub fn splice(
        &mut self,
        record: &[u8],
        located: Located<'_>,
        row: usize,
        stamp: Stamp<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), WriteConflict> {
        let RowSplicer { splicer, columns } = self;
        let added = match &splicer.plan.layout {
            Layout::Flat | Layout::Nested { .. } => {
                splicer.add_members(record, located, columns, row, out)
            }
            Layout::Envelope(_) => {
                let before = out.len();
                let added = wrap(&splicer.plan, record, stamp, out, |nothing, out| {
                    let added = splicer.add_members(b"{}", nothing, columns, row, out);
                    added.then_some(()).ok_or(())
                });
                if added.is_err() {
                    out.truncate(before);
                }
                added.is_ok()
            }
        };
        if added {
            return Ok(());
        }
        let edits: Vec<_> = columns.iter().filter_map(|column| column.edit(row)).collect();
        splicer.splice(record, located, &edits, stamp, out)
    }
}

/// Where written paths go.
#[derive(Clone, Copy)]
pub(super) struct Targets<'a>(&'a Plan);

impl<'a> Targets<'a> {
    /// The node of a path that is a member of the record itself, and its name with a colon.
    pub(super) fn new_member(self, path: usize) -> Option<(NodeId, &'a [u8])> {
        let target = self.0.writes[path].node;
        let node = self.0.tree.node(target);
        let is_member = node.parent == ROOT && !node.member.is_empty();
        is_member.then_some((target, node.member.as_slice()))
    }
}

impl Splicer {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        Splicer {
            pending: vec![Pending::Nothing; plan.tree.len()],
            touched: Vec::new(),
            work_end: 0,
            operations: Vec::new(),
            removals: Vec::new(),
            fragments: Fragments::default(),
            plan,
        }
    }

    /// Appends the record with its edits to `out`, in the projector's layout. On a conflict `out`
    /// is left as it was.
    ///
    /// `located` is what the same projector found in the same bytes.
    pub fn splice(
        &mut self,
        record: &[u8],
        located: Located<'_>,
        edits: &[Edit<'_>],
        stamp: Stamp<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), WriteConflict> {
        let before = out.len();
        let spliced = match &self.plan.layout {
            Layout::Flat | Layout::Nested { .. } => self.join(record, located, edits, out),
            Layout::Envelope(_) => {
                let plan = Arc::clone(&self.plan);
                wrap(&plan, record, stamp, out, |nothing, out| {
                    self.join(b"{}", nothing, edits, out)
                })
            }
        };
        if spliced.is_err() {
            out.truncate(before);
        }
        spliced
    }

    /// The same for all rows of columns.
    pub fn rows<'a>(&'a mut self, columns: &'a [WrittenColumn<'a>]) -> RowSplicer<'a> {
        self.fragments.fill(columns, Targets(&self.plan));
        RowSplicer { splicer: self, columns }
    }

    /// Appends an object with the new members of a row. False, and nothing done, where other edits
    /// are asked for.
    fn add_members(
        &self,
        record: &[u8],
        located: Located<'_>,
        columns: &[WrittenColumn<'_>],
        row: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        // Where nothing is ever written, nothing is kept of where it would go.
        let Some(root) = located.spans.first() else { return false };
        if !located.duplicates.is_empty() || record[root.start as usize] != b'{' {
            return false;
        }
        let before = out.len();
        let end = before_space(record, root.end as usize - 1);
        out.extend_from_slice(&record[..end]);
        let members = out.len();
        let is_there = |node: NodeId| located.spans[node as usize].is_found();
        if !self.fragments.push(columns, row, is_there, out) {
            out.truncate(before);
            return false;
        }
        // Each begins with a comma, and the first of all members has none.
        if record[end - 1] == b'{' && out.len() > members {
            out.remove(members);
        }
        out.extend_from_slice(&record[end..]);
        true
    }

    /// Appends the record with its edits joined to it.
    fn join(
        &mut self,
        record: &[u8],
        located: Located<'_>,
        edits: &[Edit<'_>],
        out: &mut Vec<u8>,
    ) -> Result<(), WriteConflict> {
        if edits.is_empty() {
            out.extend_from_slice(record);
            return Ok(());
        }
        let scheduled = self.schedule(edits);
        if scheduled < edits.len() {
            let effective = self.effective(edits);
            if effective.len() < edits.len() {
                self.reset();
                return self.join(record, located, &effective, out);
            }
        }
        let (now, later) = edits.split_at(scheduled);
        let mut job = Job { splicer: self, record, located, edits: now };
        let planned = job.plan();
        if planned.is_ok() && later.is_empty() {
            job.emit(out);
        }
        let staged = (planned.is_ok() && !later.is_empty()).then(|| {
            let mut text = Vec::new();
            job.emit(&mut text);
            text
        });
        self.reset();
        planned?;
        match staged {
            // An edit under an earlier one: what that wrote has to be read first.
            Some(text) => self.join_again(&text, later, out),
            None => Ok(()),
        }
    }

    /// Joins edits to a text that earlier edits of the same record made.
    #[cold]
    fn join_again(
        &mut self,
        text: &[u8],
        edits: &[Edit<'_>],
        out: &mut Vec<u8>,
    ) -> Result<(), WriteConflict> {
        let plan = Arc::clone(&self.plan);
        let mut tokens = Tokens::default();
        let mut spans = vec![Span::default(); plan.tree.len()];
        let mut duplicates: Vec<Duplicate> = Vec::new();
        let mut notes = Notes { spans: &mut spans, duplicates: &mut duplicates, row: 0 };
        if !tokens::index(text, &mut tokens) || !walk::walk(&tokens, &plan.tree, &mut notes) {
            let path = plan.tree.path(plan.writes[edits[0].path].node);
            return Err(WriteConflict { path, reason: Conflict::InvalidJson });
        }
        let located = Located { spans: &spans, duplicates: &duplicates, controls: tokens.controls };
        self.join(text, located, edits, out)
    }

    /// Notes at the nodes what is to be done there. Stops before the first edit that lies under
    /// an earlier one, and says how many edits are before it.
    fn schedule(&mut self, edits: &[Edit<'_>]) -> usize {
        for (i, edit) in edits.iter().enumerate() {
            let target = self.plan.writes[edit.path];
            let removed = matches!(edit.change, Change::Remove).then_some(target.own).flatten();
            let nodes = [Some(target.node), removed];
            if nodes.iter().flatten().any(|node| self.is_under_an_edit(*node)) {
                return i;
            }
            for node in nodes.into_iter().flatten() {
                let below = node as usize + 1..self.plan.tree.node(node).end as usize;
                self.pending[below].fill(Pending::Nothing);
                self.set(node, Pending::Edit(i as u32));
                let mut above = self.plan.tree.node(node).parent;
                while above != NONE && self.pending[above as usize] == Pending::Nothing {
                    self.set(above, Pending::Below);
                    above = self.plan.tree.node(above).parent;
                }
            }
        }
        edits.len()
    }

    /// The edits without those that a later one makes void.
    #[cold]
    fn effective<'e>(&self, edits: &[Edit<'e>]) -> Vec<Edit<'e>> {
        let node = |edit: &Edit<'_>| self.plan.writes[edit.path].node;
        let voids = |later: &Edit<'_>, edit: &Edit<'_>| {
            let above = node(later);
            (above..self.plan.tree.node(above).end).contains(&node(edit))
        };
        let is_effective = |i: &usize| !edits[*i + 1..].iter().any(|e| voids(e, &edits[*i]));
        (0..edits.len()).filter(is_effective).map(|i| edits[i]).collect()
    }

    fn set(&mut self, node: NodeId, pending: Pending) {
        self.pending[node as usize] = pending;
        self.touched.push(node);
        self.work_end = self.work_end.max(node + 1);
    }

    /// One behind the last node at or under `node` that may have something pending.
    fn end_of_work(&self, node: NodeId) -> NodeId {
        self.plan.tree.node(node).end.min(self.work_end)
    }

    fn is_under_an_edit(&self, mut node: NodeId) -> bool {
        while node != ROOT {
            node = self.plan.tree.node(node).parent;
            if matches!(self.pending[node as usize], Pending::Edit(_)) {
                return true;
            }
        }
        false
    }

    fn reset(&mut self) {
        for node in self.touched.drain(..) {
            self.pending[node as usize] = Pending::Nothing;
        }
        self.work_end = 0;
        self.operations.clear();
        self.removals.clear();
    }
}

/// Appends an envelope: the record, an object that `enriched` appends, and a stamp.
fn wrap<E>(
    plan: &Plan,
    record: &[u8],
    stamp: Stamp<'_>,
    out: &mut Vec<u8>,
    enriched: impl FnOnce(Located<'_>, &mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    out.extend_from_slice(b"{\"original_data\":");
    out.extend_from_slice(record);
    out.extend_from_slice(b",\"enriched_data\":");
    enriched(Located { spans: &plan.nothing, duplicates: &[], controls: false }, out)?;
    out.extend_from_slice(b",\"record_id\":");
    write::write_string(stamp.record_id.as_bytes(), out);
    out.extend_from_slice(b",\"processed_timestamp\":");
    write::write_timestamp(stamp.processed.0, TimestampFormat::Rfc3339, out);
    out.extend_from_slice(&plan.envelope_end);
    Ok(())
}

/// The splicing of one record.
struct Job<'a> {
    splicer: &'a mut Splicer,
    record: &'a [u8],
    located: Located<'a>,
    edits: &'a [Edit<'a>],
}

impl Job<'_> {
    /// Works out the operations, in order.
    fn plan(&mut self) -> Result<(), WriteConflict> {
        let root = self.located.spans[ROOT as usize];
        match self.splicer.pending[ROOT as usize] {
            Pending::Edit(edit) => {
                let change = &self.edits[edit as usize].change;
                if *change == Change::Remove {
                    return Err(self.conflict(ROOT, Conflict::RemovesRecord));
                }
                self.check(ROOT, change)?;
                self.push(root.start..root.end, With::Value(edit));
            }
            _ if self.record[root.start as usize] == b'{' => self.plan_object(ROOT)?,
            _ => {
                let pending = &self.splicer.pending;
                let edited = pending.iter().position(|p| matches!(p, Pending::Edit(_)));
                let node = edited.map_or(ROOT, |node| node as NodeId);
                return Err(self.conflict(node, Conflict::NotAnObject));
            }
        }
        self.plan_removals();
        self.splicer.operations.sort_unstable_by_key(|operation| operation.at.start);
        Ok(())
    }

    /// Plans the children of a node whose value is an object.
    fn plan_object(&mut self, node: NodeId) -> Result<(), WriteConflict> {
        if self.plan_children(node, true)? {
            let last = self.located.spans[node as usize].end as usize - 1;
            let at = before_space(self.record, last) as u32;
            self.push(at..at, With::Members(node));
        }
        Ok(())
    }

    /// Plans the children of a node whose value is an object or array. Says whether members have
    /// to be added.
    fn plan_children(&mut self, node: NodeId, of_object: bool) -> Result<bool, WriteConflict> {
        let mut lacking = false;
        let mut child = node + 1;
        while child < self.splicer.end_of_work(node) {
            lacking |= self.plan_child(child, of_object)?;
            child = self.splicer.plan.tree.node(child).end;
        }
        Ok(lacking)
    }

    /// Plans a child of an object or array. Says whether it is a member that has to be added.
    fn plan_child(&mut self, node: NodeId, of_object: bool) -> Result<bool, WriteConflict> {
        let pending = self.splicer.pending[node as usize];
        if pending == Pending::Nothing {
            return Ok(false);
        }
        let span = self.located.spans[node as usize];
        self.remove_duplicates(node);
        let is_key = matches!(self.splicer.plan.tree.node(node).segment, Segment::Key(_));
        match pending {
            Pending::Edit(edit) if span.is_found() => {
                let change = &self.edits[edit as usize].change;
                match change {
                    Change::Remove if is_key => {
                        self.splicer.removals.push((span.member, span.end));
                    }
                    Change::Remove => return Err(self.conflict(node, Conflict::RemovesElement)),
                    change => {
                        self.check(node, change)?;
                        self.push(span.start..span.end, With::Value(edit));
                    }
                }
                return Ok(false);
            }
            _ if span.is_found() => match self.record[span.start as usize] {
                b'{' => return self.plan_object(node).map(|()| false),
                b'[' => return self.plan_children(node, false).map(|_| false),
                _ => {}
            },
            _ => {}
        }
        // It is not there, or what is there can't have anything under it.
        let Some(set) = self.first_set(node) else { return Ok(false) };
        let reason = match (span.is_found(), of_object, is_key) {
            (true, ..) => Conflict::ParentType,
            (false, true, true) => return self.check_new(node).map(|()| true),
            (false, false, false) => Conflict::IndexOutOfRange,
            (false, ..) => Conflict::ParentType,
        };
        Err(self.conflict(set, reason))
    }

    /// Checks what is to be written at and under a node that is not there.
    fn check_new(&self, node: NodeId) -> Result<(), WriteConflict> {
        let tree = &self.splicer.plan.tree;
        for below in node..self.splicer.end_of_work(node) {
            let Pending::Edit(edit) = self.splicer.pending[below as usize] else { continue };
            let change = &self.edits[edit as usize].change;
            if *change == Change::Remove {
                continue;
            }
            self.check(below, change)?;
            let mut above = below;
            while above != node {
                if matches!(tree.node(above).segment, Segment::Index(_)) {
                    return Err(self.conflict(below, Conflict::IndexOutOfRange));
                }
                above = tree.node(above).parent;
            }
        }
        Ok(())
    }

    fn check(&self, node: NodeId, change: &Change<'_>) -> Result<(), WriteConflict> {
        match change.conflict() {
            Some(reason) => Err(self.conflict(node, reason)),
            None => Ok(()),
        }
    }

    fn conflict(&self, node: NodeId, reason: Conflict) -> WriteConflict {
        WriteConflict { path: self.splicer.plan.tree.path(node), reason }
    }

    /// The first node at or under `node` that an edit gives a value or null.
    fn first_set(&self, node: NodeId) -> Option<NodeId> {
        (node..self.splicer.end_of_work(node)).find(|below| {
            match self.splicer.pending[*below as usize] {
                Pending::Edit(edit) => self.edits[edit as usize].change != Change::Remove,
                _ => false,
            }
        })
    }

    fn push(&mut self, at: Range<u32>, with: With) {
        self.splicer.operations.push(Operation { at, with });
    }

    fn remove_duplicates(&mut self, node: NodeId) {
        let duplicates = self.located.duplicates.iter().filter(|d| d.node == node);
        self.splicer.removals.extend(duplicates.map(|d| (d.member, d.end)));
    }

    /// Turns the members that are to be removed into operations that leave the right commas.
    fn plan_removals(&mut self) {
        if self.splicer.removals.is_empty() {
            return;
        }
        let mut removals = std::mem::take(&mut self.splicer.removals);
        // Outer ones first, so that what lies inside them can be passed over.
        removals.sort_unstable_by_key(|(start, end)| (*start, std::cmp::Reverse(*end)));
        let mut next = 0;
        while next < removals.len() {
            let (first, mut end) = removals[next];
            next += 1;
            // Neighbours go in one stretch; `behind` is where the next member begins, if any.
            let mut behind = self.next_member(end as usize);
            while let Some((start, its_end)) = removals.get(next) {
                if *start >= end && behind != Some(*start as usize) {
                    break;
                }
                if *start >= end {
                    end = *its_end;
                    behind = self.next_member(end as usize);
                }
                next += 1;
            }
            let at = match behind {
                Some(behind) => first..behind as u32,
                None => self.previous_end(first as usize) as u32..end,
            };
            self.push(at, With::Nothing);
        }
        self.splicer.removals = removals;
    }

    /// Where the member behind the value that ends at `end` begins, if it is not the last.
    fn next_member(&self, end: usize) -> Option<usize> {
        let comma = self.behind_space(end);
        (self.record[comma] == b',').then(|| self.behind_space(comma + 1))
    }

    /// Where the value before the member at `start` ends; `start` itself if it is the first.
    fn previous_end(&self, start: usize) -> usize {
        let before = before_space(self.record, start);
        if self.record[before - 1] == b',' { before_space(self.record, before - 1) } else { start }
    }

    fn behind_space(&self, mut at: usize) -> usize {
        while matches!(self.record[at], b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }

    /// Appends the record with its operations.
    fn emit(&mut self, out: &mut Vec<u8>) {
        let mut copied = 0;
        let mut last_removal = 0..0;
        for operation in &self.splicer.operations {
            let (start, end) = (operation.at.start as usize, operation.at.end as usize);
            out.extend_from_slice(&self.record[copied..start]);
            copied = end;
            match operation.with {
                With::Nothing => last_removal = start..end,
                With::Value(edit) => self.edits[edit as usize].change.write(out),
                With::Members(node) => {
                    // The first byte before this place that stays says whether a member stays.
                    let stays = if last_removal.end == start && !last_removal.is_empty() {
                        before_space(self.record, last_removal.start)
                    } else {
                        start
                    };
                    self.write_members(node, self.record[stays - 1] == b'{', out);
                }
            }
        }
        out.extend_from_slice(&self.record[copied..]);
    }

    /// Appends the members that the object at a node lacks, each behind a comma except maybe the
    /// first.
    fn write_members(&self, node: NodeId, mut first: bool, out: &mut Vec<u8>) {
        let tree = &self.splicer.plan.tree;
        let work_end = self.splicer.work_end;
        for child in tree.children(node).take_while(|child| *child < work_end) {
            let pending = self.splicer.pending[child as usize];
            let there = self.located.spans[child as usize].is_found();
            let written = match pending {
                Pending::Nothing => false,
                Pending::Edit(edit) => self.edits[edit as usize].change != Change::Remove,
                Pending::Below => self.first_set(child).is_some(),
            };
            if there || !written {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.extend_from_slice(&tree.node(child).member);
            match pending {
                Pending::Edit(edit) => self.edits[edit as usize].change.write(out),
                _ => {
                    out.push(b'{');
                    self.write_members(child, true, out);
                    out.push(b'}');
                }
            }
        }
    }
}

/// The first place such that only white space lies between it and `at`.
fn before_space(record: &[u8], mut at: usize) -> usize {
    while matches!(record[at - 1], b' ' | b'\t' | b'\n' | b'\r') {
        at -= 1;
    }
    at
}
