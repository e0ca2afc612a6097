//! Rules and computed fields in CEL, the Common Expression Language.
//!
//! An expression is parsed by a library, its fields become reads, and types follow from their use.
//! Then most expressions become operations over whole columns; what needs more (macros over lists,
//! texts put together, values of any type) runs in the library's interpreter, row by row. Both mean
//! the same.

mod columns;
mod config;
mod evaluate;
mod expression;
mod fault;
mod interpret;
mod object;
mod plan;
mod syntax;
mod types;

use std::cell::OnceCell;

use cel::Value;
use tidegate_plugin::{
    About, Batch, ConfigError, Description, Findings, Plugin, Reply, Verdict, export,
    reply::{Column, ColumnBuilder, Field as Set, LEAVE, SET, TextBuilder, Values},
};

pub use config::{Config, Field, ReadAs, ReadKind, Rule, Severity, Written};
use evaluate::Cells;
use fault::Fault;
use interpret::Library;
use plan::{Computed, Condition, Plan};

export!(Rules);

/// What a host takes by default. A record that breaks more rules is described well enough, and must
/// not count as one that breaks the plugin.
const FINDINGS_PER_ROW_MAX: usize = 16;

/// The plugin under one config.
#[derive(Debug)]
pub struct Rules {
    plan: Plan,
    /// Made where an expression needs it: that takes as long as parsing ten.
    library: OnceCell<Library>,
}

impl Plugin for Rules {
    type Config = Config;

    fn about() -> About {
        About {
            name: "rules",
            version: env!("CARGO_PKG_VERSION"),
            summary: env!("CARGO_PKG_DESCRIPTION"),
            capabilities: Vec::new(),
            state_version: 0,
            may_be_passed_by: false,
        }
    }

    fn configure(config: Config) -> Result<(Self, Description), ConfigError> {
        let (plan, description) = plan::plan(config)?;
        Ok((Rules { plan, library: OnceCell::new() }, description))
    }

    fn transform(&self, batch: &Batch<'_>) -> Reply {
        let mut reply = Reply::default();
        for rule in &self.plan.rules {
            self.apply(rule, batch, &mut reply);
        }
        for field in &self.plan.fields {
            let column = self.compute(field, batch, &mut reply.findings);
            reply.columns.push(column);
        }
        reply.findings.keep_first(FINDINGS_PER_ROW_MAX);
        reply
    }
}

impl Rules {
    fn apply(&self, rule: &plan::Rule, batch: &Batch<'_>, reply: &mut Reply) {
        let check = self.eval(&rule.check, batch);
        let when = rule.when.as_ref().map(|when| self.eval(when, batch));
        let mut report = |row, fault| self.report(rule, batch.rows, row, fault, reply);
        if check.faults.is_empty() && when.as_ref().is_none_or(|when| when.faults.is_empty()) {
            for row in 0..batch.rows {
                let applies = when.as_ref().is_none_or(|when| when.get(row) != 0);
                if check.get(row) == 0 && applies {
                    report(row, Fault::NONE);
                }
            }
            return;
        }
        for row in 0..batch.rows {
            // A rule of which nobody knows whether it holds, or applies, counts as broken.
            let applies =
                when.as_ref().map_or((1, Fault::NONE), |when| (when.get(row), when.fault(row)));
            match (applies, (check.get(row), check.fault(row))) {
                ((0, Fault::NONE), _) | ((_, Fault::NONE), (1, Fault::NONE)) => {}
                ((_, Fault::NONE), (_, fault)) | ((_, fault), _) => report(row, fault),
            }
        }
    }

    fn library(&self) -> &Library {
        self.library.get_or_init(Library::new)
    }

