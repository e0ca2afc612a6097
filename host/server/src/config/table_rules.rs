//! What the types of look-up tables can't say.

use tidegate_core::lookup::InvalidSchema;

use super::{
    rules::Rules,
    shape::nearest,
    source::{CsvHeader, InputCompression, single},
    table::{Table, TableFormat, TableParquet},
    tree::step,
};

impl Rules<'_> {
    pub(super) fn tables(&mut self, tables: &[Table]) {
        self.names("/tables", tables.iter().map(|table| table.name.as_str()));
        for (i, table) in tables.iter().enumerate() {
            self.table(table, &step("/tables", i));
        }
    }

    fn table(&mut self, table: &Table, pointer: &str) {
        let key = step(pointer, "key");
        match table.schema() {
            Ok(_) => {}
            Err(InvalidSchema::UnknownKey(name)) => {
                let place = table.key.iter().position(|part| *part == name).unwrap_or_default();
                let message = format!("the key has `{name}`, which is none of `columns`");
                self.find("unknown-name", &step(&key, place), message);
                self.suggest(nearest(&name, table.columns.keys().map(String::as_str)));
            }
            Err(error) => self.find("table-key", &key, error.to_string()),
        }
        for name in table.paths.keys().filter(|name| !table.columns.contains_key(*name)) {
            let message = format!("there is no column `{name}`");
            self.find("unknown-name", &step(&step(pointer, "paths"), name), message);
            self.suggest(nearest(name, table.columns.keys().map(String::as_str)));
        }
        let Some(format) = table.format() else {
            let message = "the extension does not say how the table is written: set `format` to \
                           `csv`, `json`, `ndjson` or `parquet`";
            return self.find("missing-key", &step(pointer, "path"), message);
        };
        if format == TableFormat::Parquet {
            self.table_parquet(table, pointer);
        } else if table.parquet != TableParquet::default() {
            let message = "only a table of Parquet has these choices";
            self.find("one-of", &step(pointer, "parquet"), message);
        }
        match format {
            TableFormat::Csv => self.table_csv(table, pointer),
            _ if table.csv.encoding.is_some() => {
                let message = "only a table of CSV is converted: JSON is UTF-8";
                self.find("one-of", &format!("{pointer}/csv/encoding"), message);
            }
            _ if !table.csv.names.is_empty() => {
                let message = "only a table of CSV has columns without names of their own";
                self.find("one-of", &step(pointer, "csv"), message);
            }
            _ => {}
        }
    }

    fn table_parquet(&mut self, table: &Table, pointer: &str) {
        let written = matches!(table.compression, InputCompression::Gzip | InputCompression::Zstd);
        let by_name = table.compression == InputCompression::Auto
            && table.path.extension().is_some_and(|it| it == "gz" || it == "zst");
        if written || by_name {
            let message = "a file of Parquet is compressed within, and is not read out of another \
                           compression: decompress it";
            let key = if written { "compression" } else { "path" };
            self.find("one-of", &step(pointer, key), message);
        }
    }

    fn table_csv(&mut self, table: &Table, pointer: &str) {
        let (csv, below) = (&table.csv, |name: &str| format!("{pointer}/csv/{name}"));
        if !table.paths.is_empty() {
            let message = "a row of CSV has no paths: columns are found by the header's names";
            self.find("one-of", &step(pointer, "paths"), message);
        }
        if single(&csv.delimiter).is_none() {
            let message = "a delimiter is one ASCII character that ends no line";
            self.find("invalid-value", &below("delimiter"), message);
        }
        if !csv.quote.is_empty() && single(&csv.quote).is_none() {
            let message = "a quote is one ASCII character that ends no line, or an empty text";
            self.find("invalid-value", &below("quote"), message);
        } else if csv.quote == csv.delimiter {
            self.find("invalid-value", &below("quote"), "it is also the delimiter");
        }
        self.encoding(&step(pointer, "csv"), csv.encoding.as_deref());
        match (csv.header, csv.names.is_empty()) {
            (CsvHeader::Names, false) => {
                let message = "the header names the columns: `header` is `skip` or `absent` \
                               where `names` does";
                self.find("one-of", &below("names"), message);
            }
            (CsvHeader::Skip | CsvHeader::Absent, true) => {
                let message = "without names from a header, `names` gives them";
                self.find("missing-key", &step(pointer, "csv"), message);
            }
            _ => {}
        }
        let unknown = |name: &&String| !csv.names.is_empty() && !csv.names.contains(*name);
        for name in table.columns.keys().filter(unknown) {
            let message = format!("`names` has no column `{name}`");
            self.find("unknown-name", &step(&step(pointer, "columns"), name), message);
            self.suggest(nearest(name, csv.names.iter().map(String::as_str)));
        }
    }

    fn suggest(&mut self, nearest: Option<&str>) {
        if let (Some(finding), Some(near)) = (self.findings.last_mut(), nearest) {
            finding.suggestion = Some(format!("did you mean `{near}`?"));
        }
    }
}
