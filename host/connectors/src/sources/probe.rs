//! Probes of files: which there are, and what the first records of one are.

use serde::de::IgnoredAny;
use tidegate_core::{
    Source,
    source::{PartitionId, ReadLimit, ReadOutcome, SourceError, SourceErrorKind},
};

use crate::probe::{
    Answer,
    ProbeLevel::{Connect, Read},
    Probed, Probes, Probing, Unproven, given, in_full,
};

/// Enough to see whether the format is right.
const RECORDS: ReadLimit = ReadLimit { records_max: 100, bytes_max: 1 << 20, until: None };

/// What of a source works from here that can be read without taking anything from anybody, each
/// partition from its start. `waits` says whether partitions may come that are not there yet.
pub async fn probe_files(source: &dyn Source, waits: bool, probing: Probing) -> Vec<Probed> {
    let mut probes = Probes::new(probing);
    let first = probes.ask(Connect, "list files", source.name(), list(source, waits)).await;
    let place = first.as_ref().map_or(source.name().to_owned(), ToString::to_string);
    probes.ask(Read, "read file", place, read(source, first)).await;
    probes.found()
}

async fn list(source: &dyn Source, waits: bool) -> Answer<PartitionId> {
    let listed = source.partitions().await.map_err(|error| match waits {
        true => Unproven::unknown(format!("{}: it may come", in_full(&error))),
        false => failed(&error),
    })?;
    let count = listed.len();
    let first = listed.into_iter().next().map(|it| it.id);
    let none = "no file is there that a pattern names";
    let first = first.ok_or_else(|| Unproven::unknown(none))?;
    let plural = if count == 1 { "" } else { "s" };
    Ok((first, format!("{count} file{plural}")))
}

async fn read(source: &dyn Source, first: Option<PartitionId>) -> Answer<()> {
    let first = given(first, "list files")?;
    let mut reader = source.open(&first, None).await.map_err(|error| failed(&error))?;
    let batch = match reader.read(RECORDS).await.map_err(|error| failed(&error))? {
        ReadOutcome::Records(batch) => batch,
        ReadOutcome::Idle | ReadOutcome::Ended => {
            return Ok(((), "it can be read, and has no records".to_owned()));
        }
    };
    let defect = |row: usize| batch.defects.iter().find(|it| it.row as usize == row);
    let is_record = |row: &usize| {
        defect(*row).is_none() && serde_json::from_slice::<IgnoredAny>(batch.record(*row)).is_ok()
    };
    let (all, right) = (batch.len(), (0..batch.len()).filter(is_record).count());
    if right == 0 {
        let code = batch.defects.first().map_or("they are no JSON", |it| it.code);
        let why = format!("none of the first {all} records can be read as the config says: {code}");
        return Err(Unproven::failed(
            why,
            "each would be a dead letter: correct the source's format",
        ));
    }
    let wrong = match all - right {
        0 => String::new(),
        wrong => format!(", {wrong} of them would be dead letters"),
    };
    Ok(((), format!("the first {all} records{wrong}")))
}

fn failed(error: &SourceError) -> Unproven {
    let hint = match error.kind {
        SourceErrorKind::Unavailable => "correct the path, or let the program's user read it",
        _ => "correct the path or the source's format",
    };
    Unproven::failed(in_full(error), hint)
}
