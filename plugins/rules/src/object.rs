//! JSON values as values of CEL.
//!
//! Numbers are doubles, as CEL says of JSON. Objects are maps of our own, for the library's iterate in
//! another order each time, and a plugin's reply must not.

use std::sync::Arc;

use cel::{
    ExecutionError,
    common::{
        traits::{Container, Indexer, Iterable, Iterator, Sizer},
        types::{CelBool, CelDouble, CelInt, CelList, CelNull, CelString, MAP_TYPE, Type},
        value::{CowVal, StaticVal, Val},
    },
};
use serde_json::Value;

/// A JSON value as one of CEL.
pub(crate) fn value(json: Value) -> Box<dyn Val> {
    match json {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(value)),
        // A number beyond a double's range does not parse.
        Value::Number(number) => Box::new(CelDouble::from(number.as_f64().unwrap_or_default())),
        Value::String(text) => Box::new(CelString::from(text)),
        Value::Array(elements) => {
            let elements: Vec<Box<dyn Val>> = elements.into_iter().map(value).collect();
            Box::new(CelList::from(elements))
        }
        Value::Object(members) => {
            // In the order of their names: the library's map keeps no other.
            let members = members.into_iter().map(|(name, json)| (name.into(), value(json)));
            Box::new(Object { members: Arc::new(members.collect()) })
        }
    }
}

/// A value of another type than its column is of. It equals nothing, and no operation takes it.
#[derive(Clone, Debug)]
pub(crate) struct Stranger;

static STRANGER: Type = Type::new_unspecified_type("another type");

impl Val for Stranger {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        &STRANGER
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }
}

/// A map from names to values, in the order of the names.
#[derive(Clone, Debug)]
struct Object {
    members: Arc<Vec<(CelString<'static>, Box<dyn Val>)>>,
}

impl Object {
    fn member(&self, name: &dyn Val) -> Option<&(dyn Val + 'static)> {
        let name = name.downcast_ref::<CelString<'_>>()?.inner();
        let at = self.members.binary_search_by(|(known, _)| known.inner().cmp(name)).ok()?;
        Some(&*self.members[at].1)
    }
}

impl StaticVal for Object {}

impl Val for Object {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        let Some(other) = other.downcast_ref::<Object>() else { return false };
        self.members.len() == other.members.len()
            && self
                .members
                .iter()
                .zip(other.members.iter())
                .all(|((name, value), (theirs, other))| name == theirs && value.equals(&**other))
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
}

impl Container for Object {
    fn contains(&self, name: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.member(name).is_some())
    }
}

impl Indexer for Object {
    fn get<'b, 'v>(&'b self, name: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        match self.member(name) {
            Some(value) => Ok(CowVal::Borrowed(value)),
            None => Err(ExecutionError::no_such_key("")),
        }
    }

    fn steal<'v>(self: Box<Self>, name: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(name).map(CowVal::into_owned)
    }
}

impl Sizer for Object {
    fn size(&self) -> CelInt {
        CelInt::from(self.members.len() as i64)
    }
}

impl Iterable for Object {
    fn iter<'b, 'v>(&'b self) -> Box<dyn Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Names { members: self.members.iter() })
    }
}

/// The names of an object, which is what CEL iterates over.
struct Names<'b> {
    members: std::slice::Iter<'b, (CelString<'static>, Box<dyn Val>)>,
}

impl<'b, 'v> Iterator<'b, 'v> for Names<'b> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.members.next().map(|(name, _)| name as &'b (dyn Val + 'v))
    }
}
