//! What the variables of expressions are, from how they are used.
//!
//! Types flow from what has one (literals, functions, what the config says) to the variables beside
//! it, until nothing changes. What is still open then is read as JSON, and typed as it is evaluated.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators as op};
use tidegate_plugin::{ConfigError, Kind};

use crate::expression::{Expression, Place, Variables, number};

/// The type of an expression, where it is known before any record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Boolean,
    Integer,
    Number,
    Text,
    /// Known as it is evaluated.
    Any,
}

impl Type {
    fn is_numeric(self) -> bool {
        matches!(self, Type::Integer | Type::Number)
    }

    fn name(self) -> &'static str {
        match self {
            Type::Boolean => "a boolean",
            Type::Integer => "an integer",
            Type::Number => "a number",
            Type::Text => "a text",
            Type::Any => "any value",
        }
    }

    fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Boolean => Type::Boolean,
            Kind::Int64 | Kind::Timestamp(_) => Type::Integer,
            Kind::Float64 => Type::Number,
            Kind::Utf8 => Type::Text,
            Kind::Date | Kind::Enumeration(_) | Kind::Json => Type::Any,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Type::Boolean => Kind::Boolean,
            Type::Integer => Kind::Int64,
            Type::Number => Kind::Float64,
            Type::Text => Kind::Utf8,
            Type::Any => Kind::Json,
        }
    }
}

/// Finds the kinds of all variables, and refuses expressions whose operands never fit. `wanted` is the
/// type of each expression's result.
pub(crate) fn settle(
    variables: &mut Variables<'_>,
    expressions: &mut [(Expression, Type)],
) -> Result<(), ConfigError> {
    loop {
        let mut inference = Inference { variables, has_changed: false };
        for (expression, wanted) in expressions.iter() {
            inference.infer(&expression.root, Some(*wanted), &expression.place)?;
        }
        if !inference.has_changed {
            break;
        }
    }
    for variable in &mut variables.all {
        // Whether there is a value is told by a column of any kind: by one of a byte a row.
        let open = if variable.is_used { Kind::Json } else { Kind::Boolean };
        variable.kind.get_or_insert(open);
    }
    for (expression, _) in expressions.iter_mut() {
        widen(&mut expression.root, variables);
    }
    Ok(())
}

struct Inference<'a, 'b> {
    variables: &'a mut Variables<'b>,
    has_changed: bool,
}

type Inferred = Result<Option<Type>, ConfigError>;

