"""Rules, and how a row is refused by one."""

from dataclasses import dataclass

DIMENSIONS = ("completeness", "validity", "uniqueness", "consistency", "timeliness", "accuracy")
SEVERITIES = ("info", "warn", "reject")


@dataclass(frozen=True)
class Rule:
    """What a row may break, declared once and named by every finding."""

    id: str
    """Unique in the plugin and stable across versions: `negative-amount`."""
    text: str
    """One sentence for people: what holds where the rule is kept."""
    dimension: str = "validity"
    """The dimension of data quality."""
    severity: str = "reject"
    """What a finding means for its row: `info`, `warn` or `reject`."""
    field: str | None = None
    """The field that it is about, as a path, where it is about one."""

    def __post_init__(self) -> None:
        if self.dimension not in DIMENSIONS:
            raise ValueError(f"the dimension of `{self.id}` is one of {', '.join(DIMENSIONS)}")
        if self.severity not in SEVERITIES:
            raise ValueError(f"the severity of `{self.id}` is one of {', '.join(SEVERITIES)}")


class Refusal(Exception):
    """The row does not go on."""

    is_drop = False

    def __init__(self, rule: Rule, detail: str = "") -> None:
        super().__init__(rule.id if not detail else f"{rule.id}: {detail}")
        self.rule = rule
        self.detail = detail


class Reject(Refusal):
    """The row goes to the dead letters, which name the rule. The detail says what is wrong and
    never what the value was, for it shows in logs."""


class Drop(Refusal):
    """The row ends here, by the plugin's word, and is counted under the rule."""

    is_drop = True
