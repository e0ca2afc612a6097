import unittest

from tidegate.testing import run

from plugin import size


class Transactions(unittest.TestCase):
    def test_they_are_sized(self) -> None:
        time = {"utc": "2026-03-01T12:00:00Z"}
        sized, refused = run(
            size, {"large": 100}, [{"amount": 250, "currency": "USD", "time": time}, {"amount": -1, "time": time}]
        )
        self.assertEqual(
            sized.records,
            [{"amount": 250, "currency": "USD", "time": time, "size": "large", "is_foreign": True, "day": "2026-03-01"}],
        )
        self.assertEqual(refused.findings, ["negative-amount"])