impl Inference<'_, '_> {
    /// The type of a node, and what follows for the variables in it when it is to be `wanted`.
    fn infer(&mut self, node: &IdedExpr, wanted: Option<Type>, place: &Place) -> Inferred {
        let found = match &node.expr {
            Expr::Ident(name) => self.identifier(name, wanted, node, place)?,
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Some(Type::Boolean),
                // Beside a variable it says no more than that it is a number.
                LiteralValue::Int(_) => {
                    Some(wanted.filter(|t| t.is_numeric()).unwrap_or(Type::Number))
                }
                LiteralValue::Double(_) => Some(Type::Number),
                LiteralValue::String(_) => Some(Type::Text),
                _ => None,
            },
            Expr::Call(call) => self.call(call, wanted, node, place)?,
            Expr::Select(select) => {
                self.infer(&select.operand, None, place)?;
                select.test.then_some(Type::Boolean)
            }
            Expr::List(list) => {
                for element in &list.elements {
                    self.infer(element, None, place)?;
                }
                None
            }
            Expr::Comprehension(fold) => {
                self.infer(&fold.iter_range, Some(Type::Any), place)?;
                for part in [&fold.accu_init, &fold.loop_cond, &fold.loop_step, &fold.result] {
                    self.infer(part, None, place)?;
                }
                None
            }
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => None,
        };
        match (found, wanted) {
            (Some(found), Some(wanted)) if !agree(found, wanted) => {
                let why = format!("it is {} where {} is due", found.name(), wanted.name());
                Err(place.error(node.id, why))
            }
            _ => Ok(found),
        }
    }

    fn identifier(
        &mut self,
        name: &str,
        wanted: Option<Type>,
        node: &IdedExpr,
        place: &Place,
    ) -> Inferred {
        if number(name, '?').is_some() {
            return Ok(Some(Type::Boolean));
        }
        let Some(variable) = number(name, '@') else { return Ok(None) };
        let variable = &mut self.variables.all[variable];
        let Some(wanted) = wanted else { return Ok(variable.kind.as_ref().map(Type::of)) };
        let known = variable.kind.as_ref().map(Type::of);
        match known {
            None => {
                variable.kind = Some(wanted.kind());
                self.has_changed = true;
                Ok(Some(wanted))
            }
            // The remainder is of integers, and what is used in one is one everywhere.
            Some(Type::Number) if wanted == Type::Integer && !variable.is_said => {
                variable.kind = Some(Kind::Int64);
                self.has_changed = true;
                Ok(Some(wanted))
            }
            Some(known) if agree(known, wanted) => Ok(Some(known)),
            Some(known) => Err(place.error(
                node.id,
                format!(
                    "`{}` is {} elsewhere and {} here; say what it is under `reads`, `json` if both",
                    variable.name,
                    known.name(),
                    wanted.name()
                ),
            )),
        }
    }

    fn call(
        &mut self,
        call: &CallExpr,
        wanted: Option<Type>,
        node: &IdedExpr,
        place: &Place,
    ) -> Inferred {
        let args = &call.args[..];
        match (&*call.func_name, args) {
            (op::LOGICAL_AND | op::LOGICAL_OR, [left, right]) => {
                self.infer(left, Some(Type::Boolean), place)?;
                self.infer(right, Some(Type::Boolean), place)?;
                Ok(Some(Type::Boolean))
            }
            (op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE, [operand]) => {
                self.infer(operand, Some(Type::Boolean), place)?;
                Ok(Some(Type::Boolean))
            }
            (op::CONDITIONAL, [condition, yes, no]) => {
                self.infer(condition, Some(Type::Boolean), place)?;
                self.alike(yes, no, wanted, node, place)
            }
            (
                op::EQUALS
                | op::NOT_EQUALS
                | op::LESS
                | op::LESS_EQUALS
                | op::GREATER
                | op::GREATER_EQUALS,
                [left, right],
            ) => {
                self.alike(left, right, None, node, place)?;
                Ok(Some(Type::Boolean))
            }
            (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE, [left, right]) => {
                let is_sum = call.func_name == op::ADD;
                let wanted = wanted.filter(|t| t.is_numeric() || (is_sum && *t == Type::Text));
                let found = self.alike(left, right, wanted, node, place)?;
                match found {
                    None if !is_sum => self.alike(left, right, Some(Type::Number), node, place),
                    Some(Type::Boolean) => {
                        Err(place.error(node.id, "there is no arithmetic of booleans"))
                    }
                    Some(Type::Text) if !is_sum => {
                        Err(place.error(node.id, "there is no arithmetic of texts but `+`"))
                    }
                    found => Ok(found),
                }
            }
            (op::MODULO, [left, right]) => {
                self.infer(left, Some(Type::Integer), place)?;
                self.infer(right, Some(Type::Integer), place)?;
                Ok(Some(Type::Integer))
            }
            (op::NEGATE, [operand]) => {
                let wanted = wanted.filter(|t| t.is_numeric());
                self.infer(operand, Some(wanted.unwrap_or(Type::Number)), place)
            }
            (op::IN, [needle, haystack]) => {
                match &haystack.expr {
                    Expr::List(list) => {
                        for element in &list.elements {
                            self.alike(needle, element, None, node, place)?;
                        }
                    }
                    _ => {
                        self.infer(needle, None, place)?;
                        self.infer(haystack, Some(Type::Any), place)?;
                    }
                }
                Ok(Some(Type::Boolean))
            }
            (op::INDEX, [operand, index]) => {
                self.infer(operand, Some(Type::Any), place)?;
                self.infer(index, None, place)?;
                Ok(None)
            }
            ("startsWith" | "endsWith" | "contains", [part]) => {
                if let Some(target) = &call.target {
                    self.infer(target, Some(Type::Text), place)?;
                }
                self.infer(part, Some(Type::Text), place)?;
                Ok(Some(Type::Boolean))
            }
            (function, operands) => {
                let target = call.target.iter().map(|target| &**target);
                for operand in target.chain(operands) {
                    self.infer(operand, None, place)?;
                }
                Ok(match function {
                    "size" | "int" => Some(Type::Integer),
                    "double" => Some(Type::Number),
                    "string" => Some(Type::Text),
                    "bool" => Some(Type::Boolean),
                    _ => None,
                })
            }
        }
    }

    /// The type of two operands that must be of one.
    fn alike(
        &mut self,
        left: &IdedExpr,
        right: &IdedExpr,
        wanted: Option<Type>,
        node: &IdedExpr,
        place: &Place,
    ) -> Inferred {
        let mut one = self.infer(left, wanted, place)?;
        let mut other = self.infer(right, wanted, place)?;
        match (one, other) {
            (Some(known), None) if !is_null(right) => {
                other = self.infer(right, Some(known), place)?;
            }
            (None, Some(known)) if !is_null(left) => one = self.infer(left, Some(known), place)?,
            _ => {}
        }
        match (one, other) {
            (Some(one), Some(other)) if !agree(one, other) => {
                let why = format!("{} and {} don't go together", one.name(), other.name());
                Err(place.error(node.id, why))
            }
            (Some(Type::Number), Some(_)) | (Some(_), Some(Type::Number)) => {
                // A literal is a float beside a float, and an integer beside an integer.
                let integers = [left, right].map(|side| self.is_integer(side));
                Ok(Some(if integers == [true, true] { Type::Integer } else { Type::Number }))
            }
            (one, other) => Ok(one.or(other)),
        }
    }

    /// Whether a node is an integer for sure, or an integer literal.
    fn is_integer(&self, node: &IdedExpr) -> bool {
        type_of(node, self.variables) == Some(Type::Integer)
    }
}

