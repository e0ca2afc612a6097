//! From the schema that rows were written with, and the one that they are wanted in, to a plan of
//! how each value becomes JSON.
//!
//! The library decodes rows by the writer's schema without its logical types, and with its texts as
//! bytes: then a value that is no UUID or no UTF-8 is a fault of its row, and not of all rows behind
//! it in the block. What the values mean, and what becomes of them in the reader's schema, is
//! decided here, once a file, by the rules of the specification's chapter on schema resolution.

use std::collections::HashMap;

use apache_avro::{
    Schema,
    schema::{
        EnumSchema, Name, NamesRef, RecordField, RecordSchema, ResolvedSchema, UnionSchema,
        UuidSchema,
    },
    types::Value,
};
use serde_json::{Value as Json, json};
use tidegate_core::json::{self, typed::Unit};

use super::write::RowWriter;

/// A node's place in its plan.
pub(super) type NodeId = usize;

/// How rows become JSON. A type that is part of itself is one node.
#[derive(Debug)]
pub(super) struct Plan {
    nodes: Vec<Node>,
    root: NodeId,
}

/// What becomes of a value as it was decoded.
#[derive(Debug)]
pub(super) enum Node {
    /// A null, a boolean or a whole number.
    Plain,
    Float,
    Double,
    Utf8,
    Base64,
    Decimal {
        scale: u32,
    },
    /// A decimal that has its scale with it.
    BigDecimal,
    Uuid,
    Date,
    Time(Unit),
    Timestamp {
        unit: Unit,
        utc: bool,
    },
    Interval,
    /// The texts of an enumeration's symbols, as the writer numbers them; none where the reader
    /// does not know one.
    Enumeration(Vec<Option<Vec<u8>>>),
    Array(NodeId),
    Map(NodeId),
    Record(Vec<Member>),
    /// By the writer's branches.
    Union(Vec<NodeId>),
    /// The reader's schema has no place for it.
    Unreadable,
}

/// A member of a record, in the reader's order.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    /// The name as a member's, with the colon.
    pub(super) text: Vec<u8>,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// A field of the record as it was written.
    Field { place: usize, node: NodeId },
    /// The default of a field that was not written, as JSON.
    Default(Vec<u8>),
}

/// Why rows of one schema can't be read as those of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch(pub(super) String);

impl Plan {
    /// A plan for rows of a schema, read as those of the same or another one.
    pub(super) fn new(writer: &Schema, reader: &Schema) -> Result<Self, Mismatch> {
        let names = |schema| ResolvedSchema::new(schema).map_err(|it| Mismatch(it.to_string()));
        let (of_writer, of_reader) = (names(writer)?, names(reader)?);
        let mut planner = Planner {
            writer: of_writer.get_names(),
            reader: of_reader.get_names(),
            nodes: Vec::new(),
            records: HashMap::new(),
            path: Vec::new(),
        };
        let root = planner.node(Typed::new(writer), Typed::new(reader))?;
        Ok(Plan { nodes: planner.nodes, root })
    }

    pub(super) fn root(&self) -> NodeId {
        self.root
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }
}

/// A type, and the namespace that short names in it are of.
#[derive(Clone, Copy)]
struct Typed<'s> {
    schema: &'s Schema,
    namespace: Option<&'s str>,
}

impl<'s> Typed<'s> {
    fn new(schema: &'s Schema) -> Self {
        Typed { schema, namespace: None }
    }

    fn of(self, schema: &'s Schema) -> Self {
        Typed { schema, namespace: self.namespace }
    }

    /// The same in a record, whose namespace is that of what lies in it.
    fn within(self, record: &'s RecordSchema) -> Self {
        Typed { namespace: record.name.namespace().or(self.namespace), ..self }
    }

    /// What a reference stands for.
    fn resolved(self, names: &NamesRef<'s>) -> Result<Self, Mismatch> {
        let Schema::Ref { name } = self.schema else { return Ok(self) };
        let full = name.fully_qualified_name(self.namespace).into_owned();
        match names.get(&full) {
            Some(schema) => Ok(Typed { schema, namespace: self.namespace }),
            None => Err(Mismatch(format!("there is no type `{full}`"))),
        }
    }

