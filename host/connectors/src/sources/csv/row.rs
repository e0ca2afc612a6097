//! One row: where it ends, and which fields it has. What the parser finds in any bytes is held to
//! what the format allows, for it never refuses anything by itself.

use csv_core::{ReadFieldResult, ReadRecordResult, Reader, ReaderBuilder, Terminator};
use memchr::{memchr, memchr_iter};

/// Takes rows apart.
pub(crate) struct RowParser {
    reader: Reader,
    /// Looks for the end of rows of several lines. (A clone of a reader does not work: it has lost
    /// which byte means what.)
    scanner: Reader,
    quote: Option<u8>,
    /// The fields of the last row, back to back and without their quotes.
    output: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    fields: usize,
}

/// A row as it stands at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its length, without its line break.
    pub(crate) length: usize,
    /// Its length with its line break: where the next one starts.
    pub(crate) end: usize,
    pub(crate) kind: RowKind,
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowKind {
    /// Nothing stands on the line.
    Blank,
    /// The parser has its fields.
    Fields,
    /// A line on which a quote is out of place: one that is not closed, or is closed before the
    /// field's end.
    BrokenQuote,
    /// A line that is longer than a record may be.
    TooLarge,
}

/// How the quotes of some bytes stand.
enum Quotes {
    Right,
    Wrong,
    /// The last one that was opened is not closed.
    Open,
}

impl RowParser {
    pub(crate) fn new(delimiter: u8, quote: Option<u8>) -> Self {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(delimiter).terminator(Terminator::Any(b'\n'));
        match quote {
            Some(quote) => builder.quote(quote),
            None => builder.quoting(false),
        };
        let (mut reader, scanner) = (builder.build(), builder.build());
        restart(&mut reader);
        RowParser { reader, scanner, quote, output: Vec::new(), ends: vec![0; 16], fields: 0 }
    }

    /// The row at the start of some whole lines; none where more of them have to be known.
    /// `complete` says that no more come.
    ///
    /// A line break is part of a quoted field only where its quote is closed within `row_bytes_max`.
    /// Else the row is taken to end with its first line, so that a stray quote costs one line.
    pub(crate) fn row(
        &mut self,
        bytes: &[u8],
        complete: bool,
        row_bytes_max: usize,
    ) -> Option<Row> {
        if bytes.is_empty() {
            return None;
        }
        let end = memchr(b'\n', bytes).map_or(bytes.len(), |line_feed| line_feed + 1);
        let line = without_break(&bytes[..end]);
        let row = |length, end, kind| Some(Row { length, end, kind });
        if line.is_empty() {
            return row(0, end, RowKind::Blank);
        }
        if line.len() > row_bytes_max {
            return row(line.len(), end, RowKind::TooLarge);
        }
        match self.parse(line) {
            Quotes::Right => return row(line.len(), end, RowKind::Fields),
            Quotes::Wrong => return row(line.len(), end, RowKind::BrokenQuote),
            Quotes::Open => {}
        }
        let window = &bytes[..bytes.len().min(row_bytes_max)];
        match self.closed(window, complete && bytes.len() < row_bytes_max) {
            Some(end) => {
                let several = without_break(&bytes[..end]);
                if let Quotes::Right = self.parse(several) {
                    return row(several.len(), end, RowKind::Fields);
                }
            }
            None if !complete && bytes.len() < row_bytes_max => return None,
            None => {}
        }
        row(line.len(), end, RowKind::BrokenQuote)
    }

