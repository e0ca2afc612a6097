//! Expressions that work on whole columns, which is what most rules become.
//!
//! An expression whose types are known before any record is becomes operations over columns. They
//! mean what the library's interpreter means, which tests hold them against; what has no operation
//! here (macros over lists, concatenation, values of any type) is left to the interpreter.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators as op};

use crate::{
    expression::{Variables, number},
    types::{self, Type},
};

/// `true` or `false`.
#[derive(Debug)]
pub(crate) enum Flag {
    Read(usize),
    Constant(bool),
    Exists(usize),
    IsNull(usize),
    Not(Box<Flag>),
    Both(Box<[Flag; 2]>),
    Either(Box<[Flag; 2]>),
    If(Box<[Flag; 3]>),
    Equal(Pair),
    Ordered(Order, Pair),
    NumberIn(Box<Number>, Vec<f64>),
    TextIn(Text, Vec<String>),
    TextHas(Part, Text, Text),
}

/// Two operands of one type.
#[derive(Debug)]
pub(crate) enum Pair {
    Numbers(Box<[Number; 2]>),
    Integers(Box<[Integer; 2]>),
    Texts(Box<[Text; 2]>),
    Flags(Box<[Flag; 2]>),
}

/// How one value must stand to another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// Where a text is looked for in another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Start,
    End,
    Anywhere,
}

/// A float.
#[derive(Debug)]
pub(crate) enum Number {
    Read(usize),
    Constant(f64),
    /// An integer beside a float.
    OfInteger(Box<Integer>),
    /// What is converted by name, which takes no null.
    Converted(Box<Number>),
    Fold(Fold, Box<[Number; 2]>),
    Negate(Box<Number>),
    If(Box<(Flag, Number, Number)>),
}

/// An integer.
#[derive(Debug)]
pub(crate) enum Integer {
    Read(usize),
    Constant(i64),
    Fold(Fold, Box<[Integer; 2]>),
    Negate(Box<Integer>),
    Size(Text),
    If(Box<(Flag, Integer, Integer)>),
}

/// An operation of arithmetic.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fold {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// A text.
#[derive(Debug)]
pub(crate) enum Text {
    Read(usize),
    Constant(String),
}

/// Turns trees into operations; none where there is no operation.
pub(crate) struct Compiler<'a, 'b> {
    pub(crate) variables: &'a Variables<'b>,
}

impl Compiler<'_, '_> {
    fn type_of(&self, node: &IdedExpr) -> Option<Type> {
        types::type_of(node, self.variables)
    }

    /// The variable that a node is, if it is one of a type.
    fn variable(&self, node: &IdedExpr, wanted: Type) -> Option<usize> {
        let Expr::Ident(name) = &node.expr else { return None };
        number(name, '@').filter(|_| self.type_of(node) == Some(wanted))
    }

    /// A node as a boolean.
    pub(crate) fn flag(&self, node: &IdedExpr) -> Option<Flag> {
        match &node.expr {
            Expr::Ident(name) => match number(name, '?') {
                Some(variable) => Some(Flag::Exists(variable)),
                None => self.variable(node, Type::Boolean).map(Flag::Read),
            },
            Expr::Literal(LiteralValue::Boolean(value)) => Some(Flag::Constant(*value.inner())),
            Expr::Call(call) => self.flag_call(call),
            _ => None,
        }
    }

    fn flag_call(&self, call: &CallExpr) -> Option<Flag> {
        let flags = |left, right| Some(Box::new([self.flag(left)?, self.flag(right)?]));
        Some(match (&*call.func_name, &call.args[..]) {
            (op::LOGICAL_NOT, [operand]) => Flag::Not(Box::new(self.flag(operand)?)),
            (op::LOGICAL_AND, [left, right]) => Flag::Both(flags(left, right)?),
            (op::LOGICAL_OR, [left, right]) => Flag::Either(flags(left, right)?),
            (op::CONDITIONAL, [condition, yes, no]) => {
                Flag::If(Box::new([self.flag(condition)?, self.flag(yes)?, self.flag(no)?]))
            }
            (op::EQUALS, [left, right]) => self.equal(left, right)?,
            (op::NOT_EQUALS, [left, right]) => Flag::Not(Box::new(self.equal(left, right)?)),
            (op::LESS, [left, right]) => self.ordered(Order::Below, left, right)?,
            (op::LESS_EQUALS, [left, right]) => self.ordered(Order::AtMost, left, right)?,
            (op::GREATER, [left, right]) => self.ordered(Order::Above, left, right)?,
            (op::GREATER_EQUALS, [left, right]) => self.ordered(Order::AtLeast, left, right)?,
            (op::IN, [needle, haystack]) => self.one_of(needle, haystack)?,
            ("startsWith", [part]) => self.text_has(Part::Start, call, part)?,
            ("endsWith", [part]) => self.text_has(Part::End, call, part)?,
            ("contains", [part]) => self.text_has(Part::Anywhere, call, part)?,
            _ => return None,
        })
    }

    fn equal(&self, left: &IdedExpr, right: &IdedExpr) -> Option<Flag> {
        for (null, other) in [(left, right), (right, left)] {
            if types::is_null(null) {
                let Expr::Ident(name) = &other.expr else { return None };
                return number(name, '@').map(Flag::IsNull);
            }
        }
        self.pair(left, right).map(Flag::Equal)
    }

