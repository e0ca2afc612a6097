"""What is read and what is written, from the annotations of dataclasses."""

import dataclasses
import enum
import typing
from itertools import pairwise

from .annotations import hints, marks_of, union, unwrap
from .path import Segment, parse_path

Timestamp = typing.NewType("Timestamp", int)
"""Microseconds since 1970-01-01T00:00:00Z."""

Date = typing.NewType("Date", int)
"""Days since 1970-01-01."""

Json = typing.NewType("Json", str)
"""The raw text of a subtree."""


class Absence(enum.Enum):
    """Why a row has no value of the type that was asked for."""

    MISSING = "missing"
    NULL = "null"
    OTHER_TYPE = "of another type"
    OUT_OF_RANGE = "out of range"
    MALFORMED = "malformed"


class Action(enum.Enum):
    """What is done with a path besides setting it."""

    LEAVE = 1
    NULL = 2
    REMOVE = 3


LEAVE, NULL, REMOVE = Action.LEAVE, Action.NULL, Action.REMOVE

_ABSENCES = (None, *Absence)

HOST_VALUES = ("record-id", "partition", "position", "partition-key", "arrival-time", "batch-time", "source")
FORMATS = ("rfc3339", "unix-seconds", "unix-milliseconds", "unix-microseconds")


@dataclasses.dataclass(frozen=True)
class path:
    """The field lies at a path, and not at the member of its name."""

    text: str


@dataclasses.dataclass(frozen=True)
class host:
    """What the host knows: `host("@batch-time")`."""

    value: str

    def __post_init__(self) -> None:
        if self.value.removeprefix("@") not in HOST_VALUES:
            known = ", ".join(f"@{value}" for value in HOST_VALUES)
            raise ValueError(f"`{self.value}` is no host value; it is one of {known}")


@dataclasses.dataclass(frozen=True, init=False)
class lookup:
    """A cell of a table that the host joins before the call."""

    table: str
    keys: tuple[str, ...]
    column: str

    def __init__(self, table: str, key: str | typing.Sequence[str], column: str) -> None:
        object.__setattr__(self, "table", table)
        object.__setattr__(self, "keys", (key,) if isinstance(key, str) else tuple(key))
        object.__setattr__(self, "column", column)


@dataclasses.dataclass(frozen=True)
class format:
    """How a timestamp stands in JSON: `format("unix-seconds")`; RFC 3339 text else."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in FORMATS:
            raise ValueError(f"`{self.name}` is no format of timestamps; it is one of {', '.join(FORMATS)}")


class _Key:
    def __repr__(self) -> str:
        return "KEY"


KEY = _Key()
"""The field is the key of the plugin's state, or a part of it."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """The type of a column."""

    name: str
    labels: tuple[str, ...] = ()
    members: tuple[enum.Enum, ...] = ()
    format: str = "rfc3339"


