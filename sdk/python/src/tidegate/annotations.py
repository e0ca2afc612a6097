"""Taking annotations apart."""

import types
import typing


def hints(of: typing.Any) -> dict[str, typing.Any]:
    return typing.get_type_hints(of, include_extras=True)


def unwrap(hint: typing.Any) -> tuple[typing.Any, tuple[typing.Any, ...]]:
    """A type, and what `Annotated` says of it."""
    if typing.get_origin(hint) is typing.Annotated:
        inner, *marks = typing.get_args(hint)
        of, more = unwrap(inner)
        return of, (*more, *marks)
    return hint, ()


def union(hint: typing.Any) -> tuple[typing.Any, ...]:
    """The members of a union; a type alone is one."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def marks_of(marks: tuple[typing.Any, ...], kind: type) -> typing.Any:
    """The one mark of a kind, or None."""
    return next((mark for mark in marks if isinstance(mark, kind)), None)
