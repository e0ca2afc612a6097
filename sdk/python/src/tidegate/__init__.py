"""Write Tidegate plugins in Python: two dataclasses and a function.

A plugin is a pure function over the fields of a record. It says which fields it reads and which it
writes, and the host does the rest. `plugin` makes one of a function; README.md is the manual;
`tidegate.testing` tries a plugin in an ordinary test, without WebAssembly.

Only `tidegate.guest` knows the contract, and nothing but a component imports it.
"""

from .config import ConfigError, doc
from .definition import Found, plugin
from .fields import (
    KEY,
    LEAVE,
    NULL,
    REMOVE,
    Absence,
    Action,
    Date,
    Json,
    Timestamp,
    format,
    host,
    lookup,
    path,
)
from .log import log
from .rules import Drop, Reject, Rule
from .state import F32, I8, I16, I32, I64, U8, U16, U32, U64

__all__ = [
    "F32", "I8", "I16", "I32", "I64", "KEY", "LEAVE", "NULL", "REMOVE", "U8", "U16", "U32", "U64",
    "Absence", "Action", "ConfigError", "Date", "Drop", "Found", "Json", "Reject", "Rule", "Timestamp",
    "doc", "format", "host", "log", "lookup", "path", "plugin",
]
