"""{{name}} sizes transactions up."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from tidegate import Date, Reject, Rule, Timestamp, doc, path, plugin

DAY = 86_400_000_000  # microseconds


@dataclass
class Config:
    """What the operator writes under `config`, and the sentences that they read."""

    large: Annotated[float, doc("Amounts from here on are large.")]


@dataclass
class Transaction:
    """The members of these names, or where a path says."""

    amount: float  # required: the host rejects rows without it
    currency: str | None
    at: Annotated[Timestamp, path("time.utc")]


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Sized:
    """What is written."""

    size: Size
    is_foreign: bool | None  # None leaves it
    day: Date


NEGATIVE = Rule("negative-amount", "The amount is not negative.", field="amount")


@plugin(name="{{name}}", version="0.1.0", rules=[NEGATIVE], may_be_passed_by=True)
def size(config: Config, row: Transaction) -> Sized:
    """Sizes transactions up."""
    if row.amount < 0:
        raise Reject(NEGATIVE)
    return Sized(
        size=Size.LARGE if row.amount >= config.large else Size.SMALL,
        is_foreign=None if row.currency is None else row.currency != "EUR",
        day=Date(row.at // DAY),
    )
