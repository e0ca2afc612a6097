"""A batch in, a reply out: the loop over rows."""

import dataclasses
import typing

from .fields import Column, cells_of, column_of, join_texts
from .rules import Refusal
from .state import KeyedStates

EMIT, DROP, REJECT = 0, 1, 2


@dataclasses.dataclass
class Batch:
    rows: int
    columns: list[Column]
    state_rows: typing.Sequence[int] = ()
    states: tuple[typing.Sequence[int], bytes] = ((), b"")


@dataclasses.dataclass
class Reply:
    verdicts: bytes
    parents: list[int]
    columns: list[Column]
    finding_rows: list[int]
    finding_rules: list[int]
    details: tuple[list[int], bytes]
    changed_keys: list[int]
    changed_states: tuple[list[int], bytes]


class Loop:
    """A plugin under a config."""

    def __init__(self, plugin, config) -> None:
        self.plugin = plugin
        self.config = config
        self.rules = {rule.id: index for index, rule in enumerate(plugin.rules)}
        self.row: int | None = None
        """The row that is being worked on, for whoever reports what was raised."""

    def transform(self, batch: Batch) -> Reply:
        from .definition import Found

        plugin = self.plugin
        cells = [cells_of(field, column) for field, column in zip(plugin.reads, batch.columns)]
        states = None if plugin.codec is None else KeyedStates(plugin.codec, batch.state_rows, *batch.states)
        found = Found()
        named: dict[str, typing.Any] = {}
        if "config" in plugin.takes:
            named["config"] = self.config
        if "found" in plugin.takes:
            named["found"] = found
        function, row_type, parameter, fans_out = plugin.function, plugin.row_type, plugin.row_parameter, plugin.fans_out
        verdicts = bytearray()
        parents: list[int] = []
        outputs: list[typing.Any] = []
        findings: list[tuple[int, int, str]] = []
        # Without a column there is nothing to take rows from.
        values = zip(*cells) if cells else ((),) * batch.rows
        for row, value in enumerate(values):
            self.row = row
            named[parameter] = row_type(*value)
            if states is not None:
                named["state"] = states.of_row(row)
            try:
                if fans_out:
                    children = list(function(**named))
                    outputs.extend(children)
                    parents.extend([row] * len(children))
                    if not children:
                        if not found.findings:
                            raise AssertionError("nothing is returned for the row, and no rule says why: raise a Drop")
                        verdicts = _judge(verdicts, batch.rows, row, DROP)
                else:
                    outputs.append(function(**named))
            except Refusal as refusal:
                verdicts = _judge(verdicts, batch.rows, row, DROP if refusal.is_drop else REJECT)
                findings.append((row, self._index(refusal.rule), refusal.detail))
                if not fans_out:
                    outputs.append(None)
            if found.findings:
                # After a refusal: the first finding of a refused row is what refuses it.
                findings.extend((row, self._index(rule), detail) for rule, detail in found.findings)
                found.findings.clear()
        self.row = None
        if fans_out and not parents:
            # No parents mean one row for each, so there is one for each, which nobody looks at.
            outputs = [None] * batch.rows
        details = [detail for _, _, detail in findings]
        keys, changed = ([], []) if states is None else states.changed()
        return Reply(
            verdicts=bytes(verdicts),
            parents=parents,
            columns=[column_of(field, outputs) for field in plugin.writes],
            finding_rows=[row for row, _, _ in findings],
            finding_rules=[rule for _, rule, _ in findings],
            details=join_texts([detail.encode() for detail in details]) if any(details) else ([], b""),
            changed_keys=keys,
            changed_states=join_texts(changed),
        )

    def _index(self, rule) -> int:
        if rule.id not in self.rules:
            raise AssertionError(f"the rule `{rule.id}` is not among the plugin's rules")
        return self.rules[rule.id]


def _judge(verdicts: bytearray, rows: int, row: int, verdict: int) -> bytearray:
    verdicts = verdicts or bytearray(rows)
    verdicts[row] = verdict
    return verdicts