    /// The fields of the last row, as they stand.
    pub(crate) fn fields(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.fields).map(|i| self.field(i))
    }

    /// A field of the last row.
    pub(crate) fn field(&self, i: usize) -> &[u8] {
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.output[start..self.ends[i]]
    }

    fn parse(&mut self, row: &[u8]) -> Quotes {
        if self.output.len() <= row.len() {
            self.output.resize((row.len() + 1).next_power_of_two(), 0);
        }
        match self.quote {
            Some(quote) if memchr(quote, row).is_some() => self.parse_quoted(row, quote),
            _ => {
                self.parse_plain(row);
                Quotes::Right
            }
        }
    }

    fn parse_plain(&mut self, row: &[u8]) {
        let (mut read, mut written, mut fields) = (0, 0, 0);
        loop {
            let input = if read < row.len() { &row[read..] } else { b"\n" };
            let output = &mut self.output[written..];
            let (result, n, out, ends) =
                self.reader.read_record(input, output, &mut self.ends[fields..]);
            read += n;
            written += out;
            fields += ends;
            if fields == self.ends.len() {
                self.ends.resize(fields * 2, 0);
            }
            if matches!(result, ReadRecordResult::Record | ReadRecordResult::End) {
                break;
            }
        }
        self.fields = fields;
    }

    fn parse_quoted(&mut self, row: &[u8], quote: u8) -> Quotes {
        let (mut read, mut written) = (0, 0);
        // Where the field starts, in the row and in the output.
        let (mut raw_start, mut start) = (0, 0);
        self.fields = 0;
        loop {
            let behind = read >= row.len();
            let input = if behind { b"\n" } else { &row[read..] };
            let (result, n, out) = self.reader.read_field(input, &mut self.output[written..]);
            read += n;
            written += out;
            let ReadFieldResult::Field { record_end } = result else {
                if behind {
                    // Not even a line break ends it.
                    restart(&mut self.reader);
                    return Quotes::Open;
                }
                continue;
            };
            // Each field is followed by a delimiter, the last one by the line break.
            let raw = &row[raw_start..read - 1];
            if !is_well_quoted(raw, &self.output[start..written], quote) {
                restart(&mut self.reader);
                return Quotes::Wrong;
            }
            if self.fields == self.ends.len() {
                self.ends.resize(self.fields * 2, 0);
            }
            self.ends[self.fields] = written;
            self.fields += 1;
            (raw_start, start) = (read, written);
            if record_end {
                return Quotes::Right;
            }
        }
    }

    /// Where a row of several lines ends, with its line break.
    fn closed(&mut self, bytes: &[u8], complete: bool) -> Option<usize> {
        restart(&mut self.scanner);
        // What is found is of no use here: only where it ends.
        let (mut output, mut ends) = ([0; 4096], [0; 64]);
        let mut read = 0;
        while read < bytes.len() {
            let (result, n, _, _) =
                self.scanner.read_record(&bytes[read..], &mut output, &mut ends);
            read += n;
            if let ReadRecordResult::Record = result {
                return Some(read);
            }
        }
        let (result, ..) = self.scanner.read_record(b"\n", &mut output, &mut ends);
        (complete && result == ReadRecordResult::Record).then_some(read)
    }
}

/// Puts a reader at the start of a row. Its first call would take a byte order mark away, which in
/// the middle of a file is text; so that call is made here.
fn restart(reader: &mut Reader) {
    reader.reset();
    reader.read_record(b"\n", &mut [0; 1], &mut [0; 1]);
}

/// Whether a field is what its value looks like in quotes, or has none around it.
///
/// The parser takes a field on behind its closing quote, with all that follows as it stands. Then
/// the field does not end with a quote, or one that it ends with was not left out.
fn is_well_quoted(raw: &[u8], value: &[u8], quote: u8) -> bool {
    if raw.first() != Some(&quote) {
        return true;
    }
    let quotes = memchr_iter(quote, value).count();
    raw.last() == Some(&quote) && raw.len() == value.len() + quotes + 2
}