    fn name(self) -> Option<&'s Name> {
        match self.schema {
            Schema::Record(it) => Some(&it.name),
            Schema::Enum(it) => Some(&it.name),
            Schema::Fixed(it) => Some(&it.name),
            _ => None,
        }
    }
}

struct Planner<'s, 'n> {
    writer: &'n NamesRef<'s>,
    reader: &'n NamesRef<'s>,
    nodes: Vec<Node>,
    /// Records that are planned or being planned, by both their places in memory.
    records: HashMap<[*const RecordSchema; 2], NodeId>,
    /// Where in a row the planner is, for messages.
    path: Vec<&'s str>,
}

impl<'s> Planner<'s, '_> {
    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn mismatch(&self, what: &str) -> Mismatch {
        let place = match self.path.is_empty() {
            true => "a row".to_owned(),
            false => format!("`{}`", self.path.join(".")),
        };
        Mismatch(format!("{place} {what}"))
    }

    fn node(&mut self, writer: Typed<'s>, reader: Typed<'s>) -> Result<NodeId, Mismatch> {
        let (writer, reader) = (writer.resolved(self.writer)?, reader.resolved(self.reader)?);
        if let Schema::Union(union) = writer.schema {
            return self.written_union(writer, union, reader);
        }
        if let Schema::Union(union) = reader.schema {
            return self.read_union(writer, reader, union);
        }
        let node = match (writer.schema, reader.schema) {
            (Schema::Record(from), Schema::Record(to)) => {
                return self.record((writer, from), (reader, to));
            }
            (Schema::Array(from), Schema::Array(to)) => {
                Node::Array(self.node(writer.of(&from.items), reader.of(&to.items))?)
            }
            (Schema::Map(from), Schema::Map(to)) => {
                Node::Map(self.node(writer.of(&from.types), reader.of(&to.types))?)
            }
            (Schema::Enum(from), Schema::Enum(to)) => enumeration(from, to),
            _ => self.leaf(writer.schema, reader.schema)?,
        };
        Ok(self.add(node))
    }

    /// Any branch may come; one that can't be read is a fault of its row.
    fn written_union(
        &mut self,
        writer: Typed<'s>,
        union: &'s UnionSchema,
        reader: Typed<'s>,
    ) -> Result<NodeId, Mismatch> {
        let mut branches = Vec::new();
        let mut mismatch = None;
        for branch in union.variants() {
            branches.push(self.node(writer.of(branch), reader));
        }
        let mut readable = 0;
        let branches = branches.into_iter().map(|branch| match branch {
            Ok(node) => {
                readable += 1;
                node
            }
            Err(why) => {
                mismatch.get_or_insert(why);
                self.add(Node::Unreadable)
            }
        });
        let branches = branches.collect();
        match mismatch {
            Some(why) if readable == 0 => Err(why),
            _ => Ok(self.add(Node::Union(branches))),
        }
    }

    /// The branch of the same type counts, or else the first one that it can be read as.
    fn read_union(
        &mut self,
        writer: Typed<'s>,
        reader: Typed<'s>,
        union: &'s UnionSchema,
    ) -> Result<NodeId, Mismatch> {
        for only_alike in [true, false] {
            for branch in union.variants() {
                let branch = reader.of(branch).resolved(self.reader)?;
                if only_alike && !is_alike(writer, branch) {
                    continue;
                }
                if let Ok(node) = self.node(writer, branch) {
                    return Ok(node);
                }
            }
        }
        Err(self.mismatch("is of none of the types that the reader's schema has there"))
    }

    fn record(
        &mut self,
        (writer, from): (Typed<'s>, &'s RecordSchema),
        (reader, to): (Typed<'s>, &'s RecordSchema),
    ) -> Result<NodeId, Mismatch> {
        let both = [std::ptr::from_ref(from), std::ptr::from_ref(to)];
        if let Some(known) = self.records.get(&both) {
            return Ok(*known);
        }
        let id = self.add(Node::Unreadable);
        self.records.insert(both, id);
        let mut members = Vec::new();
        for field in &to.fields {
            self.path.push(&field.name);
            let content = self.content((writer.within(from), from), (reader.within(to), field));
            self.path.pop();
            let content = content.inspect_err(|_| {
                self.records.remove(&both);
            })?;
            let mut text = Vec::new();
            json::write_string(field.name.as_bytes(), &mut text);
            text.push(b':');
            members.push(Member { name: field.name.clone(), text, content });
        }
        self.nodes[id] = Node::Record(members);
        Ok(id)
    }

    /// What becomes of a field: it is found by its name, and by its aliases if that was not written.
    fn content(
        &mut self,
        (writer, from): (Typed<'s>, &'s RecordSchema),
        (reader, field): (Typed<'s>, &'s RecordField),
    ) -> Result<Content, Mismatch> {
        let place = |name: &String| from.fields.iter().position(|it| it.name == *name);
        if let Some(place) = place(&field.name).or_else(|| field.aliases.iter().find_map(place)) {
            let written = writer.of(&from.fields[place].schema);
            let node = self.node(written, reader.of(&field.schema))?;
            return Ok(Content::Field { place, node });
        }
        let Some(default) = &field.default else {
            return Err(self.mismatch(
                "is not among the fields that were written, and the reader's schema has no default \
                 for it",
            ));
        };
        let unfit = || self.mismatch("has a default that is not of its type");
        let typed = reader.of(&field.schema);
        let value = physical(typed, default, self.reader, json::DEPTH_MAX).ok_or_else(unfit)?;
        let mut planner = Planner {
            writer: self.reader,
            reader: self.reader,
            nodes: Vec::new(),
            records: HashMap::new(),
            path: self.path.clone(),
        };
        let root = planner.node(typed, typed)?;
        let plan = Plan { nodes: planner.nodes, root };
        let mut text = Vec::new();
        let mut row = RowWriter::new(&plan, tidegate_core::json::typed::RowFormat::default());
        match row.write(&value, &mut text) {
            None => Ok(Content::Default(text)),
            Some(_) => Err(self.mismatch("has a default that JSON has no text for")),
        }
    }

    /// A value without parts. What the reader's schema takes it for counts; of a time, in the unit
    /// that it was written in.
    fn leaf(&self, writer: &Schema, reader: &Schema) -> Result<Node, Mismatch> {
        use Physical::{Boolean, Bytes, Double, Fixed, Float, Int, Long, Null, String};

        let (from, to) = (Physical::of(writer), Physical::of(reader));
        let node = match (from, to) {
            (Some(Null), Some(Null)) | (Some(Boolean), Some(Boolean)) => Node::Plain,
            (Some(Int), Some(Int | Long)) | (Some(Long), Some(Long)) => number(writer, reader),
            (Some(Int | Long | Float), Some(Float)) => Node::Float,
            (Some(Int | Long | Float | Double), Some(Double)) => match from {
                // With the digits that it has, and not with those that it gets from twice the width.
                Some(Float) => Node::Float,
                _ => Node::Double,
            },
            (Some(Bytes | String), Some(Bytes | String)) => bytes(writer, reader),
            (Some(Fixed(from)), Some(Fixed(to))) if from == to => bytes(writer, reader),
            _ => {
                return Err(
                    self.mismatch("was written as another type than the reader's schema has")
                );
            }
        };
        Ok(node)
    }
}

