"""The conformance plugin in Python: sdk/conformance/README.md says what it does."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Iterator

from tidegate import (
    KEY, LEAVE, NULL, REMOVE, U32, Absence, Action, ConfigError, Date, Drop, Found, Json, Reject, Rule, Timestamp, doc,
    format, host, lookup, path, plugin,
)


@dataclass
class Band:
    label: str
    below: float | None = None


@dataclass
class Config:
    factor: Annotated[float, doc("What floats are multiplied by; above zero.")]
    bands: Annotated[list[Band] | None, doc("Nothing is done with them.")] = None

    def __post_init__(self) -> None:
        if self.factor <= 0:
            raise ConfigError("/factor", "it is not above zero")


class Size(Enum):
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


@dataclass
class Row:
    key: Annotated[str, KEY]
    action: str
    boolean: Annotated[bool | Absence, path("kinds.boolean")]
    int64: Annotated[int | Absence, path("kinds.int64")]
    float64: Annotated[float | Absence, path("kinds.float64")]
    timestamp: Annotated[Timestamp | Absence, path("kinds.timestamp")]
    unix: Annotated[Timestamp | Absence, path("kinds.unix"), format("unix-milliseconds")]
    date: Annotated[Date | Absence, path("kinds.date")]
    text: Annotated[str | Absence, path("['a.b'][0].text")]
    size: Annotated[Size | Absence, path("kinds.size")]
    json: Annotated[Json | Absence, path("kinds.json")]
    batch_time: Annotated[Timestamp, host("@batch-time")]
    risk: Annotated[float | Absence, lookup("merchants", "merchant.id", "risk")]


@dataclass
class Written:
    boolean: Annotated[bool | Action, path("out.boolean")]
    int64: Annotated[int | Action, path("out.int64")]
    float64: Annotated[float | Action, path("out.float64")]
    timestamp: Annotated[Timestamp | Action, path("out.timestamp")]
    unix: Annotated[Timestamp | Action, path("out.unix"), format("unix-milliseconds")]
    date: Annotated[Date | Action, path("out.date")]
    text: Annotated[str | Action, path("out.text")]
    size: Annotated[Size | Action, path("out.size")]
    json: Annotated[Json | Action, path("out.json")]
    risk: Annotated[float | Action, path("out.risk")]
    absent: Annotated[str, path("out.absent")]
    count: Annotated[int, path("out.count")]
    child: Annotated[int, path("out.child")]
    at: Annotated[Timestamp, path("out.at")]


@dataclass
class History:
    count: U32
    total: float
    last: str | None
    seen: list[int]


REFUSED = Rule("refused", "The action is not to refuse.", field="action")
GONE = Rule("gone", "The row is wanted.", "completeness", "info")
NOTED = Rule("noted", "There is nothing to note.", "consistency", "warn", "['a.b'][0].text")


@plugin(
    name="conformance", version="1.0.0", rules=[REFUSED, GONE, NOTED], state_version=3, may_be_passed_by=True,
)
def answer(config: Config, row: Row, state: History, found: Found) -> Iterator[Written]:
    """Answers the conformance cases."""
    children = 1
    match row.action:
        case "reject":
            raise Reject(REFUSED)
        case "reject-with-detail":
            found.add(NOTED, "before it")
            raise Reject(REFUSED, "größer als gedacht")
        case "drop":
            raise Drop(GONE)
        case "note":
            found.add(NOTED)
        case "note-with-detail":
            found.add(NOTED, "zwölf")
            found.add(NOTED)
        case "split":
            children = 0 if isinstance(row.int64, Absence) else row.int64
            if children == 0:
                found.add(GONE, "without children")
        case "panic":
            raise RuntimeError("asked to panic")
        case "peek":
            pass
        case _:
            count(state, row)
    absent: list[str] = []
    values = {name: to(absent, name, getattr(row, name), change) for name, change in changes(config.factor).items()}
    for child in range(children):
        yield Written(**values, absent=", ".join(absent), count=state.count, child=child, at=row.batch_time)


def count(state: History, row: Row) -> None:
    state.count += 1
    if not isinstance(row.float64, Absence):
        state.total += row.float64
    if not isinstance(row.text, Absence):
        state.last = row.text
    if not isinstance(row.int64, Absence):
        state.seen = [*state.seen, row.int64][-3:]


def changes(factor: float):
    sizes = list(Size)
    return {
        "boolean": lambda value: not value,
        "int64": lambda value: value,
        "float64": lambda value: value * factor,
        "timestamp": lambda value: value + 1,
        "unix": lambda value: value,
        "date": lambda value: value + 1,
        "text": lambda value: value + "!",
        "size": lambda value: sizes[(sizes.index(value) + 1) % 3],
        "json": lambda value: f"[{value}]",
        "risk": lambda value: value,
    }


def to(absent, name, value, change):
    """What was read into what is written: a value into a value, a null into a null, another type into
    a removal; what is missing, out of range or malformed is left as it is."""
    if not isinstance(value, Absence):
        return change(value)
    absent.append(f"{name} {value.value}")
    return {Absence.NULL: NULL, Absence.OTHER_TYPE: REMOVE}.get(value, LEAVE)
