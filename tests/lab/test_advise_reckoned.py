"""What advise makes of what was seen, where the right answer is known."""

import pytest

from nanonap.lab.advise.advice import advise
from nanonap.lab.advise.log import MS, Expiry, Used, Wait, Window
from nanonap.lab.advise.wakeup import Wakeup
from nanonap.lab.advise.watching import Seen

LENGTH_NS, LATE_NS, WAKEUP_NS, SLACK_NS = 200 * MS, 60_000, 10_000, 50_000
CPU = 0.2


def seen(waits: list[Wait], expiries: list[Expiry]) -> Seen:
    used = Used(LENGTH_NS, int(CPU * LENGTH_NS))
    return Seen((Window(0, LENGTH_NS, tuple(waits), tuple(expiries)),), used, 0, 0, 2 * LENGTH_NS)


def wakeup() -> Wakeup:
    return Wakeup(((MS, WAKEUP_NS),), ((MS, 10_000),))


@pytest.mark.parametrize("apart_ns", [MS // 10, MS // 2, 20 * MS])
def test_a_patch_does_not_save_the_wake_ups_that_events_cause(apart_ns: int) -> None:
    """A ticker of 10 ms, which the patch does not make more frequent, among waits that something else ends."""
    expiries = [Expiry(1, due, due + LATE_NS, 10 * MS) for due in range(10 * MS, LENGTH_NS, 10 * MS)]
    again = [each.now_ns + 10_000 for each in expiries]
    waits = sorted([*range(0, LENGTH_NS, apart_ns), *again])
    told = advise(seen([Wait(at, 10 * MS - at % (10 * MS)) for at in waits], expiries), wakeup(), SLACK_NS)
    # A longer wait comes in two parts or, where nothing is late, three: 1/128 is left, and 1/128 of that. So there are
    # 200 wake-ups a second more at most, of 1.5 × 10 µs each.
    for way in told.ways:
        assert way.cpu == pytest.approx(CPU, abs=0.0031), way.name
