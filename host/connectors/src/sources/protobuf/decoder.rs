//! A message as JSON. Knows nothing of files: what it takes is one message's bytes.
//!
//! What each type becomes is the mapping of proto3, and the messages of `google.protobuf` that it
//! gives a text of their own have that. `docs/protobuf.md` says where there is a choice. Members stand
//! in the order of their fields' numbers, and entries of maps in that of their keys, so that the same
//! bytes give the same text: the library keeps neither maps nor their entries in order.

use std::{collections::HashMap, io};

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey,
    MessageDescriptor, ReflectMessage, SerializeOptions, Value,
};
use protox::{
    Compiler,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver},
};
use tidegate_core::json::{
    self,
    typed::{self, write_integer},
};

/// How messages become JSON, where there is a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageFormat {
    /// Whether members have the names of the `.proto`, rather than those for JSON.
    pub proto_names: bool,
    /// Whether a field that has its default is written where it does not say whether it was set.
    pub write_defaults: bool,
    /// Whether whole numbers of 64 bits are texts.
    pub int64_as_text: bool,
}

/// There is no type to decode messages by.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// These bytes are no descriptor set, or not a whole one.
    #[error(
        "it is no descriptor set with all its imports, as `protoc --include_imports \
         --descriptor_set_out` writes it: {0}"
    )]
    Descriptors(String),
    /// It has no such message.
    #[error("the schema has no message `{name}`: it has {}", list(known))]
    UnknownMessage {
        /// Its full name.
        name: String,
        /// The names of those that there are.
        known: Vec<String>,
    },
}

/// A message is none, or has a value that JSON has no text for. No value is told.
#[derive(Debug, thiserror::Error)]
pub(in crate::sources) enum MessageError {
    #[error("the bytes are no message of type `{name}`: {reason}")]
    Malformed { name: String, reason: String },
    #[error("`{field}` can't be written as JSON: {reason}")]
    NoJson { field: String, reason: String },
}

/// A message of any type may lie in one of any type, so deep.
const ANY_DEPTH_MAX: usize = 16;

/// So many names are told.
const TOLD_MAX: usize = 10;

fn list(names: &[String]) -> String {
    let told = names.iter().take(TOLD_MAX).map(|name| format!("`{name}`"));
    let more = if names.len() > TOLD_MAX { ", …" } else { "" };
    told.collect::<Vec<_>>().join(", ") + more
}

/// Makes JSON of messages of one type.
#[derive(Clone, Debug)]
pub struct MessageDecoder {
    message: MessageDescriptor,
    format: MessageFormat,
    /// The members' names of each type, with their quotes and colons.
    members: HashMap<String, Vec<Vec<u8>>>,
}

impl MessageDecoder {
    /// Takes a type out of a descriptor set that has all that it imports.
    pub fn new(
        descriptors: &[u8],
        message: &str,
        format: MessageFormat,
    ) -> Result<Self, SchemaError> {
        let pool = DescriptorPool::decode(descriptors)
            .map_err(|error| SchemaError::Descriptors(error.to_string()))?;
        let Some(message) = pool.get_message_by_name(message) else {
            let known = pool.all_messages().filter(|it| !it.is_map_entry());
            let mut known: Vec<_> = known.map(|it| it.full_name().to_owned()).collect();
            known.sort_by_key(|name| name.starts_with("google.protobuf."));
            return Err(SchemaError::UnknownMessage { name: message.to_owned(), known });
        };
        let members = pool.all_messages().map(|message| {
            let members = message.fields().map(|field| {
                let name = if format.proto_names { field.name() } else { field.json_name() };
                member(name)
            });
            (message.full_name().to_owned(), members.collect())
        });
        Ok(MessageDecoder { members: members.collect(), message, format })
    }

