import dataclasses
import enum
import unittest
from dataclasses import dataclass
from typing import Annotated, Iterator

from tidegate import (
    KEY, NULL, REMOVE, U16, U32, Absence, Action, ConfigError, Drop, Found, Json, Reject, Rule, host, path, plugin,
)
from tidegate.path import parse_path
from tidegate.state import codec_of
from tidegate.testing import Harness, run


class Status(enum.Enum):
    OPEN = "open"
    PAID = "paid"


@dataclass
class Order:
    price: float
    quantity: int
    country: Annotated[str | Absence, path("customer.country")]
    status: Status | None


@dataclass
class Priced:
    total: float
    is_domestic: bool | Action | None
    status: Status | Action | None


@dataclass
class Band:
    label: str


@dataclass
class Prices:
    bands: list[Band] = dataclasses.field(default_factory=list)


NOTHING = Rule("nothing-ordered", "Something is ordered.", field="quantity")
ODD = Rule("odd", "It is even.", severity="warn")


@plugin(name="price", version="1.0.0", rules=[NOTHING, ODD])
def price(config: Prices, row: Order, found: Found) -> Priced:
    """Works out what an order comes to."""
    if row.quantity < 1:
        raise Reject(NOTHING, "it is below one")
    if row.quantity % 2:
        found.add(ODD)
    domestic = None if row.country is Absence.MISSING else NULL if row.country is Absence.NULL else row.country == "DE"
    status = {Status.OPEN: Status.PAID, Status.PAID: REMOVE}.get(row.status)
    return Priced(row.price * row.quantity, domestic, status)


class Sdk(unittest.TestCase):
    def test_rows_are_read_judged_and_written(self) -> None:
        outcomes = run(price, {}, [
            {"price": 2.5, "quantity": 2, "customer": {"country": "DE"}, "status": "open"},
            {"price": 1, "quantity": 1, "customer": {"country": None}, "status": "lost"},
            {"price": 1, "quantity": 2, "customer": {"country": "größer"}, "status": "paid"},
            {"price": 1, "quantity": 0},
            {"price": 1},
        ])
        self.assertEqual([outcome.records for outcome in outcomes], [
            [{"price": 2.5, "quantity": 2, "customer": {"country": "DE"}, "status": "paid", "total": 5, "is_domestic": True}],
            [{"price": 1, "quantity": 1, "customer": {"country": None}, "status": "lost", "total": 1, "is_domestic": None}],
            [{"price": 1, "quantity": 2, "customer": {"country": "größer"}, "total": 2, "is_domestic": False}],
            [],
            [],
        ])
        self.assertEqual(
            [outcome.findings for outcome in outcomes],
            [[], ["odd"], [], ["nothing-ordered: it is below one"], ["required: quantity"]],
        )

    def test_it_is_an_ordinary_function(self) -> None:
        found = Found()
        priced = price(Prices(), Order(2.0, 3, Absence.MISSING, None), found)
        self.assertEqual(priced, Priced(6.0, None, None))
        self.assertEqual(found.findings, [(ODD, "")])

    def test_configs_are_refused_with_a_place(self) -> None:
        for config, pointer, word in [
            ({"bandz": []}, "/bandz", "did you mean `bands`?"),
            ({"bands": [{"label": "a"}, {"label": 3}]}, "/bands/1/label", "expected a string, found a number"),
            ({"bands": [{}]}, "/bands/0", "missing field `label`"),
            ([], "", "expected an object, found a list"),
        ]:
            with self.assertRaises(ConfigError) as refused:
                Harness(price, config)
            self.assertEqual(refused.exception.pointer, pointer)
            self.assertIn(word, refused.exception.message)

    def test_states_stay(self) -> None:
        @dataclass
        class Login:
            user: Annotated[str, KEY]
            failed: bool

        @dataclass
        class Streak:
            failures: U32

        @dataclass
        class Counted:
            failures: int

        def streak(row, state):
            state.failures = state.failures + 1 if row.failed else 0
            return Counted(state.failures)

        streak.__annotations__ = {"row": Login, "state": Streak, "return": Counted}
        harness = Harness(plugin(name="streak", version="1.0.0")(streak))
        harness.run([{"user": "a", "failed": True}, {"user": "b", "failed": True}])
        outcomes = harness.run([{"user": "a", "failed": True}, {"user": "a", "failed": True}])
        self.assertEqual(outcomes[1].records[0]["failures"], 3)

    def test_rows_split(self) -> None:
        @dataclass
        class Basket:
            items: Json

        @dataclass
        class Item:
            number: int

        empty = Rule("empty", "There is something in it.")

        def split(row):
            count = row.items.count(",")
            if not count:
                raise Drop(empty)
            for number in range(count):
                yield Item(number)

        split.__annotations__ = {"row": Basket, "return": Iterator[Item]}
        none, two = run(plugin(name="split", version="1.0.0", rules=[empty])(split), {}, [{"items": [1]}, {"items": [1, 2, 3]}])
        self.assertEqual((none.verdict, none.findings), ("drop", ["empty"]))
        self.assertEqual([record["number"] for record in two.records], [0, 1])

    def test_states_stand_in_bytes_as_in_every_sdk(self) -> None:
        @dataclass
        class Inner:
            flag: bool

        @dataclass
        class Kept:
            count: U32
            name: str
            last: int | None
            seen: list[U16]
            inner: Inner

        Kept.__annotations__.update(seen=list[U16], inner=Inner)
        codec = codec_of(Kept)
        data = bytearray()
        value = Kept(7, "ü", -2, [1, 2], Inner(True))
        codec.encode(value, data)
        self.assertEqual(data.hex(), "07000000" "02000000c3bc" "01feffffffffffffff" "0200000001000200" "01")
        self.assertEqual(codec.decode(bytes(data), 0), (value, len(data)))
        for cut in range(len(data)):
            with self.assertRaises(ValueError):
                codec.decode(bytes(data[:cut]), 0)

    def test_paths_are_those_of_rfc_9535(self) -> None:
        self.assertEqual(parse_path("$"), [])
        self.assertEqual(parse_path("$.items[0].sku"), ["items", 0, "sku"])
        self.assertEqual(parse_path("['a.b'][\"c\\u00e9\"]"), ["a.b", "cé"])
        self.assertEqual(parse_path("['it\\'s'].größe"), ["it's", "größe"])
        for text in ["", "a..b", "a.*", "a[-1]", "a[01]", "a['b", "a-b", "a[b]", "a[4294967296]", "['\\x']", "['\\ud83d']"]:
            with self.assertRaises(ValueError, msg=text):
                parse_path(text)

    def test_mistakes_are_named(self) -> None:
        with self.assertRaisesRegex(ValueError, "no host value"):
            host("@now")
        with self.assertRaisesRegex(ValueError, "dimension"):
            Rule("a", "b", "beauty")


if __name__ == "__main__":
    unittest.main()
