//! The syntax of paths: RFC 9535's singular queries, whose leading `$.` may be left out.
//!
//! The derive macros compile this file too, so that a path in an attribute is checked, and taken
//! apart, when the plugin is compiled. So it uses nothing but the standard library.

#![allow(unreachable_pub, reason = "what is public here is private there")]

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A member of an object: any text, dots and quotes included.
    Key(String),
    /// An element of an array, from 0.
    Index(u32),
}

/// The segments of a text that is a path, or why it is none.
pub fn parse(text: &str) -> Result<Vec<Segment>, &'static str> {
    let mut segments = Vec::new();
    let mut rest = match text.strip_prefix('$') {
        Some(rest) => rest,
        None if text.is_empty() => return Err("it is empty; the whole record is `$`"),
        None if text.starts_with('[') => text,
        None => {
            let (name, rest) = name(text)?;
            segments.push(Segment::Key(name.to_owned()));
            rest
        }
    };
    while !rest.is_empty() {
        rest = rest.trim_start_matches(BLANK);
        let (segment, after) = if let Some(after_dot) = rest.strip_prefix('.') {
            let (name, after) = name(after_dot)?;
            (Segment::Key(name.to_owned()), after)
        } else if let Some(inside) = rest.strip_prefix('[') {
            let (segment, after) = selector(inside.trim_start_matches(BLANK))?;
            let after = after.trim_start_matches(BLANK).strip_prefix(']');
            (segment, after.ok_or("`]` is missing after one name or index")?)
        } else {
            return Err("a segment begins with `.` or `[`");
        };
        segments.push(segment);
        rest = after;
    }
    Ok(segments)
}

const BLANK: [char; 4] = [' ', '\t', '\n', '\r'];

/// Splits a name in dot notation off the front.
fn name(text: &str) -> Result<(&str, &str), &'static str> {
    let end = text.find(|c: char| !is_name_char(c)).unwrap_or(text.len());
    match text.split_at(end) {
        ("", rest) if rest.starts_with(['*', '.']) => Err("it may select more than one field"),
        (name, rest) if is_name(name) => Ok((name, rest)),
        _ => Err("a name with other characters stands in brackets: `['a-b']`"),
    }
}

/// Whether a text is a name that needs no brackets.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| is_name_char(c) && !c.is_ascii_digit())
        && text.chars().all(is_name_char)
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii()
}

/// Splits what stands between brackets off the front: a quoted name or an index.
fn selector(text: &str) -> Result<(Segment, &str), &'static str> {
    if let Some(quote @ ('\'' | '"')) = text.chars().next() {
        return quoted(&text[1..], quote).map(|(key, rest)| (Segment::Key(key), rest));
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    match text.split_at(end) {
        ("", rest) if rest.starts_with('-') => Err("an index counts from the start"),
        ("", _) => Err("it must name one field: `['name']` or `[0]`"),
        (digits, _) if digits.len() > 1 && digits.starts_with('0') => {
            Err("an index has no leading zero")
        }
        (digits, rest) => match digits.parse() {
            Ok(index) => Ok((Segment::Index(index), rest)),
            Err(_) => Err("the index is too large"),
        },
    }
}

/// Splits a string and its closing quote off the front, and unescapes it.
fn quoted(text: &str, quote: char) -> Result<(String, &str), &'static str> {
    const OPEN: &str = "a quote is not closed";
    const ESCAPE: &str = "a name contains an unknown escape";
    let mut key = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next().ok_or(OPEN)? {
            c if c == quote => return Ok((key, chars.as_str())),
            '\\' => key.push(match chars.next().ok_or(OPEN)? {
                c if c == quote => c,
                c @ ('/' | '\\') => c,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let high = hex4(&mut chars).ok_or(ESCAPE)?;
                    match high {
                        0xd800..0xdc00 => {
                            let pair = (chars.next(), chars.next());
                            let low = hex4(&mut chars).ok_or(ESCAPE)?;
                            if pair != (Some('\\'), Some('u')) || !(0xdc00..0xe000).contains(&low) {
                                return Err("a name contains half a surrogate pair");
                            }
                            char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
                        }
                        _ => char::from_u32(high),
                    }
                    .ok_or("a name contains half a surrogate pair")?
                }
                _ => return Err(ESCAPE),
            }),
            c if c < ' ' => return Err("a name contains a control character"),
            c => key.push(c),
        }
    }
}

fn hex4(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |value, _| Some(value << 4 | chars.next()?.to_digit(16)?))
}
