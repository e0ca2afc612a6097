//! The columns of a sink whose objects are files of columns: which there are, and how each is come
//! by. A column is a read behind the last stage, like any other.

use std::{collections::HashSet, sync::Arc};

use tidegate_core::{
    Description, Kind, Origin, Path, Segment,
    description::TimestampFormat,
    parquet::{Field, Schema},
};

use super::{
    ColumnSpec, OnMismatch, PlanSpec, TableSpec,
    resolve::{RecipeId, Resolver},
};

/// A file of columns, resolved.
#[derive(Debug)]
pub(crate) struct TablePlan {
    pub(crate) schema: Arc<Schema>,
    pub(crate) columns: Vec<TableColumn>,
    pub(crate) on_mismatch: OnMismatch,
}

/// One of its columns.
#[derive(Debug)]
pub(crate) struct TableColumn {
    pub(crate) name: String,
    pub(crate) recipe: RecipeId,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
}

/// Chooses a recipe for each column, and says what is wrong with them.
pub(super) fn resolve(
    resolver: &mut Resolver,
    spec: &PlanSpec,
    behind: usize,
    table: &TableSpec,
    pointer: &str,
) -> Option<TablePlan> {
    let pointer = format!("{pointer}/parquet");
    let mut specs = table.columns.clone();
    if table.declared && behind < spec.stages.len() {
        let message = "the raw zone has what the records came with: name the `columns`";
        resolver.error("declared-of-raw-zone", &format!("{pointer}/declared"), message.into());
    } else if table.declared {
        let descriptions = spec.stages.iter().map(|it| &it.factory.plugin().description);
        specs.extend(declared_columns(descriptions, &table.columns));
    }
    if specs.is_empty() {
        let message = match table.declared {
            true => "no stage reads or writes a field: name the `columns`",
            false => "a file has at least one column: name the `columns`, or say `declared: true`",
        };
        resolver.error("no-columns", &pointer, message.to_owned());
        return None;
    }
    let mut columns = Vec::new();
    let mut names = HashSet::new();
    for (place, column) in specs.iter().enumerate() {
        let pointer = match place < table.columns.len() {
            true => format!("{pointer}/columns/{place}"),
            false => format!("{pointer}/declared"),
        };
        let name = column.name.clone().unwrap_or_else(|| name_of(&column.from));
        if !names.insert(name.clone()) {
            let message = format!("there are two columns named `{name}`: give one a `name`");
            resolver.error("duplicate-column", &pointer, message);
        }
        check_kind(resolver, spec, column, &pointer);
        let recipe = resolver.read(behind, &column.from, &column.kind, &pointer);
        let ColumnSpec { kind, required, .. } = column.clone();
        columns.push(TableColumn { name, recipe, kind, required });
    }
    let fields = columns.iter().map(|column| Field {
        name: column.name.clone(),
        kind: column.kind.clone(),
        required: column.required,
    });
    match Schema::new(fields.collect(), table.codec, table.row_group) {
        Ok(schema) => {
            let on_mismatch = table.on_mismatch;
            Some(TablePlan { schema: Arc::new(schema), columns, on_mismatch })
        }
        Err(error) => {
            resolver.error("invalid-table", &pointer, error.to_string());
            None
        }
    }
}

/// A column for each field that stages read or write and that has none yet, in the order of the
/// stages, in the kind that it was last written in, or first read in. Whole records and cells of
/// tables are no fields.
pub fn declared_columns<'d>(
    descriptions: impl IntoIterator<Item = &'d Description>,
    named: &[ColumnSpec],
) -> Vec<ColumnSpec> {
    let mut found: Vec<(Path, Kind)> = Vec::new();
    for description in descriptions {
        let reads = description.reads.iter().filter_map(|read| match &read.from {
            Origin::Field(path) => Some((path, &read.kind)),
            _ => None,
        });
        let reads = reads.map(|read| (read, false));
        let writes = description.writes.iter().map(|written| (&written.path, &written.kind));
        for ((path, kind), is_written) in reads.chain(writes.map(|write| (write, true))) {
            let is_named = named.iter().any(|it| it.from == Origin::Field(path.clone()));
            if path.is_root() || is_named {
                continue;
            }
            match found.iter_mut().find(|(known, _)| known == path) {
                None => found.push((path.clone(), kind.clone())),
                Some((_, known)) if is_written => *known = kind.clone(),
                Some(_) => {}
            }
        }
    }
    let column =
        |(path, kind)| ColumnSpec { name: None, from: Origin::Field(path), kind, required: false };
    found.into_iter().map(column).collect()
}

