"""Paths: RFC 9535 singular queries whose leading `$.` may be left out, as `merchant.id`,
`items[0].sku`, `['a.b'].c`; the whole record is `$`."""

import json
import re

_NAME = re.compile(r"[A-Za-z_\u0080-\U0010ffff][0-9A-Za-z_\u0080-\U0010ffff]*")
_INDEX = re.compile(r"0|[1-9][0-9]*")
_BLANK = re.compile(r"[ \t\n\r]+")
_QUOTED = re.compile(r"'(?:[^'\\\x00-\x1f]|\\.)*'|\"(?:[^\"\\\x00-\x1f]|\\.)*\"")

Segment = str | int


def parse_path(text: str) -> list[Segment]:
    """The segments of a path: a member's name, or an element's index."""

    def wrong(why: str) -> ValueError:
        return ValueError(f"`{text}` is not a path: {why}")

    if text == "":
        raise wrong("it is empty; the whole record is `$`")
    rest = text[1:] if text.startswith("$") else text if text.startswith("[") else "." + text
    path: list[Segment] = []

    def take(pattern: re.Pattern[str]) -> str | None:
        nonlocal rest
        found = pattern.match(rest)
        if found is None:
            return None
        rest = rest[found.end() :]
        return found.group()

    while rest:
        take(_BLANK)
        if rest.startswith("."):
            rest = rest[1:]
            name = take(_NAME)
            if name is None:
                if rest.startswith(("*", ".")):
                    raise wrong("it may select more than one field")
                raise wrong("a name with other characters stands in brackets: `['a-b']`")
            path.append(name)
        elif rest.startswith("["):
            rest = rest[1:]
            take(_BLANK)
            if (index := take(_INDEX)) is not None:
                if int(index) > 0xFFFFFFFF:
                    raise wrong("the index is too large")
                path.append(int(index))
            elif (quoted := take(_QUOTED)) is not None:
                path.append(_unquote(quoted, wrong))
            else:
                raise wrong("it must name one field: `['name']` or `[0]`")
            take(_BLANK)
            if not rest.startswith("]"):
                raise wrong("`]` is missing after one name or index")
            rest = rest[1:]
        else:
            raise wrong("a segment begins with `.` or `[`")
    return path


def _unquote(quoted, wrong):
    """A quoted name is a JSON string but for its quotes: in either kind, its own is escaped."""
    other = '"' if quoted[0] == "'" else "'"
    inside = quoted[1:-1]
    if "\\" + other in inside.replace("\\\\", ""):
        raise wrong("a name contains an unknown escape")
    inside = inside.replace("\\'", "'").replace('\\"', '"').replace('"', '\\"')
    try:
        name = json.loads(f'"{inside}"')
    except ValueError:
        raise wrong("a name contains an unknown escape") from None
    if any(0xD800 <= ord(c) < 0xE000 for c in name):
        raise wrong("a name contains half a surrogate pair")
    return name