/// What a value is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Physical {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
}

impl Physical {
    fn of(schema: &Schema) -> Option<Self> {
        use apache_avro::schema::InnerDecimalSchema;

        Some(match schema {
            Schema::Null => Physical::Null,
            Schema::Boolean => Physical::Boolean,
            Schema::Int | Schema::Date | Schema::TimeMillis => Physical::Int,
            Schema::Long
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Physical::Long,
            Schema::Float => Physical::Float,
            Schema::Double => Physical::Double,
            Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => Physical::Bytes,
            Schema::String | Schema::Uuid(UuidSchema::String) => Physical::String,
            Schema::Fixed(fixed) | Schema::Uuid(UuidSchema::Fixed(fixed)) => {
                Physical::Fixed(fixed.size)
            }
            Schema::Duration(fixed) => Physical::Fixed(fixed.size),
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => Physical::Bytes,
                InnerDecimalSchema::Fixed(fixed) => Physical::Fixed(fixed.size),
            },
            _ => return None,
        })
    }
}

/// What a whole number means.
fn number(writer: &Schema, reader: &Schema) -> Node {
    let node = |schema: &Schema| match schema {
        Schema::Date => Node::Date,
        Schema::TimeMillis => Node::Time(Unit::Millis),
        Schema::TimeMicros => Node::Time(Unit::Micros),
        Schema::TimestampMillis => Node::Timestamp { unit: Unit::Millis, utc: true },
        Schema::TimestampMicros => Node::Timestamp { unit: Unit::Micros, utc: true },
        Schema::TimestampNanos => Node::Timestamp { unit: Unit::Nanos, utc: true },
        Schema::LocalTimestampMillis => Node::Timestamp { unit: Unit::Millis, utc: false },
        Schema::LocalTimestampMicros => Node::Timestamp { unit: Unit::Micros, utc: false },
        Schema::LocalTimestampNanos => Node::Timestamp { unit: Unit::Nanos, utc: false },
        _ => Node::Plain,
    };
    match (node(writer), node(reader)) {
        (Node::Time(unit), Node::Time(_)) => Node::Time(unit),
        (Node::Timestamp { unit, .. }, Node::Timestamp { utc, .. }) => {
            Node::Timestamp { unit, utc }
        }
        (_, reader) => reader,
    }
}

