"""From a config's JSON text to a dataclass, and its JSON Schema."""

import dataclasses
import enum
import json
import typing

from .annotations import hints, marks_of, union, unwrap


class ConfigError(Exception):
    """A config that is refused: where, as a JSON Pointer into it, and why. A config checks more than
    its types in `__post_init__`, where the pointer begins at the dataclass itself."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(f"{pointer or 'config'}: {message}")
        self.pointer = pointer
        self.message = message


@dataclasses.dataclass(frozen=True)
class doc:
    """What operators read about a key: `Annotated[float, doc("…")]`."""

    text: str


def parse_config(of: type, text: str) -> typing.Any:
    return _decode(json.loads(text), of, "")


def _decode(value: typing.Any, hint: typing.Any, pointer: str) -> typing.Any:
    of, _ = unwrap(hint)
    members = union(of)
    if len(members) == 2 and type(None) in members:
        return None if value is None else _decode(value, next(m for m in members if m is not type(None)), pointer)
    if dataclasses.is_dataclass(of):
        return _decode_dataclass(value, typing.cast(type, of), pointer)
    origin = typing.get_origin(of)
    if origin is list:
        if not isinstance(value, list):
            raise _expected("a list", value, pointer)
        return [_decode(item, typing.get_args(of)[0], f"{pointer}/{i}") for i, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise _expected("an object", value, pointer)
        item_type = typing.get_args(of)[1]
        return {name: _decode(item, item_type, f"{pointer}/{_escape(name)}") for name, item in value.items()}
    if isinstance(of, enum.EnumMeta):
        if not any(value == member.value for member in of):
            raise ConfigError(pointer, f"expected one of {', '.join(str(member.value) for member in of)}")
        return of(value)
    if of is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    names = {float: "a number", int: "an integer", str: "a string", bool: "a boolean"}
    if of not in names:
        raise TypeError(f"a config can't hold {hint!r}")
    if type(value) is not of:
        raise _expected(names[of], value, pointer)
    return value


def _decode_dataclass(value: typing.Any, of: type, pointer: str) -> typing.Any:
    if not isinstance(value, dict):
        raise _expected("an object", value, pointer)
    types = hints(of)
    fields = {field.name: field for field in dataclasses.fields(of)}
    values = {}
    for name, item in value.items():
        at = f"{pointer}/{_escape(name)}"
        if name not in fields:
            raise ConfigError(at, _unknown(name, list(fields)))
        values[name] = _decode(item, types[name], at)
    for name, field in fields.items():
        if name not in values:
            if not _is_optional(field, types[name]):
                raise ConfigError(pointer, f"missing field `{name}`")
            if not _has_default(field):
                values[name] = None
    try:
        return of(**values)
    except ConfigError as error:
        raise ConfigError(pointer + error.pointer, error.message) from None


def _has_default(field: dataclasses.Field) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _is_optional(field: dataclasses.Field, hint: typing.Any) -> bool:
    return _has_default(field) or type(None) in union(unwrap(hint)[0])


def _expected(what: str, value: typing.Any, pointer: str) -> ConfigError:
    names = {
        type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list",
        dict: "an object",
    }
    return ConfigError(pointer, f"expected {what}, found {names[type(value)]}")


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _unknown(unknown: str, names: list[str]) -> str:
    message = f"unknown field `{unknown}`, expected one of {', '.join(f'`{name}`' for name in names)}"
    nearest = min(names, key=lambda name: _edit_distance(unknown, name), default=None)
    if nearest is not None and _edit_distance(unknown, nearest) <= 1 + len(nearest) // 3:
        message += f"; did you mean `{nearest}`?"
    return message


def _edit_distance(a: str, b: str) -> int:
    """Levenshtein's."""
    row = list(range(len(b) + 1))
    for i, c in enumerate(a):
        diagonal, row[0] = row[0], i + 1
        for j, d in enumerate(b):
            replaced = diagonal + (c != d)
            diagonal = row[j + 1]
            row[j + 1] = min(row[j + 1] + 1, row[j] + 1, replaced)
    return row[-1]


def schema_of(of: type) -> str:
    """The JSON Schema of a config, as text."""
    return json.dumps(_schema(of))


def _schema(hint: typing.Any) -> dict[str, typing.Any]:
    of, marks = unwrap(hint)
    described = marks_of(marks, doc)
    schema = _schema_of_type(of)
    return schema if described is None else {**schema, "description": described.text}


def _schema_of_type(of: typing.Any) -> dict[str, typing.Any]:
    members = union(of)
    if len(members) == 2 and type(None) in members:
        return _schema(next(member for member in members if member is not type(None)))
    if dataclasses.is_dataclass(of):
        types = hints(of)
        fields = dataclasses.fields(of)
        return {
            "type": "object",
            "properties": {field.name: _schema(types[field.name]) for field in fields},
            "required": [field.name for field in fields if not _is_optional(field, types[field.name])],
            "additionalProperties": False,
        }
    origin = typing.get_origin(of)
    if origin is list:
        return {"type": "array", "items": _schema(typing.get_args(of)[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(typing.get_args(of)[1])}
    if isinstance(of, enum.EnumMeta):
        return {"type": "string", "enum": [member.value for member in of]}
    return {"type": {float: "number", int: "integer", str: "string", bool: "boolean"}[of]}