/// A column's name where none is given: the path's segments, joined by `_`.
fn name_of(from: &Origin) -> String {
    match from {
        Origin::Field(path) if path.is_root() => "record".to_owned(),
        Origin::Field(path) => {
            let segment = |segment: &Segment| match segment {
                Segment::Key(key) => key.clone(),
                Segment::Index(index) => index.to_string(),
            };
            path.0.iter().map(segment).collect::<Vec<_>>().join("_")
        }
        Origin::Host(value) => value.name().trim_start_matches('@').replace('-', "_"),
        Origin::Lookup(lookup) => format!("{}_{}", lookup.table, lookup.column),
    }
}

/// What the last stage that writes a field writes must be something that the column can have.
fn check_kind(resolver: &mut Resolver, spec: &PlanSpec, column: &ColumnSpec, pointer: &str) {
    let Origin::Field(path) = &column.from else { return };
    let Some(write) = resolver.writes.iter().rev().find(|write| write.path == *path) else {
        return;
    };
    if can_have(&column.kind, &write.kind) {
        return;
    }
    let message = format!(
        "the stage `{}` writes `{path}` as {}, which a column of kind {} can't have: say `kind: {}`",
        spec.stages[write.stage].name, write.kind, column.kind, write.kind
    );
    resolver.error("column-kind", pointer, message);
}

/// Whether the text of a value of kind `written` may read as a value of kind `read`.
fn can_have(read: &Kind, written: &Kind) -> bool {
    let is_text = |kind: &Kind| {
        matches!(
            kind,
            Kind::Utf8
                | Kind::Enumeration(_)
                | Kind::Date
                | Kind::Timestamp(TimestampFormat::Rfc3339)
        )
    };
    let is_number = |kind: &Kind| {
        matches!(kind, Kind::Int64 | Kind::Float64)
            || matches!(kind, Kind::Timestamp(format) if *format != TimestampFormat::Rfc3339)
    };
    *read == Kind::Json
        || *written == Kind::Json
        || read.name() == written.name() && is_text(read) == is_text(written)
        || is_text(read) && is_text(written)
        || is_number(read) && is_number(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_paths() {
        for (path, name) in [
            ("merchant.id", "merchant_id"),
            ("items[0].sku", "items_0_sku"),
            ("['a.b']", "a.b"),
            ("$", "record"),
        ] {
            assert_eq!(name_of(&Origin::Field(path.parse().expect(path))), name);
        }
        let host = tidegate_core::description::HostValue::BatchTime;
        assert_eq!(name_of(&Origin::Host(host)), "batch_time");
    }

    #[test]
    fn kinds_that_can_never_fit_are_told() {
        let unix = Kind::Timestamp(TimestampFormat::UnixSeconds);
        let rfc = Kind::Timestamp(TimestampFormat::Rfc3339);
        let words = Kind::Enumeration(vec!["a".to_owned()]);
        for (read, written, fits) in [
            (&Kind::Int64, &Kind::Float64, true),
            (&Kind::Int64, &unix, true),
            (&Kind::Int64, &rfc, false),
            (&unix, &rfc, false),
            (&Kind::Utf8, &words, true),
            (&rfc, &Kind::Utf8, true),
            (&Kind::Boolean, &Kind::Boolean, true),
            (&Kind::Boolean, &Kind::Utf8, false),
            (&Kind::Json, &Kind::Boolean, true),
            (&Kind::Date, &Kind::Json, true),
        ] {
            assert_eq!(can_have(read, written), fits, "{read} of {written}");
        }
    }
}
