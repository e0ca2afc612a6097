//! The shape of a file's rows: what of its schema becomes an object, an array, a value, and by
//! which levels that is told.
//!
//! A file stores each leaf of its schema as a column of its own, with two levels a value: how much
//! of the path to it is there (definition), and which of the arrays above it goes on (repetition).

use std::ops::Range;

use parquet::{
    basic::{ConvertedType, LogicalType, Repetition},
    schema::types::{SchemaDescriptor, Type},
};

use super::{ReadError, text::Text};
use crate::json;

/// Deeper schemas are refused: an object must not be nested deeper than a record may be.
const DEPTH_MAX: usize = json::DEPTH_MAX - 2;

/// A part of a row.
#[derive(Debug)]
pub(super) struct Node {
    /// `"name":`
    pub(super) member: Vec<u8>,
    /// The definition level from which on it is not null; none where it never is.
    pub(super) null_below: Option<i16>,
    /// The columns that it is made of, of which there is at least one.
    pub(super) leaves: Range<usize>,
    pub(super) shape: Shape,
}

#[derive(Debug)]
pub(super) enum Shape {
    Value,
    Object(Vec<Node>),
    Array(Box<Node>, Repeated),
    /// An object whose members' names are values.
    Map {
        key: Box<Node>,
        value: Box<Node>,
        repeated: Repeated,
    },
}

impl Node {
    /// Its columns are so many places further ahead, for some before them are left out.
    pub(super) fn move_leaves(&mut self, ahead: usize) {
        self.leaves = self.leaves.start - ahead..self.leaves.end - ahead;
        match &mut self.shape {
            Shape::Value => {}
            Shape::Object(members) => members.iter_mut().for_each(|it| it.move_leaves(ahead)),
            Shape::Array(element, _) => element.move_leaves(ahead),
            Shape::Map { key, value, .. } => {
                key.move_leaves(ahead);
                value.move_leaves(ahead);
            }
        }
    }
}

/// The levels of something repeated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeated {
    /// The definition level from which on there is an element.
    pub(super) defined: i16,
    /// The repetition level of each element but the first.
    pub(super) repetition: i16,
}

/// The members of a row.
pub(super) fn members(schema: &SchemaDescriptor) -> Result<Vec<Node>, ReadError> {
    let mut builder = Builder { schema, next_leaf: 0 };
    builder.members(schema.root_schema(), Levels::default(), 0)
}

#[derive(Clone, Copy, Default)]
struct Levels {
    definition: i16,
    repetition: i16,
}

impl Levels {
    fn repeated(self) -> Self {
        Levels { definition: self.definition + 1, repetition: self.repetition + 1 }
    }
}

struct Builder<'a> {
    schema: &'a SchemaDescriptor,
    next_leaf: usize,
}

