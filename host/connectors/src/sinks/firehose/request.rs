//! How lines become requests.

use std::ops::Range;

use tidegate_core::sink::Object;

use super::Delimiter;
use crate::sinks::lines::Line;

/// What one request takes.
const RECORDS_MAX: usize = 500;
const BYTES_MAX: usize = 4 << 20;

/// What of an object's content is sent for a line.
pub(super) fn sent(line: &Line, objects: &[Object], delimiter: Delimiter) -> Range<usize> {
    match delimiter {
        Delimiter::Newline => line.whole.clone(),
        Delimiter::None => line.bare(objects),
    }
}

/// Requests: each is as many consecutive lines as fit into one, and at least one line.
pub(super) fn split(
    lines: &[Line],
    objects: &[Object],
    delimiter: Delimiter,
) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |line: &&Line| {
            bytes += sent(line, objects, delimiter).len();
            bytes <= BYTES_MAX
        };
        let fitting = lines[start..].iter().take(RECORDS_MAX).take_while(fits).count();
        let end = lines.len().min(start + fitting.max(1));
        let request = start..end;
        start = end;
        (!request.is_empty()).then_some(request)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::lines::lines;

    /// Objects of one line each, of so many bytes with its line break.
    fn objects(lengths: &[usize]) -> Vec<Object> {
        let line = |(i, length): (usize, &usize)| {
            let mut line = vec![b'x'; *length];
            line[length - 1] = b'\n';
            Object::new(format!("{i}"), line)
        };
        lengths.iter().enumerate().map(line).collect()
    }

    fn sizes(lengths: &[usize], delimiter: Delimiter) -> Vec<usize> {
        let objects = objects(lengths);
        let lines = lines(&objects);
        let requests: Vec<_> = split(&lines, &objects, delimiter).collect();
        let all: Vec<usize> = requests.iter().cloned().flatten().collect();
        assert_eq!(all, Vec::from_iter(0..lengths.len()), "each line once, in order");
        requests.iter().map(|request| request.len()).collect()
    }

    #[test]
    fn a_request_has_as_many_lines_as_it_may() {
        assert_eq!(sizes(&[], Delimiter::Newline), [0; 0]);
        assert_eq!(sizes(&[2; 500], Delimiter::Newline), [500]);
        assert_eq!(sizes(&[2; 1001], Delimiter::Newline), [500, 500, 1]);
        // Four of these are 4 MiB to the byte.
        assert_eq!(sizes(&[1 << 20; 9], Delimiter::Newline), [4, 4, 1]);
        assert_eq!(sizes(&[(1 << 20) + 1; 4], Delimiter::Newline), [3, 1]);
        assert_eq!(sizes(&[(1 << 20) + 1; 4], Delimiter::None), [4], "it is not sent");
        assert_eq!(sizes(&[5 << 20, 1, 5 << 20], Delimiter::Newline), [1, 1, 1]);
    }

    #[test]
    fn what_is_sent_has_its_delimiter_or_none() {
        let objects = [Object::new("a", "one\ntwo\n"), Object::new("b", "three")];
        let sent = |delimiter| {
            let text = |line: &Line| {
                let range = sent(line, &objects, delimiter);
                objects[line.object].content.slice(range)
            };
            lines(&objects).iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(sent(Delimiter::Newline), ["one\n", "two\n", "three"]);
        assert_eq!(sent(Delimiter::None), ["one", "two", "three"]);
    }
}