    /// Appends a message as JSON. Returns how many fields it had that its type does not know; they
    /// are left out.
    pub(in crate::sources) fn decode(
        &self,
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<u64, MessageError> {
        let decoded = DynamicMessage::decode(self.message.clone(), message).map_err(|error| {
            let name = self.message.full_name().to_owned();
            // The library tells what was expected and where, and no value.
            MessageError::Malformed { name, reason: error.to_string() }
        })?;
        let mut writer = Writer { decoder: self, unknown: 0, any_depth: 0, path: Vec::new() };
        writer.message(&decoded, out)?;
        Ok(writer.unknown)
    }
}

fn member(name: &str) -> Vec<u8> {
    let mut text = Vec::new();
    json::write_string(name.as_bytes(), &mut text);
    text.push(b':');
    text
}

/// A message on its way to its text.
struct Writer<'d> {
    decoder: &'d MessageDecoder,
    unknown: u64,
    /// How many `Any` lie around what is written: each is a message of its own to the library.
    any_depth: usize,
    /// The fields that the writer is in, by their names in the `.proto`.
    path: Vec<String>,
}

impl Writer<'_> {
    fn message(&mut self, message: &DynamicMessage, out: &mut Vec<u8>) -> Result<(), MessageError> {
        self.unknown += message.unknown_fields().count() as u64;
        let descriptor = message.descriptor();
        match descriptor.full_name() {
            "google.protobuf.Any" => self.any(message, out),
            "google.protobuf.Struct" => {
                // An object, whatever its field is called.
                let fields = message.get_field_by_number(1);
                match fields.as_deref() {
                    Some(Value::Map(fields)) => self.map(fields, &descriptor.fields().next(), out),
                    _ => self.no_json("it has no fields"),
                }
            }
            "google.protobuf.ListValue" => {
                let values = message.get_field_by_number(1);
                match (values.as_deref(), descriptor.fields().next()) {
                    (Some(Value::List(values)), Some(field)) => {
                        self.list(values.as_slice(), &field.kind(), out)
                    }
                    _ => self.no_json("it has no values"),
                }
            }
            "google.protobuf.Value" => match message.fields().next() {
                Some((field, Value::F64(value))) if !value.is_finite() => {
                    self.path.push(field.name().to_owned());
                    self.no_json("a number that is not finite is no JSON")
                }
                Some((field, value)) => self.value(value, &field.kind(), out),
                None => {
                    out.extend_from_slice(b"null");
                    Ok(())
                }
            },
            "google.protobuf.DoubleValue"
            | "google.protobuf.FloatValue"
            | "google.protobuf.Int64Value"
            | "google.protobuf.UInt64Value"
            | "google.protobuf.Int32Value"
            | "google.protobuf.UInt32Value"
            | "google.protobuf.BoolValue"
            | "google.protobuf.StringValue"
            | "google.protobuf.BytesValue" => {
                match (message.get_field_by_number(1), descriptor.get_field(1)) {
                    (Some(value), Some(field)) => self.value(&value, &field.kind(), out),
                    _ => self.no_json("it has no value"),
                }
            }
            "google.protobuf.Timestamp"
            | "google.protobuf.Duration"
            | "google.protobuf.FieldMask" => self.with_own_text(message, out),
            _ => {
                out.push(b'{');
                self.members(message, None, out)?;
                out.push(b'}');
                Ok(())
            }
        }
    }

    /// Appends a message's members, behind one that was written before them.
    fn members(
        &mut self,
        message: &DynamicMessage,
        mut separator: Option<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), MessageError> {
        let descriptor = message.descriptor();
        let decoder = self.decoder;
        let names = decoder.members.get(descriptor.full_name());
        for (place, field) in descriptor.fields().enumerate() {
            let is_set = message.has_field(&field);
            if !is_set && (field.supports_presence() || !decoder.format.write_defaults) {
                continue;
            }
            out.extend(separator.replace(b','));
            match names.and_then(|names| names.get(place)) {
                Some(name) => out.extend_from_slice(name),
                None => out.extend_from_slice(&member(field.name())),
            }
            self.path.push(field.name().to_owned());
            self.field(&message.get_field(&field), &field, out)?;
            self.path.pop();
        }
        let mut extensions: Vec<_> = message.extensions().collect();
        extensions.sort_by_key(|(extension, _)| extension.number());
        for (extension, value) in extensions {
            out.extend(separator.replace(b','));
            out.extend_from_slice(&member(extension.json_name()));
            self.value(value, &extension.kind(), out)?;
        }
        Ok(())
    }

    fn field(
        &mut self,
        value: &Value,
        field: &FieldDescriptor,
        out: &mut Vec<u8>,
    ) -> Result<(), MessageError> {
        match value {
            Value::Map(entries) => self.map(entries, &Some(field.clone()), out),
            value => self.value(value, &field.kind(), out),
        }
    }

    fn map(
        &mut self,
        entries: &HashMap<MapKey, Value>,
        field: &Option<FieldDescriptor>,
        out: &mut Vec<u8>,
    ) -> Result<(), MessageError> {
        let kind = field.as_ref().map(FieldDescriptor::kind);
        let Some(Kind::Message(entry)) = kind else { return self.no_json("it is no map") };
        let kind = entry.map_entry_value_field().kind();
        let mut entries: Vec<_> =
            entries.iter().map(|(key, value)| (key_text(key), value)).collect();
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        out.push(b'{');
        let mut separator = None;
        for (key, value) in entries {
            out.extend(separator.replace(b','));
            out.extend_from_slice(&member(&key));
            self.value(value, &kind, out)?;
        }
        out.push(b'}');
        Ok(())
    }

    fn list(
        &mut self,
        values: &[Value],
        kind: &Kind,
        out: &mut Vec<u8>,
    ) -> Result<(), MessageError> {
        out.push(b'[');
        let mut separator = None;
        for value in values {
            out.extend(separator.replace(b','));
            self.value(value, kind, out)?;
        }
        out.push(b']');
        Ok(())
    }

    fn value(&mut self, value: &Value, kind: &Kind, out: &mut Vec<u8>) -> Result<(), MessageError> {
        match value {
            Value::Bool(true) => out.extend_from_slice(b"true"),
            Value::Bool(false) => out.extend_from_slice(b"false"),
            Value::I32(number) => write_integer(i128::from(*number), out),
            Value::U32(number) => write_integer(i128::from(*number), out),
            Value::I64(number) => self.long(i128::from(*number), out),
            Value::U64(number) => self.long(i128::from(*number), out),
            // What is not finite is a text in the mapping, and that is what was written.
            Value::F32(number) => {
                let _ = typed::write_float32(*number, out);
            }
            Value::F64(number) => {
                let _ = typed::write_float64(*number, out);
            }
            Value::String(text) => json::write_string(text.as_bytes(), out),
            Value::Bytes(bytes) => typed::write_base64(bytes, out),
            Value::EnumNumber(number) => match kind {
                Kind::Enum(of) => enumeration(of, *number, out),
                _ => write_integer(i128::from(*number), out),
            },
            Value::Message(message) => return self.message(message, out),
            Value::List(values) => return self.list(values, kind, out),
            Value::Map(_) => return self.no_json("a map lies where none can"),
        }
        Ok(())
    }

    fn long(&self, number: i128, out: &mut Vec<u8>) {
        let quote = self.decoder.format.int64_as_text.then_some(b'"');
        out.extend(quote);
        write_integer(number, out);
        out.extend(quote);
    }

    /// Appends a message of any type that the schema knows, with the type's name as a member.
    fn any(&mut self, any: &DynamicMessage, out: &mut Vec<u8>) -> Result<(), MessageError> {
        let (Some(url), Some(content)) = (any.get_field_by_number(1), any.get_field_by_number(2))
        else {
            return self.no_json("it has no type and no value");
        };
        let (Value::String(url), Value::Bytes(content)) = (&*url, &*content) else {
            return self.no_json("it has no type and no value");
        };
        if url.is_empty() {
            out.extend_from_slice(b"{}");
            return Ok(());
        }
        let name = url.rsplit('/').next().unwrap_or(url);
        let pool = self.decoder.message.parent_pool();
        let Some(descriptor) = pool.get_message_by_name(name) else {
            return self.no_json("the schema does not know the type of what is in it");
        };
        let Ok(message) = DynamicMessage::decode(descriptor, content.clone()) else {
            return self.no_json("what is in it is no message of the type that it names");
        };
        if self.any_depth == ANY_DEPTH_MAX {
            return self.no_json("too many messages lie in one another");
        }
        self.any_depth += 1;
        out.extend_from_slice(b"{\"@type\":");
        json::write_string(url.as_bytes(), out);
        if has_own_text(name) {
            out.extend_from_slice(b",\"value\":");
            self.message(&message, out)?;
        } else {
            self.unknown += message.unknown_fields().count() as u64;
            self.members(&message, Some(b','), out)?;
        }
        out.push(b'}');
        self.any_depth -= 1;
        Ok(())
    }

    /// Appends a message that is a text, as the library has it.
    fn with_own_text(
        &mut self,
        message: &DynamicMessage,
        out: &mut Vec<u8>,
    ) -> Result<(), MessageError> {
        let mut serializer = serde_json::Serializer::new(&mut *out);
        match message.serialize_with_options(&mut serializer, &SerializeOptions::new()) {
            Ok(()) => Ok(()),
            Err(_) => self.no_json("it is outside of the range that the mapping of proto3 allows"),
        }
    }

    fn no_json<T>(&self, reason: &str) -> Result<T, MessageError> {
        Err(MessageError::NoJson { field: self.path.join("."), reason: reason.to_owned() })
    }
}

