//! Whether a plugin is pure: its batch is run again, cut otherwise, on fresh instances, and the
//! replies are held against each other.
//!
//! Which batches are taken depends on the range's and the batch's number only, so that a replay
//! takes the same.

use tidegate_core::{
    Column, Write,
    source::PartitionId,
    transform::{Breach, Reply, Verdict},
};

use crate::{
    chain::{
        cells,
        parts::{Input, Parts, Slice},
    },
    plan::{Purity, StagePlan},
};

/// Into so many calls a batch is cut at most.
const CALLS_MAX: usize = 16;

/// Whether a batch is one of those that are run again.
pub(crate) fn is_sampled(
    purity: Purity,
    partition: &PartitionId,
    range: u64,
    batch: u64,
    stage: usize,
) -> bool {
    match purity {
        Purity::Off => false,
        Purity::Always => true,
        Purity::Sample { one_in } => {
            let mut seed = partition.0.as_bytes().to_vec();
            seed.extend_from_slice(&range.to_le_bytes());
            seed.extend_from_slice(&batch.to_le_bytes());
            seed.extend_from_slice(&(stage as u64).to_le_bytes());
            xxhash_rust::xxh3::xxh3_64(&seed).is_multiple_of(u64::from(one_in.max(1)))
        }
    }
}

/// Runs a batch again in parts, each on a fresh instance. Says how the reply differs from the one
/// to the whole batch, if it does; nothing where the machine was too busy to tell.
pub(crate) fn difference(stage: &StagePlan, input: &Input<'_>, whole: &Reply) -> Option<String> {
    let halves = input.rows.div_ceil(2).max(1);
    // A fresh instance for each call costs more than what it does for its rows.
    let few = input.rows.div_ceil(CALLS_MAX).max(if input.rows <= 16 { 1 } else { 7 });
    for size in [halves, few] {
        match rerun(stage, input, size) {
            Ok(parts) => {
                if let Some(what) = compare(stage, input, whole, &parts) {
                    return Some(format!(
                        "in calls of {size} rows rather than {}, {what}",
                        input.rows
                    ));
                }
            }
            Err(Some(code)) => {
                return Some(format!(
                    "calls of {size} rows fail, {code}; one of {} does not",
                    input.rows
                ));
            }
            Err(None) => return None,
        }
    }
    None
}

/// The reply to the whole input out of parts; or the code of a failure, or nothing where that is
/// the machine's fault.
fn rerun(stage: &StagePlan, input: &Input<'_>, size: usize) -> Result<Reply, Option<&'static str>> {
    let description = &stage.plugin().description;
    let mut parts = Parts::default();
    let mut start = 0;
    while start < input.rows {
        let end = input.rows.min(start + size);
        let slice = Slice::of(input, description, &parts.carried, start, end);
        let mut instance = stage.factory.instantiate().map_err(|_| None)?;
        match slice.with_batch(input, end - start, |batch| instance.transform(batch)) {
            Ok(reply) => parts.push(&slice, start, end, reply),
            Err(error)
                if matches!(error.breach, Breach::Time | Breach::Exhausted | Breach::Blocked) =>
            {
                return Err(None);
            }
            Err(error) => return Err(Some(error.breach.code())),
        }
        start = end;
    }
    Ok(parts.merge(description, input.rows))
}

/// Where two replies to the same rows differ in what they mean.
fn compare(stage: &StagePlan, input: &Input<'_>, a: &Reply, b: &Reply) -> Option<String> {
    let rows = input.rows;
    if let Some(row) = (0..rows).find(|row| a.verdict(*row) != b.verdict(*row)) {
        return Some(format!("the verdict on row {row} differs"));
    }
    // The slots of rows that go nowhere hold whatever the guest left there.
    let lives = |reply: &Reply, slot: usize| {
        let row = reply.parents.get(slot).map_or(slot, |parent| *parent as usize);
        (reply.verdict(row) == Verdict::Emit).then_some(row)
    };
    let slots = |reply: &Reply| if reply.parents.is_empty() { rows } else { reply.parents.len() };
    let outputs = |reply: &Reply| -> Vec<(usize, usize)> {
        (0..slots(reply)).filter_map(|slot| Some((lives(reply, slot)?, slot))).collect()
    };
    let (of_a, of_b) = (outputs(a), outputs(b));
    if of_a.len() != of_b.len() || of_a.iter().zip(&of_b).any(|(a, b)| a.0 != b.0) {
        return Some("rows have other children".to_owned());
    }
    let columns = a.columns.iter().zip(&b.columns).zip(&stage.plugin().description.writes);
    for ((column_a, column_b), written) in columns {
        let differs =
            |(a, b): &(&(usize, usize), &(usize, usize))| !same(column_a, a.1, column_b, b.1);
        if let Some((at, _)) = of_a.iter().zip(&of_b).find(differs) {
            return Some(format!("`{}` of row {} differs", written.path, at.0));
        }
    }
    if findings(a) != findings(b) {
        return Some("the findings differ".to_owned());
    }
    (states(input, a) != states(input, b)).then(|| "the states differ".to_owned())
}

fn same(a: &Column, i: usize, b: &Column, j: usize) -> bool {
    let (of_a, of_b) = (a.presence_of(i), b.presence_of(j));
    of_a == of_b && (of_a != Write::Set as u8 || cells::same_value(a, i, b, j))
}

/// Findings by row; those of one row in their order, since the first names the rule.
fn findings(reply: &Reply) -> Vec<(u32, u32, &[u8])> {
    let all = &reply.findings;
    let detail = |i: usize| if all.details.is_empty() { &[][..] } else { all.details.get(i) };
    let mut list: Vec<_> =
        (0..all.rows.len()).map(|i| (all.rows[i], all.rules[i], detail(i))).collect();
    list.sort_by_key(|finding| finding.0);
    list
}

/// The states that a reply leaves behind, one a key.
fn states<'a>(input: &'a Input<'_>, reply: &'a Reply) -> Vec<&'a [u8]> {
    let before = &input.states.values;
    let mut states: Vec<&[u8]> = (0..before.len()).map(|key| before.get(key)).collect();
    for (i, key) in reply.states.keys.iter().enumerate() {
        states[*key as usize] = reply.states.values.get(i);
    }
    states
}
