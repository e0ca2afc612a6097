"""State as a type: its fields one after the other, numbers little-endian, lengths as u32, a byte
before what may be absent, with nothing to say which is which. The same in every SDK, so a plugin that
is written again in another language goes on with its states."""

import dataclasses
import struct
import typing

from .annotations import hints, marks_of, union, unwrap


@dataclasses.dataclass(frozen=True)
class Width:
    """How a number stands in a state."""

    format: str


U8 = typing.Annotated[int, Width("<B")]
U16 = typing.Annotated[int, Width("<H")]
U32 = typing.Annotated[int, Width("<I")]
U64 = typing.Annotated[int, Width("<Q")]
I8 = typing.Annotated[int, Width("<b")]
I16 = typing.Annotated[int, Width("<h")]
I32 = typing.Annotated[int, Width("<i")]
I64 = typing.Annotated[int, Width("<q")]
F32 = typing.Annotated[float, Width("<f")]

_WRONG_VERSION = "the stored state is not one of this state version"


class Codec:
    """How a type stands in bytes. `initial` is the value of a key that has none yet."""

    def __init__(self, initial, encode, decode):
        self.initial = initial
        self.encode = encode  # (value, bytearray)
        self.decode = decode  # (bytes, at) -> (value, at)


def codec_of(hint: typing.Any) -> Codec:
    of, marks = unwrap(hint)
    width = marks_of(marks, Width)
    members = union(of)
    if len(members) == 2 and type(None) in members:
        return _optional(codec_of(next(member for member in members if member is not type(None))))
    if typing.get_origin(of) is list:
        return _list(codec_of(typing.get_args(of)[0]))
    if dataclasses.is_dataclass(of):
        return _dataclass(of)
    if of is bool:
        return Codec(lambda: False, lambda value, to: to.append(1 if value else 0), _decode_bool)
    if of is str:
        return Codec(str, _encode_text, _decode_text)
    if of in (int, float):
        return _number(struct.Struct(width.format if width else "<q" if of is int else "<d"), of)
    raise TypeError(
        f"{hint!r} can't be kept as a state: a state is a dataclass of int (I64), U8 to U64, I8 to I32, float, F32, bool, "
        "str, `| None`, list and such dataclasses"
    )


def _number(packed: struct.Struct, of: type) -> Codec:
    def decode(data, at):
        if at + packed.size > len(data):
            raise ValueError(_WRONG_VERSION)
        return packed.unpack_from(data, at)[0], at + packed.size

    return Codec(of, lambda value, to: to.extend(packed.pack(value)), decode)


def _decode_bool(data, at):
    if at >= len(data) or data[at] > 1:
        raise ValueError(_WRONG_VERSION)
    return data[at] == 1, at + 1


_LENGTH = _number(struct.Struct("<I"), int)


def _encode_text(value, to):
    data = value.encode()
    _LENGTH.encode(len(data), to)
    to.extend(data)


def _decode_text(data, at):
    length, at = _LENGTH.decode(data, at)
    if at + length > len(data):
        raise ValueError(_WRONG_VERSION)
    return bytes(data[at : at + length]).decode(), at + length


def _optional(item: Codec) -> Codec:
    def encode(value, to):
        to.append(0 if value is None else 1)
        if value is not None:
            item.encode(value, to)

    def decode(data, at):
        is_there, at = _decode_bool(data, at)
        return item.decode(data, at) if is_there else (None, at)

    return Codec(lambda: None, encode, decode)


def _list(item: Codec) -> Codec:
    def encode(values, to):
        _LENGTH.encode(len(values), to)
        for value in values:
            item.encode(value, to)

    def decode(data, at):
        length, at = _LENGTH.decode(data, at)
        values = []
        for _ in range(length):
            value, at = item.decode(data, at)
            values.append(value)
        return values, at

    return Codec(list, encode, decode)


def _dataclass(of: type) -> Codec:
    types = hints(of)
    items = [(field.name, codec_of(types[field.name])) for field in dataclasses.fields(of)]

    def encode(value, to):
        for name, item in items:
            item.encode(getattr(value, name), to)

    def decode(data, at):
        values = []
        for _, item in items:
            value, at = item.decode(data, at)
            values.append(value)
        return of(*values), at

    return Codec(lambda: of(*(item.initial() for _, item in items)), encode, decode)


class KeyedStates:
    """The states of a batch's keys: decoded once, changed row by row, sent back where bytes
    changed."""

    def __init__(self, codec: Codec, rows: typing.Sequence[int], offsets: typing.Sequence[int], data: bytes) -> None:
        self._codec = codec
        self._rows = rows
        self._before = [data[start:end] for start, end in zip(offsets, offsets[1:])]
        self._now: list[typing.Any] = [None] * len(self._before)

    def of_row(self, row: int) -> typing.Any:
        key = self._rows[row]
        if self._now[key] is None:
            before = self._before[key]
            if before:
                self._now[key], end = self._codec.decode(before, 0)
                if end != len(before):
                    raise ValueError(_WRONG_VERSION)
            else:
                self._now[key] = self._codec.initial()
        return self._now[key]

    def changed(self) -> tuple[list[int], list[bytes]]:
        keys, values = [], []
        for key, (before, state) in enumerate(zip(self._before, self._now)):
            if state is not None:
                now = bytearray()
                self._codec.encode(state, now)
                if now != before:
                    keys.append(key)
                    values.append(bytes(now))
        return keys, values