impl Builder<'_> {
    fn members(
        &mut self,
        group: &Type,
        levels: Levels,
        depth: usize,
    ) -> Result<Vec<Node>, ReadError> {
        let fields = group.get_fields();
        if fields.is_empty() {
            return Err(refused(group, "is a group without fields"));
        }
        let mut names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(refused(group, &format!("has two fields named `{}`", twice[0])));
        }
        fields.iter().map(|field| self.field(field, levels, depth)).collect()
    }

    fn field(&mut self, field: &Type, levels: Levels, depth: usize) -> Result<Node, ReadError> {
        match field.get_basic_info().repetition() {
            Repetition::REQUIRED => self.node(field, levels, None, depth),
            Repetition::OPTIONAL => {
                let definition = levels.definition + 1;
                self.node(field, Levels { definition, ..levels }, Some(definition), depth)
            }
            // Neither a list nor a map stands around it: an array, which is never null.
            Repetition::REPEATED => {
                let inner = levels.repeated();
                let element = self.node(field, inner, None, depth + 1)?;
                Ok(array(field, None, element, inner))
            }
        }
    }

    /// A field whose own repetition is taken care of.
    fn node(
        &mut self,
        field: &Type,
        levels: Levels,
        null_below: Option<i16>,
        depth: usize,
    ) -> Result<Node, ReadError> {
        if depth > DEPTH_MAX {
            return Err(refused(field, "lies too deep"));
        }
        if field.is_primitive() {
            let leaf = self.next_leaf;
            self.next_leaf += 1;
            let of = leaf..leaf + 1;
            return Ok(node(field, null_below, of, Shape::Value));
        }
        let info = field.get_basic_info();
        match (info.logical_type_ref(), info.converted_type()) {
            (Some(LogicalType::List), _) | (None, ConvertedType::LIST) => {
                let repeated = only_repeated(field)?;
                let inner = levels.repeated();
                // Some writers leave the group around an element out.
                let element = if is_element(field, repeated) {
                    self.node(repeated, inner, None, depth + 1)?
                } else {
                    self.field(&repeated.get_fields()[0], inner, depth + 1)?
                };
                Ok(array(field, null_below, element, inner))
            }
            (Some(LogicalType::Map), _)
            | (None, ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE) => {
                self.map(field, levels, null_below, depth)
            }
            _ => {
                let start = self.next_leaf;
                let members = self.members(field, levels, depth + 1)?;
                Ok(node(field, null_below, start..self.next_leaf, Shape::Object(members)))
            }
        }
    }

    fn map(
        &mut self,
        field: &Type,
        levels: Levels,
        null_below: Option<i16>,
        depth: usize,
    ) -> Result<Node, ReadError> {
        let entry = only_repeated(field)?;
        if entry.is_primitive() {
            return Err(refused(field, "is a map whose entries have no fields"));
        }
        let inner = levels.repeated();
        let start = self.next_leaf;
        let mut parts = self.members(entry, inner, depth + 2)?;
        let of = start..self.next_leaf;
        let repeated = Repeated { defined: inner.definition, repetition: inner.repetition };
        if let [key, _] = &parts[..]
            && key.null_below.is_none()
            && matches!(key.shape, Shape::Value)
            && matches!(Text::of(&self.schema.column(key.leaves.start)), Ok(Text::Utf8))
            && let (Some(value), Some(key)) = (parts.pop(), parts.pop())
        {
            let (key, value) = (Box::new(key), Box::new(value));
            return Ok(node(field, null_below, of, Shape::Map { key, value, repeated }));
        }
        // Names are texts: entries with other keys, or with none, are objects of their own.
        let entries = Shape::Object(parts);
        let element = node(entry, None, of.clone(), entries);
        Ok(node(field, null_below, of, Shape::Array(Box::new(element), repeated)))
    }
}

fn node(field: &Type, null_below: Option<i16>, leaves: Range<usize>, shape: Shape) -> Node {
    let mut member = Vec::new();
    json::write_string(field.name().as_bytes(), &mut member);
    member.push(b':');
    Node { member, null_below, leaves, shape }
}

fn array(field: &Type, null_below: Option<i16>, element: Node, inner: Levels) -> Node {
    let repeated = Repeated { defined: inner.definition, repetition: inner.repetition };
    node(field, null_below, element.leaves.clone(), Shape::Array(Box::new(element), repeated))
}

/// The one field of a list or map.
fn only_repeated(field: &Type) -> Result<&Type, ReadError> {
    match field.get_fields() {
        [only] if only.get_basic_info().repetition() == Repetition::REPEATED => Ok(only),
        _ => Err(refused(field, "is a list or a map without one repeated field in it")),
    }
}

/// Whether the repeated field of a list is its element, and not a group around it: the rules of
/// backward compatibility of the format's `LogicalTypes.md`.
fn is_element(list: &Type, repeated: &Type) -> bool {
    let tuple = || format!("{}_tuple", list.name());
    repeated.is_primitive()
        || repeated.get_fields().len() != 1
        || repeated.get_fields()[0].get_basic_info().repetition() == Repetition::REPEATED
        || repeated.name() == "array"
        || repeated.name() == tuple()
}

fn refused(field: &Type, why: &str) -> ReadError {
    ReadError::Schema { detail: format!("`{}` {why}", field.name()) }
}