/// What bytes mean.
fn bytes(writer: &Schema, reader: &Schema) -> Node {
    let node = |schema: &Schema| match schema {
        // Whether a text is a UUID is for a rule to say.
        Schema::String | Schema::Uuid(UuidSchema::String) => Node::Utf8,
        Schema::Uuid(_) => Node::Uuid,
        Schema::Duration(_) => Node::Interval,
        Schema::BigDecimal => Node::BigDecimal,
        Schema::Decimal(decimal) => {
            Node::Decimal { scale: u32::try_from(decimal.scale).unwrap_or(u32::MAX) }
        }
        _ => Node::Base64,
    };
    match (node(writer), node(reader)) {
        (Node::Decimal { scale }, Node::Decimal { .. }) => Node::Decimal { scale },
        (_, reader) => reader,
    }
}

fn enumeration(from: &EnumSchema, to: &EnumSchema) -> Node {
    let texts = from.symbols.iter().map(|symbol| {
        let mut candidates = [Some(symbol), to.default.as_ref()].into_iter().flatten();
        let read = candidates.find(|candidate| to.symbols.contains(candidate))?;
        let mut text = Vec::new();
        json::write_string(read.as_bytes(), &mut text);
        Some(text)
    });
    Node::Enumeration(texts.collect())
}

/// Whether a branch of the reader's is the type that was written, and of the same name if it has
/// one.
fn is_alike(writer: Typed<'_>, reader: Typed<'_>) -> bool {
    let same_kind = match (Physical::of(writer.schema), Physical::of(reader.schema)) {
        (Some(from), Some(to)) => from == to,
        (None, None) => {
            std::mem::discriminant(writer.schema) == std::mem::discriminant(reader.schema)
        }
        _ => false,
    };
    let same_name = match (writer.name(), reader.name()) {
        (Some(from), Some(to)) => from.name() == to.name() || has_alias(reader.schema, from),
        _ => true,
    };
    same_kind && same_name
}

fn has_alias(reader: &Schema, name: &Name) -> bool {
    let aliases = match reader {
        Schema::Record(it) => &it.aliases,
        Schema::Enum(it) => &it.aliases,
        Schema::Fixed(it) => &it.aliases,
        _ => return false,
    };
    aliases.iter().flatten().any(|alias| alias.name() == name.name())
}

