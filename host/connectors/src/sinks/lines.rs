//! Objects as lines, for sinks that send each by itself, and what is left of objects.

use std::{ops::Range, sync::Arc};

use tidegate_core::{Binary, sink::Object};

/// A line of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The object's place.
    pub(super) object: usize,
    /// The line's place in the object.
    place: usize,
    /// What of the object's content is the line, with its line break.
    pub(super) whole: Range<usize>,
}

impl Line {
    /// The line without its line break.
    pub(super) fn bare(&self, objects: &[Object]) -> Range<usize> {
        let Range { start, end } = self.whole.clone();
        start..end - usize::from(objects[self.object].content[start..end].ends_with(b"\n"))
    }

    /// Its partition key; empty where the object has none.
    #[cfg(any(feature = "kinesis", test))]
    pub(super) fn key<'o>(&self, objects: &'o [Object]) -> &'o [u8] {
        objects[self.object].keys.as_ref().map_or(&[], |keys| keys.get(self.place))
    }
}

/// All lines of objects, in order.
pub(super) fn lines(objects: &[Object]) -> Vec<Line> {
    let mut lines = Vec::new();
    for (object, Object { content, .. }) in objects.iter().enumerate() {
        let mut start = 0;
        for (place, line) in content.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let whole = start..start + line.len();
            start = whole.end;
            lines.push(Line { object, place, whole });
        }
    }
    lines
}

/// Objects with only these of their lines, which are in order. Objects without any are left out.
pub(super) fn rest_of<'l>(
    objects: &[Object],
    left: impl IntoIterator<Item = &'l Line>,
) -> Vec<Object> {
    let left: Vec<&Line> = left.into_iter().collect();
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
        let keys = object.keys.as_ref().map(|keys| {
            let left = lines.iter().map(|line| keys.get(line.place));
            Arc::new(left.collect::<Binary>())
        });
        Object { provenance, keys, ..Object::new(&object.key, content) }
    });
    rest.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_know_their_keys_and_end_where_they_end() {
        let keys = Some(Arc::new(Binary::from_iter(["k1", "k2"])));
        let objects =
            [Object { keys, ..Object::new("a", "one\ntwo\n") }, Object::new("b", "three")];
        let lines = lines(&objects);
        let text = |range: Range<usize>, line: &Line| objects[line.object].content.slice(range);
        let whole: Vec<_> = lines.iter().map(|line| text(line.whole.clone(), line)).collect();
        assert_eq!(whole, ["one\n", "two\n", "three"]);
        let bare: Vec<_> = lines.iter().map(|line| text(line.bare(&objects), line)).collect();
        assert_eq!(bare, ["one", "two", "three"]);
        let keys: Vec<_> = lines.iter().map(|line| line.key(&objects)).collect();
        assert_eq!(keys, [&b"k1"[..], b"k2", b""]);
    }

    #[test]
    fn what_is_left_has_its_lines_whole_and_their_keys() {
        let keys = Some(Arc::new(Binary::from_iter(["k1", "k2", "k3"])));
        let objects = [
            Object { keys, ..Object::new("a", "one\ntwo\nthree\n") },
            Object::new("b", "four\n"),
            Object::new("c", "five\n"),
        ];
        let lines = lines(&objects);
        let rest = rest_of(&objects, [0, 2, 4].map(|i: usize| &lines[i]));
        let contents: Vec<_> =
            rest.iter().map(|it| (it.key.as_str(), it.content.clone())).collect();
        assert_eq!(contents, [("a", "one\nthree\n".into()), ("c", "five\n".into())]);
        assert_eq!(rest[0].keys.as_deref(), Some(&Binary::from_iter(["k1", "k3"])));
        assert_eq!(rest[1].keys, None);
        assert!(rest_of(&objects, &[]).is_empty());
    }
}
