//! Findings, by row: what dead letters say of their record.

use tidegate_core::transform::{Findings, Reply};

use crate::{
    dead_letter::{Letter, Note, scrub},
    plan::StagePlan,
};

/// The findings of a reply in the order of their rows; those of one row as the plugin gave them.
/// Made for the first letter of a batch: most batches have none.
#[derive(Debug)]
pub(crate) struct ByRow {
    order: Vec<u32>,
}

impl ByRow {
    pub(crate) fn of(findings: &Findings) -> Self {
        let mut order: Vec<u32> = (0..findings.rows.len() as u32).collect();
        order.sort_by_key(|finding| findings.rows[*finding as usize]);
        ByRow { order }
    }

    /// The findings on one of the rows that the plugin was called with, as notes.
    pub(crate) fn notes(&self, reply: &Reply, row: u32, stage: &StagePlan) -> Vec<Note> {
        self.row(&reply.findings, row).iter().map(|i| note(reply, *i as usize, stage)).collect()
    }

    /// The letter of a row that the plugin rejected. Such a row names its rule: its first finding.
    pub(crate) fn rejection(&self, reply: &Reply, row: u32, stage: &StagePlan) -> Letter {
        let first = self.row(&reply.findings, row).first();
        let rules = &stage.plugin().description.rules;
        let rule = first.map(|i| &rules[reply.findings.rules[*i as usize] as usize]);
        Letter {
            message: rule.map(|rule| rule.text.clone()).unwrap_or_default(),
            rule: rule.map(|rule| rule.id.clone()),
            ..Letter::new(0, &stage.letter_stage(), stage.on_reject.class(), "rejected")
        }
    }

    fn row(&self, findings: &Findings, row: u32) -> &[u32] {
        let first = self.order.partition_point(|i| findings.rows[*i as usize] < row);
        let end = self.order.partition_point(|i| findings.rows[*i as usize] <= row);
        &self.order[first..end]
    }
}

fn note(reply: &Reply, finding: usize, stage: &StagePlan) -> Note {
    let findings = &reply.findings;
    let rule = &stage.plugin().description.rules[findings.rules[finding] as usize];
    let detail = match findings.details.is_empty() {
        true => String::new(),
        false => String::from_utf8_lossy(findings.details.get(finding)).into_owned(),
    };
    Note {
        stage: stage.name.to_string(),
        rule: rule.id.clone(),
        dimension: rule.dimension,
        severity: rule.severity,
        field: rule.field.clone(),
        text: rule.text.clone(),
        detail: scrub(&detail),
    }
}
