//! From the text of an expression to a tree whose variables are columns.
//!
//! The library parses, expands macros and knows where each node stands in the text. Here the fields
//! that an expression names are found, `merchant.id` and `items[0].sku`, and each becomes a single
//! variable, so that no value is taken apart when the expression is evaluated.

use std::collections::BTreeMap;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};
use tidegate_plugin::{ConfigError, HostValue, Kind, Origin, Path, Segment};

use crate::{
    config::ReadAs,
    syntax::{self, HAS},
};

/// Longer ones are programs, and hard to read in a line of YAML.
const TEXT_BYTES_MAX: usize = 2_000;

/// How deep an expression may be, so that evaluating it needs a bounded stack.
const DEPTH_MAX: usize = 64;

/// The functions of the standard library but those of regular expressions, time and bytes.
const FUNCTIONS: [&str; 10] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "dyn",
];

/// A parsed expression.
#[derive(Debug)]
pub(crate) struct Expression {
    pub(crate) root: IdedExpr,
    pub(crate) place: Place,
}

/// Where an expression stands.
#[derive(Debug)]
pub(crate) struct Place {
    /// A JSON Pointer into the config.
    pointer: String,
    text: String,
}

impl Place {
    /// An error at a node.
    pub(crate) fn error(&self, node: u64, why: impl std::fmt::Display) -> ConfigError {
        let start = syntax::offset_of(&self.text, node).unwrap_or_default();
        let before = self.text.get(..start).unwrap_or_default();
        let line = 1 + before.matches('\n').count();
        let column = 1 + before.chars().rev().take_while(|c| *c != '\n').count();
        ConfigError::at(&*self.pointer, format!("line {line}, column {column}: {why}"))
    }
}

/// A variable of expressions.
#[derive(Debug)]
pub(crate) struct Variable {
    /// As expressions name it.
    pub(crate) name: String,
    /// The first part of the name.
    root: String,
    pub(crate) from: Origin,
    /// What it is read as, where that is said or has been found out.
    pub(crate) kind: Option<Kind>,
    /// Whether the kind was said.
    pub(crate) is_said: bool,
    /// Whether its value is used, and not just whether there is one.
    pub(crate) is_used: bool,
}

/// The variables of all expressions. A tree names them by number: `@3` is the value of the fourth, and
/// `?3` whether there is one.
#[derive(Debug)]
pub(crate) struct Variables<'a> {
    said: &'a BTreeMap<String, ReadAs>,
    pub(crate) all: Vec<Variable>,
}

/// The variable that an identifier in a tree stands for.
pub(crate) fn number(name: &str, sigil: char) -> Option<usize> {
    name.strip_prefix(sigil)?.parse().ok()
}

impl<'a> Variables<'a> {
    pub(crate) fn new(said: &'a BTreeMap<String, ReadAs>) -> Self {
        Variables { said, all: Vec::new() }
    }

    /// Whether an expression names something of which the config says what it is.
    pub(crate) fn is_named(&self, said: &str) -> bool {
        self.all.iter().any(|variable| variable.name == said || variable.root == said)
    }

    /// Parses the expression at a JSON Pointer into the config.
    pub(crate) fn parse(&mut self, text: &str, pointer: String) -> Result<Expression, ConfigError> {
        if text.len() > TEXT_BYTES_MAX {
            let why = format!("it is longer than {TEXT_BYTES_MAX} bytes; make it several");
            return Err(ConfigError::at(pointer, why));
        }
        let mut root = syntax::parse(text).map_err(|errors| {
            let first = errors.errors.first();
            let (line, column) = first.map_or((1, 1), |error| error.pos);
            let (line, column) = (line.max(1), column.max(1));
            let why = first.map_or("it does not parse", |error| error.msg.trim());
            ConfigError::at(&*pointer, format!("line {line}, column {column}: {why}"))
        })?;
        let place = Place { pointer, text: text.to_owned() };
        let mut bound = Vec::new();
        self.resolve(&mut root, &mut bound, &place, 0)?;
        Ok(Expression { root, place })
    }

    /// Replaces the fields in a tree by variables. `bound` are the names that macros bind.
    fn resolve(
        &mut self,
        node: &mut IdedExpr,
        bound: &mut Vec<String>,
        place: &Place,
        depth: usize,
    ) -> Result<(), ConfigError> {
        if depth > DEPTH_MAX {
            let why = format!("it is nested more than {DEPTH_MAX} deep; make it several");
            return Err(place.error(node.id, why));
        }
        let depth = depth + 1;
        if let Some((root, rest)) = field(&node.expr, bound) {
            let variable = self.variable(root, rest, node.id, place)?;
            self.all[variable].is_used = true;
            node.expr = Expr::Ident(format!("@{variable}"));
            return Ok(());
        }
        match &mut node.expr {
            Expr::Select(SelectExpr { operand, field: name, test }) => {
                match field(&operand.expr, bound).filter(|_| *test) {
                    Some((root, mut rest)) => {
                        rest.push(Segment::Key(name.clone()));
                        let variable = self.variable(root, rest, node.id, place)?;
                        node.expr = Expr::Ident(format!("?{variable}"));
                    }
                    None => self.resolve(operand, bound, place, depth)?,
                }
            }
            Expr::Call(CallExpr { func_name, target: None, args }) if func_name == HAS => {
                let Some((root, rest)) = args.first().and_then(|arg| field(&arg.expr, bound))
                else {
                    return Err(place.error(node.id, "`has` asks for a field: `has(a.b)`"));
                };
                let variable = self.variable(root, rest, node.id, place)?;
                node.expr = Expr::Ident(format!("?{variable}"));
            }
            Expr::Call(call) => {
                if let Some(length) = duration(call) {
                    let microseconds = length.ok_or_else(|| {
                        place.error(node.id, "a duration is a whole number with a unit: `duration(\"15m\")`; units are ms, s, m, h, d")
                    })?;
                    node.expr = Expr::Literal(LiteralValue::Int(microseconds.into()));
                    return Ok(());
                }
                check_function(call).map_err(|why| place.error(node.id, why))?;
                let operands = call.target.iter_mut().map(|target| &mut **target);
                for operand in operands.chain(&mut call.args) {
                    self.resolve(operand, bound, place, depth)?;
                }
            }
            Expr::List(list) => {
                for element in &mut list.elements {
                    self.resolve(element, bound, place, depth)?;
                }
            }
            // The library's maps iterate in another order each time, and a reply must not.
            Expr::Map(_) => {
                let why = "map literals are not supported; the plugin `categorize` has mappings";
                return Err(place.error(node.id, why));
            }
            Expr::Comprehension(fold) => {
                self.resolve(&mut fold.iter_range, bound, place, depth)?;
                self.resolve(&mut fold.accu_init, bound, place, depth)?;
                let outside = bound.len();
                bound.push(fold.accu_var.clone());
                bound.push(fold.iter_var.clone());
                bound.extend(fold.iter_var2.clone());
                self.resolve(&mut fold.loop_cond, bound, place, depth)?;
                self.resolve(&mut fold.loop_step, bound, place, depth)?;
                bound.truncate(outside + 1);
                self.resolve(&mut fold.result, bound, place, depth)?;
                bound.truncate(outside);
            }
            Expr::Struct(_) => {
                return Err(place.error(node.id, "messages are not supported"));
            }
            Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
        }
        Ok(())
    }

