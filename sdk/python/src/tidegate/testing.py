"""Runs a plugin on JSON records as a host would, in an ordinary test, without WebAssembly.

A small host: it leaves out limits, selection by `when` and the exact spelling of numbers; `tidegate
plugin test` runs the component itself. Every run is repeated row by row on a fresh instance, and a
reply that differs is an error: the plugin is impure.
"""

import copy
import dataclasses
import datetime
import json
import typing

from .definition import Plugin
from .fields import Column, Field, Kind, join_texts
from .loop import Batch
from .path import Segment, parse_path

_MISSING = object()
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_UNITS = {"unix-seconds": 1_000_000, "unix-milliseconds": 1_000, "unix-microseconds": 1}
_VALUE, _NOTHING, _NULL, _OTHER_TYPE, _OUT_OF_RANGE, _MALFORMED = range(6)


@dataclasses.dataclass
class Outcome:
    """What became of a record."""

    verdict: str = "emit"
    """`emit`, `drop` or `reject`."""
    records: list[typing.Any] = dataclasses.field(default_factory=list)
    """What goes on in its place."""
    findings: list[str] = dataclasses.field(default_factory=list)
    """Ids of rules, with their details behind a colon."""


class Harness:
    """A plugin under a config, and the states of its keys. `lookups` has the rows of look-up tables, by
    table, by the key's values as a tuple, by column."""

    def __init__(
        self,
        plugin: Plugin,
        config: typing.Any = None,
        *,
        batch_time: str = "2026-03-01T12:00:00Z",
        lookups: dict[str, dict[tuple, dict[str, typing.Any]]] | None = None,
    ) -> None:
        self._plugin = plugin
        self._config = json.dumps({} if config is None else config)
        self._batch_time = batch_time
        self._lookups = lookups or {}
        self._states: dict[str, bytes] = {}
        plugin.configure(self._config)

    def run(self, records: list[typing.Any]) -> list[Outcome]:
        """Runs records as one batch. States stay from one run to the next."""
        before = dict(self._states)
        together = self._run(records)
        after = self._states
        self._states = before
        apart = [outcome for record in records for outcome in self._run([record])]
        if together != apart or after != self._states:
            raise AssertionError(f"the plugin is impure: together it answers {together}, row by row {apart}")
        return together

    def _run(self, records: list[typing.Any]) -> list[Outcome]:
        plugin = self._plugin
        outcomes = [Outcome() for _ in records]
        rows: list[tuple[typing.Any, list[tuple[int, typing.Any]], Outcome]] = []
        for record, outcome in zip(records, outcomes):
            cells = [_cell(self._value(field, record), field.kind) for field in plugin.reads]
            lacks = next((f.name for f, (why, _) in zip(plugin.reads, cells) if f.required and why), None)
            if lacks is None:
                rows.append((record, cells, outcome))
            else:
                outcome.verdict, outcome.findings = "reject", [f"required: {lacks}"]
        keys: list[str] = []
        state_rows = []
        for record, _, _ in rows:
            key = json.dumps([self._value(plugin.reads[read], record) for read in plugin.key])
            if key not in keys:
                keys.append(key)
            state_rows.append(keys.index(key))
        columns = [_column(field, [cells[i] for _, cells, _ in rows]) for i, field in enumerate(plugin.reads)]
        states = join_texts([self._states.get(key, b"") for key in keys])
        reply = plugin.configure(self._config).transform(Batch(len(rows), columns, state_rows, states))

        for key, state in zip(reply.changed_keys, _texts(reply.changed_states)):
            self._states[keys[key]] = state
        for row, verdict in enumerate(reply.verdicts):
            rows[row][2].verdict = ("emit", "drop", "reject")[verdict]
        details = _texts(reply.details) or [b""] * len(reply.finding_rows)
        for row, rule, detail in zip(reply.finding_rows, reply.finding_rules, details):
            text = plugin.rules[rule].id
            rows[row][2].findings.append(f"{text}: {detail.decode()}" if detail else text)
        for output, parent in enumerate(reply.parents or range(len(rows))):
            record, _, outcome = rows[parent]
            if outcome.verdict == "emit":
                written = copy.deepcopy(record)
                for field, column in zip(plugin.writes, reply.columns):
                    written = _write(written, field, column, output)
                outcome.records.append(written)
        return outcomes

    def _value(self, field: Field, record: typing.Any) -> typing.Any:
        if field.host is not None:
            return self._batch_time if field.host.endswith("-time") else "test"
        if (lookup := field.lookup) is not None:
            key = tuple(_at(record, parse_path(path)) for path in lookup.keys)
            return self._lookups.get(lookup.table, {}).get(key, {}).get(lookup.column, _MISSING)
        return _at(record, field.path)


