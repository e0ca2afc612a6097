"""A component's side of the contract. The only module that knows it, and that no test imports:
`wit_world` is what componentize-py makes of the contract."""

import random

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import columns, description, host

from . import definition
from .config import ConfigError
from .fields import Column, Field
from .log import log
from .loop import Batch
from .path import parse_path


def _no_chance(*_values, **_named):
    raise RuntimeError("a plugin has no random numbers, they would be the same in every instance: hash what you read")


# Before the author's module is imported, which may take them by name.
for _name in ("random", "randint", "randrange", "choice", "choices", "shuffle", "sample", "uniform", "gauss", "getrandbits",
              "randbytes"):
    setattr(random, _name, _no_chance)

log.write = lambda level, message: host.log(host.Level[level.upper()], message)

import plugin as _author  # noqa: E402, F401 (componentize-py keeps what it leaves behind)

_PLUGIN = definition.exported[-1]


def _segments(path):
    return [description.Segment_Index(step) if isinstance(step, int) else description.Segment_Key(step) for step in path]


def _kind(field: Field):
    match field.kind.name:
        case "timestamp":
            return description.Kind_Timestamp(description.TimestampFormat[field.kind.format.upper().replace("-", "_")])
        case "enumeration":
            return description.Kind_Enumeration(list(field.kind.labels))
        case name:
            return getattr(description, f"Kind_{name.capitalize()}")()


def _origin(field: Field):
    if field.host is not None:
        return description.Origin_Host(description.HostValue[field.host.upper().replace("-", "_")])
    if (lookup := field.lookup) is not None:
        keys = [_segments(parse_path(key)) for key in lookup.keys]
        return description.Origin_Lookup(description.Lookup(lookup.table, keys, lookup.column))
    return description.Origin_Field(_segments(field.path))


def _rule(rule):
    return description.Rule(
        rule.id,
        description.Dimension[rule.dimension.upper()],
        description.Severity[rule.severity.upper()],
        None if rule.field is None else _segments(parse_path(rule.field)),
        rule.text,
    )


def _column_from_host(field: Field, column) -> Column:
    values = column.values.value
    if field.kind.name in ("utf8", "json"):
        values = (values.offsets, values.bytes)
    return Column(values, column.presence)


_VALUES = {
    name: getattr(columns, f"Values_{name.capitalize()}")
    for name in ("boolean", "int64", "float64", "timestamp", "date", "utf8", "enumeration", "json")
}


def _column_to_host(field: Field, column: Column):
    values = column.values
    if field.kind.name in ("utf8", "json"):
        values = columns.Binary(*values)
    return columns.Column(_VALUES[field.kind.name](values), column.presence)


def _fault(row, error: BaseException) -> None:
    """The text of what is raised is lost on the way out, so it is told before."""
    # Without `traceback`, which looks for the source of what it prints, and traps there.
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    at = f", at {place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
    host.fault(row, f"{type(error).__name__}: {error}{at}")


class Plugin(exports.Plugin):
    def describe(self):
        return description.About(
            _PLUGIN.name, _PLUGIN.version, _PLUGIN.summary, _PLUGIN.config_schema, _PLUGIN.capabilities,
            _PLUGIN.state_version, _PLUGIN.may_be_passed_by,
        )

    def configure(self, config):
        global _loop
        try:
            _loop = _PLUGIN.configure(config)
        except ConfigError as error:
            raise Err(description.ConfigError(error.pointer, error.message)) from None
        except Exception as error:
            _fault(None, error)
            raise
        return description.Description(
            [description.Read(_origin(field), _kind(field), field.required) for field in _PLUGIN.reads],
            [description.Write(_segments(field.path), _kind(field)) for field in _PLUGIN.writes],
            [_rule(rule) for rule in _PLUGIN.rules],
            description.KeyedState(_PLUGIN.key) if _PLUGIN.key else None,
        )

    def transform(self, batch):
        try:
            return _transform(batch)
        except Exception as error:
            _fault(_loop.row, error)
            raise


_loop = None


def _transform(batch):
    states = batch.states
    reply = _loop.transform(
        Batch(
            batch.rows,
            [_column_from_host(field, column) for field, column in zip(_PLUGIN.reads, batch.columns)],
            states.rows,
            (states.values.offsets, states.values.bytes),
        )
    )
    return columns.Reply(
        reply.verdicts,
        reply.parents,
        [_column_to_host(field, column) for field, column in zip(_PLUGIN.writes, reply.columns)],
        columns.Findings(reply.finding_rows, reply.finding_rules, columns.Binary(*reply.details)),
        columns.ChangedStates(reply.changed_keys, columns.Binary(*reply.changed_states)),
    )
