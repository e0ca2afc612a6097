//! How lines of objects become requests, and what is left of objects.

use std::ops::Range;

use tidegate_core::sink::Object;

use super::Delimiter;

/// What one request takes.
const RECORDS_MAX: usize = 500;
const BYTES_MAX: usize = 4 << 20;

/// A line of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The object's place.
    pub(super) object: usize,
    /// What of its content is the line, with its line break.
    whole: Range<usize>,
    /// What of it is sent.
    pub(super) sent: Range<usize>,
}

/// All lines of objects, in order.
pub(super) fn lines(objects: &[Object], delimiter: Delimiter) -> Vec<Line> {
    let mut lines = Vec::new();
    for (object, Object { content, .. }) in objects.iter().enumerate() {
        let mut start = 0;
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            let whole = start..start + line.len();
            start = whole.end;
            let delimiter_bytes = match delimiter {
                Delimiter::Newline => 0,
                Delimiter::None => usize::from(line.ends_with(b"\n")),
            };
            let sent = whole.start..whole.end - delimiter_bytes;
            lines.push(Line { object, whole, sent });
        }
    }
    lines
}

/// Requests: each is as many consecutive lines as fit into one, and at least one line.
pub(super) fn split(lines: &[Line]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |line: &&Line| {
            bytes += line.sent.len();
            bytes <= BYTES_MAX
        };
        let fitting = lines[start..].iter().take(RECORDS_MAX).take_while(fits).count();
        let end = lines.len().min(start + fitting.max(1));
        let request = start..end;
        start = end;
        (!request.is_empty()).then_some(request)
    })
}

/// Objects with only these of their lines, which are in order. Objects without any are left out.
pub(super) fn rest_of(objects: &[Object], left: &[Line]) -> Vec<Object> {
    let rest = left.chunk_by(|a, b| a.object == b.object).map(|lines| {
        let object = &objects[lines[0].object];
        let bytes = lines.iter().map(|line| line.whole.len()).sum();
        if bytes == object.content.len() {
            return object.clone();
        }
        let mut content = Vec::with_capacity(bytes);
        for line in lines {
            content.extend_from_slice(&object.content[line.whole.clone()]);
        }
        let provenance = object.provenance.clone();
        Object { provenance, ..Object::new(&object.key, content) }
    });
    rest.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let lines = lines(&objects(lengths), delimiter);
        let requests: Vec<_> = split(&lines).collect();
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
            let lines = lines(&objects, delimiter);
            let text = |line: &Line| objects[line.object].content.slice(line.sent.clone());
            lines.iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(sent(Delimiter::Newline), ["one\n", "two\n", "three"]);
        assert_eq!(sent(Delimiter::None), ["one", "two", "three"]);
    }

    #[test]
    fn what_is_left_has_its_lines_whole_whatever_is_sent_of_them() {
        let objects = [
            Object::new("a", "one\ntwo\nthree\n"),
            Object::new("b", "four\n"),
            Object::new("c", "five\n"),
        ];
        let lines = lines(&objects, Delimiter::None);
        let left = [0, 2, 4].map(|i: usize| lines[i].clone());
        let rest = rest_of(&objects, &left);
        let rest: Vec<_> = rest.iter().map(|it| (it.key.as_str(), it.content.clone())).collect();
        assert_eq!(rest, [("a", "one\nthree\n".into()), ("c", "five\n".into())]);
        assert!(rest_of(&objects, &[]).is_empty());
    }
}