def run(plugin: Plugin, config: typing.Any, records: list[typing.Any], **options: typing.Any) -> list[Outcome]:
    """Runs records through a plugin under a config."""
    return Harness(plugin, config, **options).run(records)


def _at(record: typing.Any, path: list[Segment]) -> typing.Any:
    for step in path:
        if isinstance(step, int) and isinstance(record, list) and step < len(record):
            record = record[step]
        elif isinstance(step, str) and isinstance(record, dict) and step in record:
            record = record[step]
        else:
            return _MISSING
    return record


def _cell(value: typing.Any, kind: Kind) -> tuple[int, typing.Any]:
    """Why there is no value of the kind, and the value."""
    none = "" if kind.name in ("utf8", "json") else 0
    if value is _MISSING:
        return _NOTHING, none
    if value is None:
        return _NULL, none
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    match kind.name:
        case "boolean" if isinstance(value, bool):
            return _VALUE, value
        case "int64" if is_number:
            if value != int(value):
                return _MALFORMED, none
            return (_VALUE, int(value)) if -(2**63) <= value < 2**63 else (_OUT_OF_RANGE, none)
        case "float64" if is_number:
            return _VALUE, float(value)
        case "timestamp" if kind.format != "rfc3339" and is_number:
            return _VALUE, round(value * _UNITS[kind.format])
        case "timestamp" if kind.format == "rfc3339" and isinstance(value, str):
            try:
                at = datetime.datetime.fromisoformat(value)
                return _VALUE, (at - _EPOCH) // datetime.timedelta(microseconds=1)
            except (TypeError, ValueError):
                return _MALFORMED, none
        case "date" if isinstance(value, str):
            try:
                return _VALUE, (datetime.date.fromisoformat(value) - _EPOCH.date()).days
            except ValueError:
                return _MALFORMED, none
        case "utf8" if isinstance(value, str):
            return _VALUE, value
        case "enumeration" if isinstance(value, str):
            return (_VALUE, kind.labels.index(value)) if value in kind.labels else (_OUT_OF_RANGE, none)
        case "json":
            return _VALUE, json.dumps(value, ensure_ascii=False)
    return _OTHER_TYPE, none


def _column(field: Field, cells: list[tuple[int, typing.Any]]) -> Column:
    values: typing.Any = [value for _, value in cells]
    if field.kind.name in ("utf8", "json"):
        offsets, data = join_texts([value.encode() for value in values])
        values = (offsets or [0], data)
    presence = bytes(why for why, _ in cells)
    return Column(values, presence if any(presence) else b"")


def _texts(joined: tuple[list[int], bytes]) -> list[bytes]:
    offsets, data = joined
    return [data[start:end] for start, end in zip(offsets, offsets[1:])]


def _write(record: typing.Any, field: Field, column: Column, row: int) -> typing.Any:
    match column.presence[row] if column.presence else 0:
        case 0:
            return _set(record, field.path, _value_of(field.kind, column.values, row))
        case 1:
            return record
        case 2:
            return _set(record, field.path, None)
        case _:
            *parents, last = field.path
            parent = _at(record, parents)
            if isinstance(parent, dict):
                parent.pop(last, None)
            return record


def _value_of(kind: Kind, values: typing.Any, row: int) -> typing.Any:
    match kind.name:
        case "boolean":
            return values[row] != 0
        case "timestamp" if kind.format == "rfc3339":
            at = _EPOCH + datetime.timedelta(microseconds=values[row])
            return at.isoformat().replace("+00:00", "Z")
        case "timestamp":
            whole, rest = divmod(values[row], _UNITS[kind.format])
            return whole if rest == 0 else values[row] / _UNITS[kind.format]
        case "date":
            return (_EPOCH.date() + datetime.timedelta(days=values[row])).isoformat()
        case "enumeration":
            return kind.labels[values[row]]
        case "utf8":
            return _texts(values)[row].decode()
        case "json":
            return json.loads(_texts(values)[row])
        case _:
            return values[row]


def _set(record: typing.Any, path: list[Segment], value: typing.Any) -> typing.Any:
    if not path:
        return value
    step, *rest = path
    if isinstance(step, int):
        if not isinstance(record, list) or step >= len(record):
            raise AssertionError("the index of a write is in the list")
        record[step] = _set(record[step], rest, value)
        return record
    if record is None:
        record = {}
    if not isinstance(record, dict):
        raise AssertionError("the parent of a write is an object")
    record[step] = _set(record.get(step), rest, value)
    return record
