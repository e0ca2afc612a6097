//! The library's two parsers.
//!
//! One is written by hand and parses an expression in two microseconds; it keeps where nodes stand to
//! itself. The other is generated: it takes 35 microseconds, and 700 the first time, which each fresh
//! instance would pay; but it tells where nodes stand. So the first one parses, and the second is asked
//! when a config is refused. Both number the nodes of a text alike.

use cel::{
    common::ast::IdedExpr,
    parser::{ParseErrors, Parser, PrattParser},
};

/// What `has` is called where its operand is a variable.
pub(crate) const HAS: &str = "HAS";

/// How many brackets may be open at once.
const NESTING_MAX: u16 = 32;

/// The same for the generated parser, which takes kilobytes of stack for each.
const NESTING_MAX_GENERATED: u16 = 10;

/// Parses a text.
pub(crate) fn parse(text: &str) -> Result<IdedExpr, ParseErrors> {
    let parser = || PrattParser::new().max_recursion_depth(NESTING_MAX);
    parser().parse(text).or_else(|errors| match with_own_has(text, &errors) {
        Some(text) => parser().parse(&text),
        None => Err(errors),
    })
}

/// The byte of a text at which a node begins.
pub(crate) fn offset_of(text: &str, node: u64) -> Option<usize> {
    let parser = || Parser::new().max_recursion_depth(NESTING_MAX_GENERATED);
    let nodes = match parser().parse_with_source_info(text) {
        Ok((_, nodes)) => nodes,
        Err(errors) => parser().parse_with_source_info(&with_own_has(text, &errors)?).ok()?.1,
    };
    nodes.offset_for(node).map(|(start, _)| start as usize)
}

/// The library's `has` takes a part of a variable only, as CEL says, and here a record's fields are the
/// variables: so where it refuses a `has`, that becomes a function of ours. None where anything else is
/// wrong.
fn with_own_has(text: &str, refused: &ParseErrors) -> Option<String> {
    let mut with_ours = text.to_owned();
    for error in &refused.errors {
        let operand = offset(text, error.pos).filter(|_| error.msg.contains("has() macro"))?;
        let at = text.get(..operand)?.rfind("has")?;
        with_ours.replace_range(at..at + HAS.len(), HAS);
    }
    Some(with_ours)
}

/// The byte at a line and a column, both from 1, as the library counts them.
fn offset(text: &str, (line, column): (isize, isize)) -> Option<usize> {
    let line = usize::try_from(line - 1).ok()?;
    let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    Some(before + usize::try_from(column - 1).ok()?)
}
