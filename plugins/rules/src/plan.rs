//! From a config to expressions that are ready to run.

use std::collections::HashSet;

use cel::common::ast::IdedExpr;
use tidegate_plugin::{
    ConfigError, Description, Dimension, Path, Read, Rule as DescribedRule, Severity as Described,
    Write,
};

use crate::{
    columns::{Compiler, Flag, Integer, Number},
    config::{Config, Severity, Written},
    expression::{Expression, Variables},
    types::{self, Type},
};

/// What to do with a batch.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Those that reject come first, then those that drop: a row's first finding names its rule.
    pub(crate) rules: Vec<Rule>,
    pub(crate) fields: Vec<Field>,
    /// The names of the variables, by their reads.
    pub(crate) names: Vec<String>,
}

/// A rule that is ready to run.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) when: Option<Condition>,
    pub(crate) check: Condition,
    pub(crate) severity: Severity,
    pub(crate) rule: u32,
}

/// An expression whose result is a boolean.
#[derive(Debug)]
pub(crate) enum Condition {
    Columns(Flag),
    Rows(IdedExpr),
}

/// A computed field that is ready to run.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) kind: Written,
    pub(crate) value: Computed,
    pub(crate) rule: u32,
}

/// An expression whose result is written.
#[derive(Debug)]
pub(crate) enum Computed {
    Boolean(Flag),
    Int64(Integer),
    Float64(Number),
    Rows(IdedExpr),
}

/// Checks a config and plans it.
pub(crate) fn plan(config: Config) -> Result<(Plan, Description), ConfigError> {
    let Config { rules, fields, reads } = config;
    let mut variables = Variables::new(&reads);
    let mut description = Description::default();
    let mut expressions = Vec::new();

    let mut ids = HashSet::new();
    for (i, rule) in rules.iter().enumerate() {
        if !ids.insert(&*rule.id) {
            let why = format!("there is another rule `{}`; each has an id of its own", rule.id);
            return Err(ConfigError::at(format!("/rules/{i}/id"), why));
        }
        if let Some(when) = &rule.when {
            let when = variables.parse(when, format!("/rules/{i}/when"))?;
            expressions.push((when, Type::Boolean));
        }
        let check = variables.parse(&rule.check, format!("/rules/{i}/check"))?;
        expressions.push((check, Type::Boolean));
    }
    for (i, field) in fields.iter().enumerate() {
        if fields[..i].iter().any(|known| known.write == field.write) {
            let why = format!("`{}` is written twice", field.write);
            return Err(ConfigError::at(format!("/fields/{i}/write"), why));
        }
        if field.write.is_root() {
            let why = "the whole record can't be computed; name a field";
            return Err(ConfigError::at(format!("/fields/{i}/write"), why));
        }
        let value = variables.parse(&field.value, format!("/fields/{i}/value"))?;
        expressions.push((value, field.kind.wanted()));
    }
    if expressions.is_empty() {
        return Err(ConfigError::at("", "there is nothing to do; add to `rules` or `fields`"));
    }
    if let Some(unused) = reads.keys().find(|name| !variables.is_named(name)) {
        let pointer = format!("/reads/{}", unused.replace('~', "~0").replace('/', "~1"));
        return Err(ConfigError::at(pointer, "no expression names it; mind the spelling"));
    }
    types::settle(&mut variables, &mut expressions)?;

    let compiler = Compiler { variables: &variables };
    let mut expressions = expressions.into_iter().map(|(expression, _)| expression);
    let mut next = || expressions.next().expect("there is one for each that was parsed");
    let mut plan = Plan::default();
    for rule in rules {
        let when = rule.when.is_some().then(|| Condition::of(next(), &compiler));
        let check = Condition::of(next(), &compiler);
        let index = description.rule(DescribedRule {
            id: rule.id,
            dimension: rule.dimension,
            severity: rule.severity.described(),
            field: None,
            text: rule.message.unwrap_or_else(|| format!("`{}` holds", rule.check.trim())),
        });
        plan.rules.push(Rule { when, check, severity: rule.severity, rule: index });
    }
    plan.rules.sort_by_key(|rule| (rule.severity, rule.rule));
    for field in fields {
        let value = Computed::of(next(), field.kind, &compiler);
        let rule = description.rule(computable(&field.write));
        description.writes.push(Write { path: field.write, kind: field.kind.kind() });
        plan.fields.push(Field { kind: field.kind, value, rule });
    }
    for variable in variables.all {
        let kind = variable.kind.expect("all kinds are settled");
        description.reads.push(Read { from: variable.from, kind, required: false });
        plan.names.push(variable.name);
    }
    Ok((plan, description))
}

fn computable(write: &Path) -> DescribedRule {
    DescribedRule {
        id: format!("computable:{write}"),
        dimension: Dimension::Validity,
        severity: Described::Warn,
        field: Some(write.clone()),
        text: format!("`{write}` can be computed"),
    }
}

impl Condition {
    fn of(expression: Expression, compiler: &Compiler<'_, '_>) -> Self {
        match compiler.flag(&expression.root) {
            Some(flag) => Condition::Columns(flag),
            None => Condition::Rows(expression.root),
        }
    }
}

impl Computed {
    fn of(expression: Expression, kind: Written, compiler: &Compiler<'_, '_>) -> Self {
        let root = &expression.root;
        let columns = match kind {
            Written::Boolean => compiler.flag(root).map(Computed::Boolean),
            Written::Int64 => compiler.integer(root).map(Computed::Int64),
            Written::Float64 => compiler.number(root).map(Computed::Float64),
            Written::Utf8 => None,
        };
        columns.unwrap_or(Computed::Rows(expression.root))
    }
}

impl Written {
    /// The type of an expression for it.
    fn wanted(self) -> Type {
        match self {
            Written::Boolean => Type::Boolean,
            Written::Int64 => Type::Integer,
            Written::Float64 => Type::Number,
            Written::Utf8 => Type::Text,
        }
    }
}

impl Severity {
    fn described(self) -> Described {
        match self {
            Severity::Reject => Described::Reject,
            Severity::Warn => Described::Warn,
            // The contract has no word for a rule that drops; it is not about quality.
            Severity::Drop => Described::Info,
        }
    }
}