_KINDS = {bool: "boolean", int: "int64", float: "float64", str: "utf8", Timestamp: "timestamp", Date: "date", Json: "json"}


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a row."""

    name: str
    kind: Kind
    marks: tuple[typing.Any, ...]
    optional: bool
    says_why: bool

    @property
    def path(self) -> list[Segment]:
        mark = marks_of(self.marks, path)
        return [self.name] if mark is None else parse_path(mark.text)

    @property
    def host(self) -> str | None:
        mark = marks_of(self.marks, host)
        return None if mark is None else mark.value.removeprefix("@")

    @property
    def lookup(self) -> lookup | None:
        return marks_of(self.marks, lookup)

    @property
    def is_key(self) -> bool:
        return KEY in self.marks

    @property
    def required(self) -> bool:
        return not self.optional and self.host is None


def fields_of(row: type) -> list[Field]:
    """The fields of a dataclass. A mistake in an annotation is said when the module is imported."""
    if not dataclasses.is_dataclass(row):
        raise TypeError(f"{row!r} is no dataclass, so it can't be a row")
    types = hints(row)
    return [_field_of(row, field.name, types[field.name]) for field in dataclasses.fields(row)]


def _field_of(row: type, name: str, hint: typing.Any) -> Field:
    of, marks = unwrap(hint)
    values = [unwrap(member) for member in union(of)]
    marks += tuple(mark for _, inner in values for mark in inner)
    others = {type(None), Absence, Action}
    held = [member for member, _ in values if member not in others]
    beside = {member for member, _ in values if member in others}
    if len(held) != 1 or not (held[0] in _KINDS or isinstance(held[0], enum.EnumMeta)):
        raise TypeError(
            f"{row.__name__}.{name} is of a type that no column holds; it is bool, int, float, str, Timestamp, Date, "
            "Json or an Enum of strings, or one of these `| None`, `| Absence` (read) or `| Action` (written)"
        )
    mark = marks_of(marks, format)
    if isinstance(held[0], enum.EnumMeta):
        members = tuple(held[0])
        kind = Kind("enumeration", tuple(str(member.value) for member in members), members)
    else:
        kind = Kind(_KINDS[held[0]], format="rfc3339" if mark is None else mark.name)
    return Field(name, kind, marks, bool(beside), Absence in beside)


@dataclasses.dataclass
class Column:
    """One value a row, and which rows hold one. For text the values are a pair of offsets and
    bytes; in `presence`, which is empty where every row holds a value, 0 says so."""

    values: typing.Any
    presence: bytes = b""


def cells_of(field: Field, column: Column) -> typing.Sequence[typing.Any]:
    """The values of a column, row by row."""
    values = column.values
    match field.kind.name:
        case "boolean":
            cells: typing.Sequence[typing.Any] = [byte != 0 for byte in values]
        case "utf8" | "json":
            cells = _texts(*values)
        case "enumeration":
            members = field.kind.members
            cells = [members[code] for code in values]
        case _:
            cells = values
    if not column.presence:
        return cells
    if not field.optional:
        why = next((_ABSENCES[byte] for byte in column.presence if byte), None)
        if why is not None:
            raise AssertionError(
                f"the required field `{field.name}` is {why.value}, and the host should have rejected the row"
            )
        return cells
    absences = _ABSENCES if field.says_why else (None,) * len(_ABSENCES)
    return [absences[byte] if byte else cell for cell, byte in zip(cells, column.presence)]


def _texts(offsets: typing.Sequence[int], data: bytes) -> list[str]:
    text = data.decode()
    if len(text) == len(data):
        # One character a byte, so that offsets of bytes are those of characters.
        return [text[start:end] for start, end in pairwise(offsets)]
    return [data[start:end].decode() for start, end in pairwise(offsets)]


def column_of(field: Field, rows: typing.Sequence[typing.Any]) -> Column:
    """The column of a field of rows; a row that is None leaves it."""
    name = field.name
    cells = [LEAVE if row is None else getattr(row, name) for row in rows]
    actions = bytes(
        0 if not (cell is None or isinstance(cell, Action)) else (1 if cell is None else cell.value) for cell in cells
    )
    if not any(actions):
        return Column(_values_of(field, cells))
    empty = {"utf8": "", "json": "", "enumeration": field.kind.members[:1] and field.kind.members[0]}
    zero = empty.get(field.kind.name, 0)
    return Column(_values_of(field, [zero if byte else cell for cell, byte in zip(cells, actions)]), actions)


def _values_of(field: Field, cells: list[typing.Any]) -> typing.Any:
    match field.kind.name:
        case "boolean":
            return bytes(map(bool, cells))
        case "enumeration":
            codes = {member: code for code, member in enumerate(field.kind.members)}
            return [codes[cell] for cell in cells]
        case "utf8" | "json":
            return join_texts([cell.encode() for cell in cells])
        case _:
            return cells


def join_texts(texts: list[bytes]) -> tuple[list[int], bytes]:
    """Byte strings back to back, and where each ends."""
    if not texts:
        return [], b""
    end, offsets = 0, [0]
    for text in texts:
        end += len(text)
        offsets.append(end)
    return offsets, b"".join(texts)
