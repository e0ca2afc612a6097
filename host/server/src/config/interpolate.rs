//! Variables in string leaves: `${NAME}`, `${NAME:-default}`, `${NAME:?hint}`; `$${` is a `${`.
//!
//! The text is parsed first. So a variable's value is always the content of one string and can't
//! add a key, a list or a comment, whatever it holds.

use super::tree::{Node, Text, Value, step};
use crate::finding::{Finding, SourceFile};

/// Where variables come from: the process environment, or a table in tests.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces the variables in all string leaves of a tree, and says which can't be.
pub(super) fn interpolate(
    node: &mut Node,
    file: &SourceFile,
    variables: Variables<'_>,
    findings: &mut Vec<Finding>,
) {
    walk(node, "", file, variables, findings);
}

fn walk(
    node: &mut Node,
    pointer: &str,
    file: &SourceFile,
    variables: Variables<'_>,
    findings: &mut Vec<Finding>,
) {
    match &mut node.value {
        Value::Text(text) if text.text.contains("${") => {
            match replaced(&text.text, variables) {
                Ok((new, interpolated)) => *text = Text { text: new, interpolated },
                Err(problem) => {
                    let found =
                        Finding::error(problem.code, file, node.place, pointer, problem.message);
                    findings.push(found.suggest(problem.suggestion));
                }
            };
        }
        Value::List(nodes) => {
            for (i, child) in nodes.iter_mut().enumerate() {
                walk(child, &step(pointer, i), file, variables, findings);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                walk(&mut entry.node, &step(pointer, &entry.key), file, variables, findings);
            }
        }
        _ => {}
    }
}

struct Problem {
    code: &'static str,
    message: String,
    suggestion: String,
}

/// The text with its variables replaced, and whether there were any.
fn replaced(text: &str, variables: Variables<'_>) -> Result<(String, bool), Problem> {
    let mut out = String::new();
    let mut rest = text;
    let mut interpolated = false;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            return Err(Problem {
                code: "invalid-variable",
                message: "`${` without a `}`".to_owned(),
                suggestion: "write `$${` for a literal `${`".to_owned(),
            });
        };
        out.push_str(&value(&rest[at + 2..at + end], variables)?);
        interpolated = true;
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    Ok((out, interpolated))
}

/// The value of what stands between the braces.
fn value(expression: &str, variables: Variables<'_>) -> Result<String, Problem> {
    let end = expression
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(expression.len());
    let (name, rest) = expression.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Problem {
            code: "invalid-variable",
            message: format!("`${{{expression}}}` names no variable"),
            suggestion: "write `$${` for a literal `${`".to_owned(),
        });
    }
    // As in shells: with a colon, an empty variable counts as unset.
    let found = variables(name);
    let unset = |hint: String| Problem {
        code: "unset-variable",
        message: format!("the variable `{name}` is not set"),
        suggestion: hint,
    };
    if rest.is_empty() {
        return found
            .ok_or_else(|| unset(format!("set it, or give a default: `${{{name}:-default}}`")));
    }
    let found = found.filter(|value| !value.is_empty());
    match (rest.strip_prefix(":-"), rest.strip_prefix(":?")) {
        (Some(default), _) => Ok(found.unwrap_or_else(|| default.to_owned())),
        (_, Some(hint)) => found.ok_or_else(|| unset(hint.to_owned())),
        _ => Err(Problem {
            code: "invalid-variable",
            message: format!("`${{{expression}}}` is not a form of interpolation"),
            suggestion: "write `${NAME}`, `${NAME:-default}` or `${NAME:?hint}`".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let variables = |name: &str| match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${SET}".to_owned()),
            _ => None,
        };
        let found = replaced(text, &variables);
        assert_eq!(
            found.as_ref().map(|(text, _)| text.as_str()).map_err(|problem| problem.code),
            expected,
            "{text}"
        );
    }

    #[test]
    fn variables_are_replaced_once_and_never_read_again() {
        check("a-${SET}-b", Ok("a-value-b"));
        check("${SET}${SET}", Ok("valuevalue"));
        check("${EMPTY}", Ok(""));
        check("${EMPTY:-default}", Ok("default"));
        check("${UNSET:-}", Ok(""));
        check("${SET:?set it}", Ok("value"));
        check("${NESTED}", Ok("${SET}"));
        check("$${SET}", Ok("${SET}"));
        check("$SET and $5", Ok("$SET and $5"));
    }

    #[test]
    fn what_is_unset_or_malformed_is_an_error() {
        check("${UNSET}", Err("unset-variable"));
        check("${EMPTY:?say where}", Err("unset-variable"));
        check("${SET", Err("invalid-variable"));
        check("${}", Err("invalid-variable"));
        check("${1}", Err("invalid-variable"));
        check("${SET-default}", Err("invalid-variable"));
    }
}
