//! A plugin whose reply depends on more than the rows is found out, by rerunning its batches.

use std::sync::Arc;

use tidegate_core::{Kind, Reply};
use tidegate_pipeline::{RangeOutput, plan::Purity};

use crate::{
    plugins::{Scripted, description, doubling, integer, integers},
    support::{batches, numbers, plan, run, spec},
};

fn checked(plugin: Scripted, purity: Purity) -> RangeOutput {
    let mut spec = spec(&[Arc::new(plugin)]);
    spec.stages[0].purity = purity;
    run(&plan(spec), &batches(&numbers(200), 20))
}

#[test]
fn a_pure_plugin_is_found_to_be_pure() {
    let output = checked(doubling(&[], false), Purity::Always);
    let stage = &output.stages[0];
    assert_eq!((stage.purity_checks, stage.impure), (10, 0));
}

#[test]
fn a_plugin_that_counts_its_batch_is_impure() {
    let description = description(&[("n", Kind::Int64)], &[("of", Kind::Int64)]);
    let plugin = Scripted::new("batch-size", description, |batch, _| {
        let column = integers((0..batch.rows).map(|_| i64::from(batch.rows)));
        Ok(Reply { columns: vec![column], ..Reply::default() })
    });
    let stage = &checked(plugin, Purity::Always).stages[0];
    assert_eq!(stage.impure, 10);
    let impurity = stage.impurity.as_deref().expect("it says what differs");
    assert_eq!(impurity, "in calls of 10 rows rather than 20, `of` of row 0 differs");
}

#[test]
fn a_plugin_that_remembers_rows_is_impure() {
    let description = description(&[("n", Kind::Int64)], &[]);
    let plugin = Scripted::new("remembering", description, |batch, memory| {
        let mut reply = Reply::default();
        for row in 0..batch.rows as usize {
            // A finding for each row that is larger than the last one of the batch before.
            let n = integer(batch, 0, row).unwrap_or(0) as u64;
            if memory.hidden > 0 {
                reply.findings.rows.push(row as u32);
                reply.findings.rules.push(0);
            }
            memory.hidden = n;
        }
        Ok(reply)
    });
    let stage = &checked(plugin, Purity::Always).stages[0];
    assert!(stage.impure >= 9, "{} of 10", stage.impure);
}

#[test]
fn samples_are_the_same_in_each_replay() {
    let sampled = || {
        let purity = Purity::Sample { one_in: 3 };
        checked(doubling(&[], false), purity).stages[0].purity_checks
    };
    let first = sampled();
    assert!((1..=9).contains(&first), "{first} of 10");
    assert_eq!(sampled(), first);
    assert_eq!(checked(doubling(&[], false), Purity::Off).stages[0].purity_checks, 0);
}
