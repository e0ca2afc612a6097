"""What a plugin is: a function, and what its annotations say."""

import collections.abc
import dataclasses
import inspect
import typing

from .annotations import hints
from .config import parse_config, schema_of
from .fields import Field, fields_of
from .loop import Loop
from .rules import Rule
from .state import Codec, codec_of


@dataclasses.dataclass
class NoConfig:
    """The config of a plugin that takes none."""


class Found:
    """What is found about the row at hand besides its verdict."""

    def __init__(self) -> None:
        self.findings: list[tuple[Rule, str]] = []

    def add(self, rule: Rule, detail: str = "") -> None:
        """The row breaks a rule, and goes on. The detail says what is wrong and never what the
        value was."""
        self.findings.append((rule, detail))


_FANNED_OUT = (list, tuple, collections.abc.Iterator, collections.abc.Iterable, collections.abc.Generator)


class Plugin:
    """A plugin. It is called as the function that it was made of."""

    def __init__(self, function, *, name, version, summary, rules, state_version, may_be_passed_by) -> None:
        self.function = function
        self.name = name
        self.version = version
        self.summary = summary
        self.rules: list[Rule] = list(rules)
        self.may_be_passed_by = may_be_passed_by
        types = hints(function)
        parameters = list(inspect.signature(function).parameters)
        rows = [parameter for parameter in parameters if parameter not in ("config", "state", "found")]
        if len(rows) != 1:
            raise TypeError(f"{name}: a plugin takes one row, and `config`, `state` and `found` by these names")
        self.row_parameter = rows[0]
        self.takes = frozenset(parameters)
        self.config_type: type = types.get("config", NoConfig)
        self.row_type: type = types[rows[0]]
        self.reads: list[Field] = fields_of(self.row_type)
        returned = types.get("return", type(None))
        self.fans_out = typing.get_origin(returned) in _FANNED_OUT
        if self.fans_out:
            returned = typing.get_args(returned)[0]
        self.writes: list[Field] = [] if returned is type(None) else fields_of(returned)
        self.codec: Codec | None = codec_of(types["state"]) if "state" in types else None
        self.key = [index for index, field in enumerate(self.reads) if field.is_key]
        if (self.codec is not None) != bool(self.key):
            raise TypeError(f"{name}: a plugin that keeps state, and no other, has a key: `Annotated[str, KEY]`")
        self.state_version = 0 if self.codec is None else state_version

    def __call__(self, *values, **named):
        return self.function(*values, **named)

    @property
    def capabilities(self) -> list[str]:
        is_document = [not field.path for field in self.reads if field.host is None and field.lookup is None]
        is_document += [not field.path for field in self.writes]
        asked = {
            "state": self.codec is not None,
            "fan-out": self.fans_out,
            "document": any(is_document),
            "lookups": any(field.lookup is not None for field in self.reads),
        }
        return [capability for capability, is_asked in asked.items() if is_asked]

    @property
    def config_schema(self) -> str:
        return schema_of(self.config_type)

    def configure(self, config_json: str) -> Loop:
        return Loop(self, parse_config(self.config_type, config_json))


exported: list[Plugin] = []
"""What modules have made plugins of, in order: a component is the last."""


def plugin(
    *,
    name: str,
    version: str,
    summary: str | None = None,
    rules: typing.Sequence[Rule] = (),
    state_version: int = 1,
    may_be_passed_by: bool = False,
) -> typing.Callable[[typing.Callable], Plugin]:
    """Makes a function the plugin that this component is. Its first line of documentation is the
    summary, where none is given. What it takes is told by the names of its parameters: one row, and
    `config`, `state` and `found` where it wants them; what it writes, by what it returns: a dataclass,
    nothing, or an iterator of dataclasses for any number of rows."""

    def make(function: typing.Callable) -> Plugin:
        said = (inspect.getdoc(function) or "").partition("\n")[0] if summary is None else summary
        made = Plugin(
            function, name=name, version=version, summary=said, rules=rules, state_version=state_version,
            may_be_passed_by=may_be_passed_by,
        )
        exported.append(made)
        return made

    return make