fn has_own_text(name: &str) -> bool {
    const WITH_VALUE: &[&str] = &[
        "Any",
        "Struct",
        "ListValue",
        "Value",
        "DoubleValue",
        "FloatValue",
        "Int64Value",
        "UInt64Value",
        "Int32Value",
        "UInt32Value",
        "BoolValue",
        "StringValue",
        "BytesValue",
        "Timestamp",
        "Duration",
        "FieldMask",
        "Empty",
    ];
    name.strip_prefix("google.protobuf.").is_some_and(|name| WITH_VALUE.contains(&name))
}

/// Appends an enumeration's value: its name, or its number where it has none.
fn enumeration(of: &EnumDescriptor, number: i32, out: &mut Vec<u8>) {
    if of.full_name() == "google.protobuf.NullValue" {
        return out.extend_from_slice(b"null");
    }
    match of.get_value(number) {
        Some(value) => json::write_string(value.name().as_bytes(), out),
        None => write_integer(i128::from(number), out),
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

/// Makes a descriptor set of a `.proto` and all that it imports. `read` gives a file's text by the
/// name that imports have for it.
pub fn compile_protobuf(
    name: &str,
    read: &dyn Fn(&str) -> io::Result<String>,
) -> Result<Vec<u8>, String> {
    struct Known(HashMap<String, File>);
    impl FileResolver for Known {
        fn open_file(&self, name: &str) -> Result<File, protox::Error> {
            self.0.get(name).cloned().ok_or_else(|| protox::Error::file_not_found(name))
        }
    }

    let mut known = HashMap::new();
    let mut waiting = vec![name.to_owned()];
    while let Some(name) = waiting.pop() {
        if known.contains_key(&name) {
            continue;
        }
        match read(&name) {
            Ok(text) => {
                let file = File::from_source(&name, &text).map_err(|it| with_place(&it))?;
                waiting.extend_from_slice(&file.file_descriptor_proto().dependency);
                known.insert(name, file);
            }
            // Those of `google/protobuf` come with the compiler, which names any other.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("failed to read `{name}`: {error}")),
        }
    }
    let mut resolver = ChainFileResolver::new();
    resolver.add(Known(known));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    match compiler.open_file(name) {
        Ok(compiler) => Ok(compiler.encode_file_descriptor_set()),
        Err(error) => Err(with_place(&error)),
    }
}

/// An error with the file, the line and the column that it is about.
fn with_place(error: &protox::Error) -> String {
    format!("{error:?}").lines().next().unwrap_or_default().to_owned()
}