    fn ordered(&self, order: Order, left: &IdedExpr, right: &IdedExpr) -> Option<Flag> {
        Some(Flag::Ordered(order, self.pair(left, right)?))
    }

    fn pair(&self, left: &IdedExpr, right: &IdedExpr) -> Option<Pair> {
        Some(match (self.type_of(left)?, self.type_of(right)?) {
            (Type::Integer, Type::Integer) => {
                Pair::Integers(Box::new([self.integer(left)?, self.integer(right)?]))
            }
            (Type::Integer | Type::Number, Type::Integer | Type::Number) => {
                Pair::Numbers(Box::new([self.number(left)?, self.number(right)?]))
            }
            (Type::Text, Type::Text) => {
                Pair::Texts(Box::new([self.text(left)?, self.text(right)?]))
            }
            (Type::Boolean, Type::Boolean) => {
                Pair::Flags(Box::new([self.flag(left)?, self.flag(right)?]))
            }
            _ => return None,
        })
    }

    fn one_of(&self, needle: &IdedExpr, haystack: &IdedExpr) -> Option<Flag> {
        let Expr::List(list) = &haystack.expr else { return None };
        let elements = || list.elements.iter().map(|element| &element.expr);
        if self.type_of(needle)? == Type::Text {
            let texts = elements().map(|element| match element {
                Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
                _ => None,
            });
            return Some(Flag::TextIn(self.text(needle)?, texts.collect::<Option<_>>()?));
        }
        let numbers = elements().map(|element| match element {
            Expr::Literal(LiteralValue::Double(number)) => Some(*number.inner()),
            // A larger integer is not a float exactly.
            Expr::Literal(LiteralValue::Int(number)) if number.inner().unsigned_abs() < 1 << 53 => {
                Some(*number.inner() as f64)
            }
            _ => None,
        });
        let needle = match self.type_of(needle)? {
            Type::Number => self.number(needle)?,
            _ => return None,
        };
        Some(Flag::NumberIn(Box::new(needle), numbers.collect::<Option<_>>()?))
    }

    fn text_has(&self, part: Part, call: &CallExpr, operand: &IdedExpr) -> Option<Flag> {
        let target = call.target.as_deref()?;
        Some(Flag::TextHas(part, self.text(target)?, self.text(operand)?))
    }

    /// A node as a float; an integer becomes one.
    pub(crate) fn number(&self, node: &IdedExpr) -> Option<Number> {
        if self.type_of(node)? == Type::Integer {
            return Some(match self.integer(node)? {
                Integer::Constant(whole) => Number::Constant(whole as f64),
                integer => Number::OfInteger(Box::new(integer)),
            });
        }
        match &node.expr {
            Expr::Ident(_) => self.variable(node, Type::Number).map(Number::Read),
            Expr::Literal(LiteralValue::Double(value)) => Some(Number::Constant(*value.inner())),
            Expr::Call(call) => Some(match (&*call.func_name, &call.args[..]) {
                (op::NEGATE, [operand]) => Number::Negate(Box::new(self.number(operand)?)),
                (op::CONDITIONAL, [condition, yes, no]) => Number::If(Box::new((
                    self.flag(condition)?,
                    self.number(yes)?,
                    self.number(no)?,
                ))),
                ("double", [operand]) if call.target.is_none() => {
                    self.type_of(operand).filter(|t| matches!(t, Type::Integer | Type::Number))?;
                    Number::Converted(Box::new(self.number(operand)?))
                }
                (name, [left, right]) => Number::Fold(
                    fold(name).filter(|fold| !matches!(fold, Fold::Remainder))?,
                    Box::new([self.number(left)?, self.number(right)?]),
                ),
                _ => return None,
            }),
            _ => None,
        }
    }

    /// A node as an integer.
    pub(crate) fn integer(&self, node: &IdedExpr) -> Option<Integer> {
        match &node.expr {
            Expr::Ident(_) => self.variable(node, Type::Integer).map(Integer::Read),
            Expr::Literal(LiteralValue::Int(value)) => Some(Integer::Constant(*value.inner())),
            Expr::Call(call) => Some(match (&*call.func_name, &call.args[..]) {
                (op::NEGATE, [operand]) => Integer::Negate(Box::new(self.integer(operand)?)),
                (op::CONDITIONAL, [condition, yes, no]) => Integer::If(Box::new((
                    self.flag(condition)?,
                    self.integer(yes)?,
                    self.integer(no)?,
                ))),
                ("size", [operand]) if call.target.is_none() => Integer::Size(self.text(operand)?),
                ("size", []) => Integer::Size(self.text(call.target.as_deref()?)?),
                (name, [left, right]) => Integer::Fold(
                    fold(name)?,
                    Box::new([self.integer(left)?, self.integer(right)?]),
                ),
                _ => return None,
            }),
            _ => None,
        }
    }

    /// A node as a text.
    pub(crate) fn text(&self, node: &IdedExpr) -> Option<Text> {
        match &node.expr {
            Expr::Literal(LiteralValue::String(text)) => {
                Some(Text::Constant(text.inner().to_owned()))
            }
            _ => self.variable(node, Type::Text).map(Text::Read),
        }
    }
}

fn fold(name: &str) -> Option<Fold> {
    Some(match name {
        op::ADD => Fold::Add,
        op::SUBSTRACT => Fold::Subtract,
        op::MULTIPLY => Fold::Multiply,
        op::DIVIDE => Fold::Divide,
        op::MODULO => Fold::Remainder,
        _ => return None,
    })
}