fn without_break(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(RowKind, &[&str], usize)]) {
        let mut parser = RowParser::new(b',', Some(b'"'));
        let (mut done, mut found) = (0, Vec::new());
        while let Some(row) = parser.row(&text.as_bytes()[done..], true, 40) {
            let fields: Vec<String> = match row.kind {
                RowKind::Fields => {
                    parser.fields().map(|it| String::from_utf8(it.to_vec()).unwrap()).collect()
                }
                _ => vec![text[done..done + row.length].to_owned()],
            };
            done += row.end;
            found.push((row.kind, fields, done));
        }
        let expected: Vec<_> = expected
            .iter()
            .map(|(kind, fields, end)| {
                (*kind, fields.iter().map(|it| it.to_string()).collect(), *end)
            })
            .collect();
        assert_eq!(found, expected, "{text:?}");
    }

    use RowKind::{Blank, BrokenQuote, Fields, TooLarge};

    #[test]
    fn rows_are_taken_apart_at_delimiters_and_line_breaks() {
        check("a,b\nc,\r\n", &[(Fields, &["a", "b"], 4), (Fields, &["c", ""], 8)]);
        check(
            "a\n\n\r\nb",
            &[(Fields, &["a"], 2), (Blank, &[""], 3), (Blank, &[""], 5), (Fields, &["b"], 6)],
        );
        check(",\n", &[(Fields, &["", ""], 2)]);
        check("a\rb,c\n", &[(Fields, &["a\rb", "c"], 6)]);
        let many = vec![""; 40];
        check(&",".repeat(39), &[(Fields, &many, 39)]);
    }

    #[test]
    fn quoted_fields_hold_delimiters_quotes_and_line_breaks() {
        check("\"a,b\",\"c\"\"d\"\r\n", &[(Fields, &["a,b", "c\"d"], 14)]);
        check("\"a\n\nb\",c\nd\n", &[(Fields, &["a\n\nb", "c"], 9), (Fields, &["d"], 11)]);
        check("a,\"b\r\n\"", &[(Fields, &["a", "b\r\n"], 7)]);
        check("\"\",\"\"\"\"", &[(Fields, &["", "\""], 7)]);
        check("5\" pipe,b\n", &[(Fields, &["5\" pipe", "b"], 10)]);
        let many = vec![""; 20];
        check(&vec!["\"\""; 13].join(","), &[(Fields, &many[..13], 38)]);
    }

    #[test]
    fn a_quote_out_of_place_costs_its_line() {
        check("\"a\"b\nc\n", &[(BrokenQuote, &["\"a\"b"], 5), (Fields, &["c"], 7)]);
        check("\"a\"b\"\n", &[(BrokenQuote, &["\"a\"b\""], 6)]);
        check("\"a\" ,b\n", &[(BrokenQuote, &["\"a\" ,b"], 7)]);
        check("\"a\nb\nc", &[(BrokenQuote, &["\"a"], 3), (Fields, &["b"], 5), (Fields, &["c"], 6)]);
        check("\"a\nb,\"c\"\n", &[(BrokenQuote, &["\"a"], 3), (Fields, &["b", "c"], 9)]);
        check("x,\"\n", &[(BrokenQuote, &["x,\""], 4)]);
        check("\"a\"\"", &[(BrokenQuote, &["\"a\"\""], 4)]);
        check("a\n\"", &[(Fields, &["a"], 2), (BrokenQuote, &["\""], 3)]);
    }

    #[test]
    fn a_quote_is_closed_within_a_records_length_or_not_at_all() {
        let long = "x".repeat(30);
        let text = format!("\"{long}\n{long}\"\n");
        let tail = format!("{long}\"");
        check(&text, &[(BrokenQuote, &[&text[..31]], 32), (Fields, &[&tail], 64)]);
        let large = "x".repeat(41);
        check(&format!("{large}\na"), &[(TooLarge, &[&large], 42), (Fields, &["a"], 43)]);
    }

    #[test]
    fn a_row_does_not_depend_on_how_much_of_the_rest_is_known() {
        let text = b"\"a\nb\",\"c\"\"\n\"\nd\n";
        let mut parser = RowParser::new(b',', Some(b'"'));
        let whole = parser.row(text, true, 100).unwrap();
        for known in [3, 11, 13, 15] {
            let row = parser.row(&text[..known], false, 100);
            assert!(row.is_none_or(|row| row == whole), "{known}: {row:?}");
            assert_eq!(row.is_some(), known >= 13, "{known}");
        }
        let without_quotes = RowParser::new(b',', None).row(b"\"a\nb", true, 100);
        assert_eq!(without_quotes, Some(Row { length: 2, end: 3, kind: Fields }));
    }
}
