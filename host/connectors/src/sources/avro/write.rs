//! A decoded row as JSON, by a plan.

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};
use tidegate_core::json::{
    self,
    typed::{self, RowFormat, Unwritable, Written},
};

use super::schema::{Content, Node, NodeId, Plan};
use crate::sources::records::Fault;

/// Writes rows, one after another.
pub(super) struct RowWriter<'p> {
    plan: &'p Plan,
    format: RowFormat,
    /// The members that the writer is in.
    path: Vec<&'p str>,
    /// What is wrong with the row, first of all.
    fault: Option<Fault>,
}

impl<'p> RowWriter<'p> {
    pub(super) fn new(plan: &'p Plan, format: RowFormat) -> Self {
        RowWriter { plan, format, path: Vec::new(), fault: None }
    }

    /// Appends a row, and says what is wrong with it. What was written is then for people.
    pub(super) fn write(&mut self, row: &Value, out: &mut Vec<u8>) -> Option<Fault> {
        self.value(row, self.plan.root(), out);
        self.fault.take()
    }

    fn value(&mut self, value: &Value, node: NodeId, out: &mut Vec<u8>) {
        match (self.plan.node(node), value) {
            (Node::Union(branches), Value::Union(branch, value)) => {
                // The library has looked that there is such a branch.
                self.value(value, branches[*branch as usize], out);
            }
            (Node::Record(members), Value::Record(fields)) => {
                out.push(b'{');
                let mut separator = None;
                for member in members {
                    let is_null = match &member.content {
                        Content::Field { place, .. } => is_null(&fields[*place].1),
                        Content::Default(text) => text == b"null",
                    };
                    if is_null && self.format.omit_nulls {
                        continue;
                    }
                    out.extend(separator.replace(b','));
                    out.extend_from_slice(&member.text);
                    match &member.content {
                        Content::Default(text) => out.extend_from_slice(text),
                        Content::Field { place, node } => {
                            self.path.push(&member.name);
                            self.value(&fields[*place].1, *node, out);
                            self.path.pop();
                        }
                    }
                }
                out.push(b'}');
            }
            (Node::Array(node), Value::Array(items)) => {
                out.push(b'[');
                let mut separator = None;
                for item in items {
                    out.extend(separator.replace(b','));
                    self.value(item, *node, out);
                }
                out.push(b']');
            }
            (Node::Map(node), Value::Map(members)) => {
                // The library has lost their order; and the same bytes give the same text.
                let mut members: Vec<_> = members.iter().collect();
                members.sort_unstable_by_key(|(key, _)| *key);
                out.push(b'{');
                let mut separator = None;
                for (key, value) in members {
                    out.extend(separator.replace(b','));
                    json::write_string(key.as_bytes(), out);
                    out.push(b':');
                    self.value(value, *node, out);
                }
                out.push(b'}');
            }
            (Node::Enumeration(symbols), Value::Enum(place, symbol)) => {
                match symbols.get(*place as usize) {
                    Some(Some(text)) => out.extend_from_slice(text),
                    _ => {
                        json::write_string(symbol.as_bytes(), out);
                        self.unreadable();
                    }
                }
            }
            (Node::Unreadable, _) => {
                out.extend_from_slice(b"null");
                self.unreadable();
            }
            (node, value) => {
                let start = out.len();
                match leaf(node, value, self.format, out) {
                    Ok(()) => {}
                    Err(Unwritable::NotFinite) if self.format.not_finite_as_null => {
                        out.truncate(start);
                        out.extend_from_slice(b"null");
                    }
                    Err(why) => self.unwritable(why),
                }
            }
        }
    }

    fn unwritable(&mut self, why: Unwritable) {
        let code = match why {
            Unwritable::NotFinite => "avro-not-finite",
            Unwritable::InvalidUtf8 => "avro-invalid-utf8",
            Unwritable::InvalidJson | Unwritable::OutOfRange => "avro-out-of-range",
        };
        let message = why.message(&self.path.join("."));
        self.fault.get_or_insert_with(|| Fault::new(code, message));
    }

    fn unreadable(&mut self) {
        let message = format!(
            "`{}` holds what the reader's schema has no place for: a type of a union or a symbol of \
             an enumeration that it does not have",
            self.path.join("."),
        );
        self.fault.get_or_insert_with(|| Fault::new("avro-schema-mismatch", message));
    }
}

fn is_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Union(_, value) => is_null(value),
        _ => false,
    }
}

fn leaf(node: &Node, value: &Value, format: RowFormat, out: &mut Vec<u8>) -> Written {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Int(number) => return whole(node, i64::from(*number), format, out),
        Value::Long(number) => return whole(node, *number, format, out),
        Value::Float(number) => return typed::write_float32(*number, out),
        Value::Double(number) => return typed::write_float64(*number, out),
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => return stored(node, bytes, out),
        Value::String(text) => return stored(node, text.as_bytes(), out),
        // The library decodes no other types by a schema without logical ones.
        _ => out.extend_from_slice(b"null"),
    }
    Ok(())
}

fn whole(node: &Node, number: i64, format: RowFormat, out: &mut Vec<u8>) -> Written {
    match node {
        Node::Float => typed::write_float32(number as f32, out),
        Node::Double => typed::write_float64(number as f64, out),
        Node::Date => match i32::try_from(number) {
            Ok(days) => typed::write_date(days, out),
            Err(_) => Err(Unwritable::OutOfRange),
        },
        Node::Time(unit) => typed::write_time(number, *unit, out),
        Node::Timestamp { unit, utc } => {
            typed::write_instant(number, *unit, *utc || format.local_as_utc, out)
        }
        _ => {
            typed::write_integer(i128::from(number), out);
            Ok(())
        }
    }
}

fn stored(node: &Node, bytes: &[u8], out: &mut Vec<u8>) -> Written {
    match node {
        Node::Utf8 => return typed::write_utf8(bytes, out),
        Node::Decimal { scale } => return typed::write_decimal(bytes, *scale, out),
        Node::BigDecimal => return write_big_decimal(bytes, out),
        Node::Uuid if bytes.len() == 16 => typed::write_uuid(bytes, out),
        Node::Interval => match bytes.as_chunks::<4>() {
            ([months, days, millis], []) => {
                typed::write_interval(
                    [months, days, millis].map(|it| u32::from_le_bytes(*it)),
                    out,
                );
            }
            _ => typed::write_base64(bytes, out),
        },
        _ => typed::write_base64(bytes, out),
    }
    Ok(())
}

/// Appends a decimal of which its digits come first, as bytes, and then its scale.
fn write_big_decimal(mut bytes: &[u8], out: &mut Vec<u8>) -> Written {
    let whole = bytes;
    let mut next = |schema: &Schema| {
        GenericDatumReader::builder(schema).build().ok()?.read_value(&mut bytes).ok()
    };
    if let (Some(Value::Bytes(unscaled)), Some(Value::Long(scale))) =
        (next(&Schema::Bytes), next(&Schema::Long))
        && let Ok(scale) = u32::try_from(scale)
    {
        return typed::write_decimal(&unscaled, scale, out);
    }
    typed::write_base64(whole, out);
    Err(Unwritable::OutOfRange)
}