/// A default as a value that could have been decoded. Bytes are a text of the characters with their
/// numbers. A default may lie in a default, but not without end.
fn physical(typed: Typed<'_>, default: &Json, names: &NamesRef<'_>, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let schema = match typed.schema {
        Schema::Ref { name } => *names.get(&*name.fully_qualified_name(typed.namespace))?,
        schema => schema,
    };
    let below = |schema| Typed { schema, namespace: typed.namespace };
    Some(match schema {
        Schema::Union(union) => {
            let mut branches = union.variants().iter().enumerate();
            return branches.find_map(|(place, branch)| {
                let value = physical(below(branch), default, names, depth)?;
                Some(Value::Union(place as u32, Box::new(value)))
            });
        }
        Schema::Record(record) => {
            let members = default.as_object()?;
            let namespace = record.name.namespace().or(typed.namespace);
            let fields = record.fields.iter().map(|field| {
                let default = members.get(&field.name).or(field.default.as_ref())?;
                let value =
                    physical(Typed { schema: &field.schema, namespace }, default, names, depth)?;
                Some((field.name.clone(), value))
            });
            Value::Record(fields.collect::<Option<_>>()?)
        }
        Schema::Array(array) => {
            let items = default.as_array()?.iter();
            let items = items.map(|item| physical(below(&array.items), item, names, depth));
            Value::Array(items.collect::<Option<_>>()?)
        }
        Schema::Map(map) => {
            let members = default.as_object()?.iter();
            let members = members.map(|(key, value)| {
                Some((key.clone(), physical(below(&map.types), value, names, depth)?))
            });
            Value::Map(members.collect::<Option<_>>()?)
        }
        Schema::Enum(it) => {
            let symbol = default.as_str()?;
            let place = it.symbols.iter().position(|known| known == symbol)?;
            Value::Enum(place as u32, symbol.to_owned())
        }
        schema => match Physical::of(schema)? {
            Physical::Null => default.is_null().then_some(Value::Null)?,
            Physical::Boolean => Value::Boolean(default.as_bool()?),
            Physical::Int => Value::Int(i32::try_from(default.as_i64()?).ok()?),
            Physical::Long => Value::Long(default.as_i64()?),
            Physical::Float => Value::Float(default.as_f64()? as f32),
            Physical::Double => Value::Double(default.as_f64()?),
            Physical::String => Value::Bytes(default.as_str()?.as_bytes().to_vec()),
            Physical::Bytes | Physical::Fixed(_) => {
                let bytes = default.as_str()?.chars().map(|it| u8::try_from(u32::from(it)).ok());
                Value::Bytes(bytes.collect::<Option<_>>()?)
            }
        },
    })
}

/// A writer's schema without what decoding does not need: without defaults, of which only a
/// reader's count; and, for decoding, without logical types and with texts as bytes.
pub(super) fn plain(schema: &Json, for_decoding: bool) -> Json {
    part(schema, for_decoding, false)
}

fn part(schema: &Json, for_decoding: bool, keep_texts: bool) -> Json {
    let below = |schema: &Json| part(schema, for_decoding, false);
    match schema {
        Json::String(name) if name == "string" && for_decoding && !keep_texts => json!("bytes"),
        Json::Array(branches) => {
            // A union has no type twice.
            let has_bytes = branches.iter().any(|it| it == "bytes" || it["type"] == "bytes");
            let branches = branches.iter().map(|it| part(it, for_decoding, has_bytes));
            Json::Array(branches.collect())
        }
        Json::Object(members) => match members.get("type") {
            Some(Json::String(name)) => {
                let mut kept = members.clone();
                kept.remove("default");
                if for_decoding {
                    ["logicalType", "precision", "scale"].iter().for_each(|it| {
                        kept.remove(*it);
                    });
                }
                match name.as_str() {
                    "string" if for_decoding && !keep_texts => {
                        kept.insert("type".to_owned(), json!("bytes"));
                    }
                    "array" => {
                        let items = members.get("items").map(below);
                        kept.extend(items.map(|it| ("items".to_owned(), it)));
                    }
                    "map" => {
                        let values = members.get("values").map(below);
                        kept.extend(values.map(|it| ("values".to_owned(), it)));
                    }
                    "record" | "error" => {
                        let fields = members.get("fields").and_then(Json::as_array);
                        let fields = fields.into_iter().flatten().map(|field| {
                            let mut field = field.clone();
                            if let Some(members) = field.as_object_mut() {
                                members.remove("default");
                                if let Some(of) = members.get_mut("type") {
                                    *of = below(of);
                                }
                                if for_decoding {
                                    members.remove("logicalType");
                                }
                            }
                            field
                        });
                        kept.insert("fields".to_owned(), fields.collect());
                    }
                    _ => {}
                }
                Json::Object(kept)
            }
            Some(inner) => part(inner, for_decoding, keep_texts),
            None => schema.clone(),
        },
        other => other.clone(),
    }
}