    fn eval<'a>(&'a self, condition: &'a Condition, batch: &Batch<'a>) -> Cells<'a, u8> {
        let root = match condition {
            Condition::Columns(flag) => return flag.eval(batch),
            Condition::Rows(root) => root,
        };
        let mut values = Vec::with_capacity(batch.rows);
        let mut faults = Vec::new();
        interpret::each_row(root, self.library(), batch, |row, outcome| {
            let (value, fault) = match outcome {
                Ok(Value::Bool(value)) => (value, Fault::NONE),
                Ok(_) => (false, Fault::OTHER_TYPE),
                Err(fault) => (false, fault),
            };
            values.push(u8::from(value));
            if !fault.is_none() {
                faults.resize(batch.rows, Fault::NONE);
                faults[row] = fault;
            }
        });
        Cells { values: evaluate::Values::Column(values.into()), faults }
    }

    #[cold]
    fn report(&self, rule: &plan::Rule, rows: usize, row: usize, fault: Fault, reply: &mut Reply) {
        let is_judged = reply.verdicts.get(row).is_some_and(|known| *known != Verdict::Emit as u8);
        match rule.severity {
            Severity::Reject => reply.judge(rows, row, Verdict::Reject),
            Severity::Drop if !is_judged => reply.judge(rows, row, Verdict::Drop),
            Severity::Drop | Severity::Warn => {}
        }
        match fault {
            Fault::NONE => reply.findings.add(row, rule.rule),
            fault => reply.findings.add_with(row, rule.rule, &fault.text(&self.plan.names)),
        }
    }

    fn compute(&self, field: &plan::Field, batch: &Batch<'_>, findings: &mut Findings) -> Column {
        match &field.value {
            Computed::Boolean(flag) => {
                self.finish(flag.eval(batch), Values::Boolean, field, batch, findings)
            }
            Computed::Int64(integer) => {
                self.finish(integer.eval(batch), Values::Int64, field, batch, findings)
            }
            Computed::Float64(number) => {
                let made = number.eval(batch).finite(batch.rows);
                self.finish(made, Values::Float64, field, batch, findings)
            }
            Computed::Rows(root) => self.interpret(root, field, batch, findings),
        }
    }

    /// A column as it is written: where there is no value, the field is left as it is.
    fn finish<T: Copy>(
        &self,
        cells: Cells<'_, T>,
        wrap: fn(Vec<T>) -> Values,
        field: &plan::Field,
        batch: &Batch<'_>,
        findings: &mut Findings,
    ) -> Column {
        let presence = cells.faults.iter().enumerate().map(|(row, fault)| match *fault {
            Fault::NONE => SET,
            // Without an operand there is no result, and nothing is wrong with that.
            fault if fault.is_absence() => LEAVE,
            fault => {
                findings.add_with(row, field.rule, &fault.text(&self.plan.names));
                LEAVE
            }
        });
        let presence = presence.collect();
        Column { values: wrap(cells.into_values(batch.rows)), presence }
    }

    fn interpret(
        &self,
        root: &cel::common::ast::IdedExpr,
        field: &plan::Field,
        batch: &Batch<'_>,
        findings: &mut Findings,
    ) -> Column {
        let mut fail = |row, fault: Fault| {
            if !fault.is_absence() {
                findings.add_with(row, field.rule, &fault.text(&self.plan.names));
            }
        };
        let rows = batch.rows;
        let run = |take: &mut dyn FnMut(usize, interpret::Outcome)| {
            interpret::each_row(root, self.library(), batch, take);
        };
        match field.kind {
            Written::Boolean => {
                let mut column = ColumnBuilder::with_capacity(rows);
                run(&mut |row, outcome| {
                    column.push(taken(row, outcome, &mut fail, |value| match value {
                        Value::Bool(value) => Ok(u8::from(value)),
                        _ => Err(Fault::OTHER_TYPE),
                    }))
                });
                column.finish(Values::Boolean)
            }
            Written::Int64 => {
                let mut column = ColumnBuilder::with_capacity(rows);
                run(&mut |row, outcome| column.push(taken(row, outcome, &mut fail, whole)));
                column.finish(Values::Int64)
            }
            Written::Float64 => {
                let mut column = ColumnBuilder::with_capacity(rows);
                run(&mut |row, outcome| column.push(taken(row, outcome, &mut fail, float)));
                column.finish(Values::Float64)
            }
            Written::Utf8 => {
                let mut column = TextBuilder::with_capacity(rows, 16 * rows);
                run(&mut |row, outcome| {
                    let text = taken(row, outcome, &mut fail, |value| match value {
                        Value::String(text) => Ok(text),
                        _ => Err(Fault::OTHER_TYPE),
                    });
                    match text {
                        Set::Set(text) => column.set(&text),
                        other => column.push(other.map(|_| "")),
                    }
                });
                column.finish(Values::Utf8)
            }
        }
    }
}

/// What is written for a result: null for a null, nothing where there is none.
fn taken<T>(
    row: usize,
    outcome: interpret::Outcome,
    fail: &mut impl FnMut(usize, Fault),
    convert: impl Fn(Value) -> Result<T, Fault>,
) -> Set<T> {
    match outcome {
        Ok(Value::Null) => Set::Null,
        outcome => match outcome.and_then(convert) {
            Ok(value) => Set::Set(value),
            Err(fault) => {
                fail(row, fault);
                Set::Leave
            }
        },
    }
}

/// An integer, or a float that is one.
fn whole(value: Value) -> Result<i64, Fault> {
    match value {
        Value::Int(value) => Ok(value),
        Value::UInt(value) => i64::try_from(value).map_err(|_| Fault::OVERFLOW),
        // Floats from 2^63 on are not in an i64.
        Value::Float(value) if value.fract() == 0.0 && value.abs() < 9.2e18 => Ok(value as i64),
        _ => Err(Fault::OTHER_TYPE),
    }
}

fn float(value: Value) -> Result<f64, Fault> {
    match value {
        Value::Float(value) if value.is_finite() => Ok(value),
        Value::Float(_) => Err(Fault::NOT_A_NUMBER),
        Value::Int(value) => Ok(value as f64),
        Value::UInt(value) => Ok(value as f64),
        _ => Err(Fault::OTHER_TYPE),
    }
}

#[cfg(test)]
mod tests;
