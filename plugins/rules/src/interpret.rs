//! Expressions that the library's interpreter evaluates, row by row.
//!
//! A variable is looked up in the columns when it is asked for, so that no map is made of a row.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use cel::{
    Context, Env, ExecutionError, Value,
    common::{
        ast::IdedExpr,
        types::{CelBool, CelDouble, CelInt, CelNull, CelString},
        value::{CowVal, Val},
    },
    context::VariableResolver,
};
use tidegate_plugin::{Absence, Batch, batch::Values};

use crate::{expression::number, fault::Fault, object};

/// The library's functions, made once an instance.
#[derive(Clone)]
pub(crate) struct Library(Arc<Env>);

impl Library {
    pub(crate) fn new() -> Self {
        Library(Arc::new(Env::stdlib()))
    }
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Library")
    }
}

/// What an expression gives for a row.
pub(crate) type Outcome = Result<Value, Fault>;

/// Evaluates an expression for each row of a batch.
pub(crate) fn each_row(
    expression: &IdedExpr,
    library: &Library,
    batch: &Batch<'_>,
    mut take: impl FnMut(usize, Outcome),
) {
    let current = Row { batch, row: AtomicUsize::new(0) };
    let mut context = Context::with_env(Arc::clone(&library.0));
    context.set_variable_resolver(&current);
    for row in batch.rows() {
        current.row.store(row, Ordering::Relaxed);
        take(row, Value::resolve(expression, &context).map_err(|error| current.fault(&error)));
    }
}

/// The row that is evaluated. (An atomic number, for the library wants what threads may share.)
struct Row<'a> {
    batch: &'a Batch<'a>,
    row: AtomicUsize,
}

impl VariableResolver for Row<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let row = self.row.load(Ordering::Relaxed);
        if let Some(variable) = number(name, '?') {
            let exists = self.batch.presence(variable).get(row) != Err(Absence::Missing);
            return Some(CowVal::owned(CelBool::from(exists)));
        }
        let variable = number(name, '@')?;
        match self.batch.presence(variable).get(row) {
            Ok(()) => {}
            Err(Absence::Missing) => return None,
            Err(Absence::Null) => return Some(CowVal::owned(CelNull)),
            Err(_) => return Some(CowVal::owned(object::Stranger)),
        }
        Some(match self.batch.columns[variable].values {
            Values::Boolean(values) => CowVal::owned(CelBool::from(values[row] != 0)),
            Values::Int64(values) | Values::Timestamp(values) => {
                CowVal::owned(CelInt::from(values[row]))
            }
            Values::Float64(values) => CowVal::owned(CelDouble::from(values[row])),
            Values::Date(values) => CowVal::owned(CelInt::from(i64::from(values[row]))),
            Values::Enumeration(codes) => CowVal::owned(CelInt::from(i64::from(codes[row]))),
            Values::Utf8(texts) => CowVal::owned(CelString::from(texts.get(row))),
            Values::Json(texts) => {
                // Half a surrogate pair and a number beyond a double are no values of CEL.
                let json = serde_json::from_str(texts.get(row)).ok()?;
                let value: Box<dyn Val> = object::value(json);
                CowVal::Owned(value)
            }
        })
    }
}

impl Row<'_> {
    /// An error without the values that the library puts into it.
    fn fault(&self, error: &ExecutionError) -> Fault {
        match error {
            ExecutionError::UndeclaredReference(name) => match number(name, '@') {
                Some(variable) => {
                    let row = self.row.load(Ordering::Relaxed);
                    match self.batch.presence(variable).get(row) {
                        Err(absence) => Fault::absent(variable, absence as u8),
                        Ok(()) => Fault::UNREADABLE,
                    }
                }
                None => Fault::NO_OPERATION,
            },
            ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_) => Fault::NO_KEY,
            ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
                Fault::DIVISION_BY_ZERO
            }
            ExecutionError::Overflow(..) => Fault::OVERFLOW,
            _ => Fault::NO_OPERATION,
        }
    }
}