fn agree(one: Type, other: Type) -> bool {
    one == other
        || one == Type::Any
        || other == Type::Any
        || (one.is_numeric() && other.is_numeric())
}

pub(crate) fn is_null(node: &IdedExpr) -> bool {
    matches!(node.expr, Expr::Literal(LiteralValue::Null))
}

/// The type of a node when the kinds of variables are known; none where only a record tells.
pub(crate) fn type_of(node: &IdedExpr, variables: &Variables<'_>) -> Option<Type> {
    let of = |node| type_of(node, variables);
    match &node.expr {
        Expr::Ident(name) => match (number(name, '?'), number(name, '@')) {
            (Some(_), _) => Some(Type::Boolean),
            (_, Some(variable)) => {
                let found = Type::of(variables.all[variable].kind.as_ref()?);
                (found != Type::Any).then_some(found)
            }
            _ => None,
        },
        Expr::Literal(LiteralValue::Boolean(_)) => Some(Type::Boolean),
        Expr::Literal(LiteralValue::Int(_)) => Some(Type::Integer),
        Expr::Literal(LiteralValue::Double(_)) => Some(Type::Number),
        Expr::Literal(LiteralValue::String(_)) => Some(Type::Text),
        Expr::Call(call) => match (&*call.func_name, &call.args[..]) {
            (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE, [left, right]) => {
                match (of(left)?, of(right)?) {
                    (Type::Number, other) | (other, Type::Number) if other.is_numeric() => {
                        Some(Type::Number)
                    }
                    (one, other) => (one == other).then_some(one),
                }
            }
            (op::MODULO, _) => Some(Type::Integer),
            (op::NEGATE, [operand]) => of(operand),
            (op::CONDITIONAL, [_, yes, no]) => of(yes).filter(|yes| of(no) == Some(*yes)),
            (
                op::LOGICAL_AND
                | op::LOGICAL_OR
                | op::LOGICAL_NOT
                | op::EQUALS
                | op::NOT_EQUALS
                | op::LESS
                | op::LESS_EQUALS
                | op::GREATER
                | op::GREATER_EQUALS
                | op::IN
                | "startsWith"
                | "endsWith"
                | "contains"
                | "bool",
                _,
            ) => Some(Type::Boolean),
            ("size" | "int", _) => Some(Type::Integer),
            ("double", _) => Some(Type::Number),
            ("string", _) => Some(Type::Text),
            _ => None,
        },
        _ => None,
    }
}

/// Makes integers floats where they meet floats: CEL's arithmetic takes two of the same type, and JSON
/// has one type of numbers.
fn widen(node: &mut IdedExpr, variables: &Variables<'_>) {
    match &mut node.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| widen(target, variables));
            call.args.iter_mut().for_each(|operand| widen(operand, variables));
            let meets = match (&*call.func_name, &mut call.args[..]) {
                (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE, [left, right]) => {
                    [left, right]
                }
                (op::CONDITIONAL, [_, yes, no]) => [yes, no],
                _ => return,
            };
            let types = [type_of(meets[0], variables), type_of(meets[1], variables)];
            if types.contains(&Some(Type::Number)) {
                for (operand, found) in meets.into_iter().zip(types) {
                    if found == Some(Type::Integer) {
                        to_float(operand);
                    }
                }
            }
        }
        Expr::Comprehension(fold) => {
            for part in [
                &mut fold.iter_range,
                &mut fold.accu_init,
                &mut fold.loop_cond,
                &mut fold.loop_step,
                &mut fold.result,
            ] {
                widen(part, variables);
            }
        }
        Expr::List(list) => list.elements.iter_mut().for_each(|node| widen(node, variables)),
        Expr::Select(select) => widen(&mut select.operand, variables),
        _ => {}
    }
}

fn to_float(node: &mut IdedExpr) {
    let inner = std::mem::take(&mut node.expr);
    node.expr = match inner {
        Expr::Literal(LiteralValue::Int(whole)) => {
            Expr::Literal(LiteralValue::Double((*whole.inner() as f64).into()))
        }
        inner => Expr::Call(CallExpr {
            func_name: "double".to_owned(),
            target: None,
            args: vec![IdedExpr { id: node.id, expr: inner }],
        }),
    };
}
