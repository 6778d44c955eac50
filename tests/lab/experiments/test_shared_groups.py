"""Groups that are shared by the runs with the same limits, where a backend says that they are costly."""

from collections.abc import Sequence

import pytest

from nanonap.lab.experiments.kit.shared_groups import shared_groups
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.quota.base import Backend, Group, Throttling
from nanonap.lab.quota.limits import Limits, parse_quota

HALF = Limits(parse_quota("50%"))


class Counted(Group):
    """A group that counts what is run in it."""

    def __init__(self, limits: Limits) -> None:
        self.effective, self.commands, self.closed = limits, 0, 0

    def command(self, argv: Sequence[str]) -> list[str]:
        self.commands += 1
        return ["in", *argv]

    def counters(self) -> Throttling:
        return Throttling(self.commands, 0, 0)

    def close(self) -> None:
        self.closed += 1


class Slow(Backend):
    name = "slow"
    costly = True

    def __init__(self) -> None:
        self.made: list[Counted] = []

    def prepare(self) -> None:
        pass

    def open(self, limits: Limits) -> Counted:
        if limits.quota.burst_ns:
            raise QuotaUnavailable(self.name, "no burst", "leave it out")
        self.made.append(Counted(limits))
        return self.made[-1]

    def close(self) -> None:
        pass


class Quick(Slow):
    costly = False


def run_in(backend: Backend, limits: Limits) -> None:
    with backend.open(limits) as group:
        before = group.counters()
        assert group.command(["a"]) == ["in", "a"]
        after = group.counters()
        assert group.effective == limits
        assert before is not None and after is not None
        assert after.since(before).nr_periods == 1


def test_a_costly_group_is_made_once_for_each_limits_and_closed_at_the_end() -> None:
    slow = Slow()
    with shared_groups(slow) as backend:
        assert backend.elsewhere
        for limits in (HALF, Limits(), HALF, Limits()):
            run_in(backend, limits)
        assert [(each.effective, each.commands, each.closed) for each in slow.made] == [(HALF, 2, 0), (Limits(), 2, 0)]
        with pytest.raises(QuotaUnavailable, match="no burst"):
            backend.open(Limits(parse_quota("50%+burst=10ms")))
    assert [each.closed for each in slow.made] == [1, 1]


def test_they_are_closed_whatever_happened() -> None:
    slow = Slow()
    with pytest.raises(KeyError), shared_groups(slow) as backend:
        run_in(backend, HALF)
        raise KeyError
    assert [each.closed for each in slow.made] == [1]


def test_where_groups_are_cheap_each_run_has_its_own() -> None:
    quick = Quick()
    with shared_groups(quick) as backend:
        assert backend is quick
        run_in(backend, HALF)
        run_in(backend, HALF)
    assert [(each.commands, each.closed) for each in quick.made] == [(1, 1), (1, 1)]