    /// The number of the variable for a field.
    fn variable(
        &mut self,
        root: String,
        rest: Vec<Segment>,
        node: u64,
        place: &Place,
    ) -> Result<usize, ConfigError> {
        let mut path = Path::key(&*root);
        path.0.extend(rest.iter().cloned());
        let name = path.to_string();
        if let Some(known) = self.all.iter().position(|variable| variable.name == name) {
            return Ok(known);
        }
        let mut kind = self.said.get(&name).and_then(|said| Some(said.kind?.kind(said.format)));
        let mut from = Origin::Field(path);
        match self.said.get(&root) {
            Some(ReadAs { host: Some(host), .. }) => {
                let value = HostValue::named(host).filter(|_| rest.is_empty());
                let value = value.ok_or_else(|| {
                    let known = HostValue::ALL.map(HostValue::name).join(", ");
                    place.error(
                        node,
                        format!("`{root}` is `{host}`, which is none of {known}, or a part of it"),
                    )
                })?;
                kind = Some(value.kind());
                from = Origin::Host(value);
            }
            Some(ReadAs { path: Some(base), .. }) => {
                from = Origin::Field(Path(base.0.iter().cloned().chain(rest).collect()));
            }
            _ => {}
        }
        self.all.push(Variable { name, root, from, is_said: kind.is_some(), kind, is_used: false });
        Ok(self.all.len() - 1)
    }
}

/// The root and the path below it, if a node is nothing but a field.
fn field(node: &Expr, bound: &[String]) -> Option<(String, Vec<Segment>)> {
    match node {
        Expr::Ident(name) if !bound.contains(name) => {
            Some((name.trim_start_matches('.').to_owned(), Vec::new()))
        }
        Expr::Select(SelectExpr { operand, field: name, test: false }) => {
            let (root, mut rest) = field(&operand.expr, bound)?;
            rest.push(Segment::Key(name.clone()));
            Some((root, rest))
        }
        Expr::Call(CallExpr { func_name, target: None, args }) if func_name == operators::INDEX => {
            let [operand, index] = &args[..] else { return None };
            let segment = match &index.expr {
                Expr::Literal(LiteralValue::String(name)) => Segment::Key(name.inner().to_owned()),
                Expr::Literal(LiteralValue::Int(index)) => {
                    Segment::Index(u32::try_from(*index.inner()).ok()?)
                }
                _ => return None,
            };
            let (root, mut rest) = field(&operand.expr, bound)?;
            rest.push(segment);
            Some((root, rest))
        }
        _ => None,
    }
}

/// The microseconds of `duration("15m")`, and nothing inside where it has another operand.
fn duration(call: &CallExpr) -> Option<Option<i64>> {
    if call.func_name != "duration" || call.target.is_some() {
        return None;
    }
    let [IdedExpr { expr: Expr::Literal(LiteralValue::String(text)), .. }] = &call.args[..] else {
        return Some(None);
    };
    let text = text.inner();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let microseconds = match unit {
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return Some(None),
    };
    Some(number.parse::<i64>().ok().and_then(|number| number.checked_mul(microseconds)))
}

/// Refuses what would fail on every record.
fn check_function(call: &CallExpr) -> Result<(), String> {
    let name = &*call.func_name;
    // Operators and what macros expand to have names that nobody can write.
    if name.contains(['_', '@', '!']) || FUNCTIONS.contains(&name) {
        return Ok(());
    }
    Err(match name {
        "matches" => {
            "`matches` is not supported; the plugin `validate` has a check `pattern`".to_owned()
        }
        "timestamp" | "now" => format!(
            "`{name}` is not supported; read a time by `reads: {{ t: {{ kind: timestamp }} }}`, and the \
             batch time by `reads: {{ now: {{ host: \"@batch-time\" }} }}`"
        ),
        "has" | "all" | "exists" | "exists_one" | "map" | "filter" => {
            format!(
                "`{name}` has other operands: `has(a.b)`, `items.{}(i, i.price > 0.0)`",
                if name == "has" { "all" } else { name }
            )
        }
        _ => format!("there is no function `{name}`; there are {}, duration", FUNCTIONS.join(", ")),
    })
}
