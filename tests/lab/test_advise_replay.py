"""The reckoning of advise on timers that were never there, so that the right answer is known."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanonap.lab.advise.log import MS, Expiry, Wait, Window, rounded_ns
from nanonap.lab.advise.replay import Rule, Wakes, pretended, replay, wakes

LATE_NS = 60_000
LENGTH_NS = 200 * MS


def precise(delay_ns: int) -> int:
    return delay_ns


def simulated(periods: dict[int, tuple[int, int]], rule: Rule = rounded_ns, *, relative: bool = False) -> Window:
    """Some time of timers, each (first due, period): on schedules, or set anew when they went off."""
    due = {timer: first for timer, (first, _) in periods.items()}
    waits, expiries, now = [], [], 0
    while now < LENGTH_NS:
        first = min(due.values())
        if first > now:
            waits.append(Wait(now, first - now))
            now += rule(first - now) + LATE_NS + now % 9_973  # as a kernel's, never twice the same
        for timer in [each for each, at in due.items() if at <= now]:
            expiries.append(Expiry(timer, due[timer], now, 0))
            period = periods[timer][1]
            due[timer] = now + period if relative else due[timer] + period * (1 + (now - due[timer]) // period)
        now += 1_000
    return Window(0, now, tuple(waits), tuple(expiries))


WORK = [
    pytest.param({1: (50_000, 100_000)}, True, id="one that sets itself anew"),
    pytest.param({1: (50_000, 10 * MS)}, False, id="a slow ticker"),
    pytest.param({each: (each * 20_000, MS) for each in range(1, 51)}, False, id="fifty out of step"),
    pytest.param({each: (each * 370_000, 10 * MS) for each in range(1, 11)}, False, id="ten slow ones"),
    pytest.param({1: (70_000, 300_000), 2: (90_000, 2_500_000)}, False, id="a fast and a slow one"),
]


@pytest.mark.parametrize(("periods", "relative"), WORK)
def test_what_is_reckoned_is_what_another_rule_gives(periods: dict[int, tuple[int, int]], relative: bool) -> None:
    stock, patched = (simulated(periods, rule, relative=relative) for rule in (rounded_ns, precise))
    shown = wakes(stock)
    for rule, truth in ((rounded_ns, stock), (precise, patched)):
        told = replay(stock, shown, rule, 0)
        assert len(told.slept_ns) == pytest.approx(len(truth.waits), rel=0.05, abs=2)
        assert len(told.late_ns) == pytest.approx(len(truth.expiries), rel=0.05, abs=2)
        late = [each.now_ns - each.due_ns for each in truth.expiries]
        assert sum(told.late_ns) / len(told.late_ns) == pytest.approx(sum(late) / len(late), rel=0.1)


def test_the_kernels_lateness_and_what_events_ended_are_told_apart() -> None:
    shown = wakes(
        Window(
            0,
            20 * MS,
            (
                Wait(0, 400_000),  # ends after a millisecond and 60 µs, for the timer below
                Wait(1_080_000, 5 * MS),  # something happens at once
                Wait(1_200_000, -1),  # as long as it takes
                Wait(3 * MS, 2_500_000),  # two milliseconds first,
                Wait(5_070_000, 430_000),  # then one, which does for the half
                Wait(6_200_000, 10 * MS),
            ),
            (Expiry(7, 400_000, 1_060_000, 0), Expiry(7, 5_500_000, 6_130_000, 0)),
        )
    )
    assert shown.late == ((MS, 60_000), (MS, 60_000))
    assert shown.events == 2


def test_a_probes_own_time_is_taken_off() -> None:
    window = Window(
        0, 2 * MS, (Wait(0, 400_000), Wait(1_100_000, MS)), (Expiry(1, 400_000, 1_060_000, 0),), hit_ns=8_000
    )
    assert wakes(window) == Wakes(((MS, 52_000),), 0)


@pytest.mark.parametrize(("late_ns", "less_ns", "told_ns"), [(60, 49, 20), (60, 30, 30), (5, 30, 5)])
def test_less_slack_is_less_late_but_never_less_than_the_machine_can(late_ns: int, less_ns: int, told_ns: int) -> None:
    window, seen = simulated({1: (50_000, 100_000)}, relative=True), Wakes(((MS, late_ns * 1_000),), 0)
    told = replay(window, seen, precise, 0, lambda _: 20_000.0, less_ns=less_ns * 1_000)
    assert set(told.late_ns) == {told_ns * 1_000}


def test_a_longer_wait_than_was_seen_is_later_by_what_this_machine_is() -> None:
    window = simulated({1: (50_000, 100_000)}, relative=True)
    seen = Wakes(((MS, 60_000),), 0)
    told = replay(window, seen, lambda delay: delay, 0, lambda length: length / 100)
    assert set(told.late_ns) == {60_000 - 9_500, 60_000 - 9_000}  # of 0.05 ms at first, then 0.1, instead of 1
    assert set(replay(window, Wakes((), 0), precise, 0, lambda length: length / 100).late_ns) == {0}


def test_a_ticker_that_was_stopped_does_not_go_on() -> None:
    seen = tuple(Expiry(each, each * 5 * MS, each * 5 * MS + 60_000, 5 * MS) for each in range(1, 11))
    told = replay(Window(0, 58 * MS, (), seen), Wakes(((MS, 60_000),), 0), precise, 0)
    assert len(told.late_ns) == 10 + 1  # the last may go on


def test_where_timers_are_not_seen_each_short_wait_that_lasted_counts_for_one() -> None:
    waits = (Wait(0, 400_000), Wait(1_100_000, 400_000), Wait(1_300_000, 5 * MS), Wait(7 * MS, -1))
    assert pretended(waits) == (Expiry(0, 400_000, MS, 0),)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 5 * MS), st.integers(30_000, 5 * MS)), min_size=1, max_size=8), st.booleans())
def test_nothing_seen_makes_it_fail_or_go_off_early(timers: list[tuple[int, int]], relative: bool) -> None:
    window = simulated(dict(enumerate(timers)), relative=relative)
    for rule in (rounded_ns, precise, lambda delay: max(delay, 800_000)):
        told = replay(window, wakes(window), rule, 0)
        assert min(told.late_ns) >= 0
        assert len(told.slept_ns) <= len(told.late_ns) * 7  # a longer wait has a part a millisecond at most
