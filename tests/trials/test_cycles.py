"""Cycles in short: a process lives through being injected, ejected and let down by a killed agent."""

import pytest

from nanonap.base.errors import UsageError
from nanonap.trials.cycles.run import Cell, check_failed, problem, rows, run_cycles
from nanonap.trials.errors import CyclesFailed


@pytest.mark.long
def test_a_wait_in_two_pages_is_changed_and_kills_are_lived_through() -> None:
    (cell,) = run_cycles("1.27.3", "crossing", 40, 40, 1)
    assert problem(cell) is None
    assert sum(each["changes"] for each in cell["parts"]) == 80
    assert sum(each["kills"]["made"] for each in cell["parts"]) == 40
    assert sum(each["kills"]["after"].get("staged", 0) for each in cell["parts"]) > 0
    assert all(each["process"]["sleeps"] > 0 and each["process"]["requests"] > 0 for each in cell["parts"])


@pytest.mark.long
def test_a_wait_in_one_page_is_stock_or_injected_whenever_the_agent_dies() -> None:
    (cell,) = run_cycles("1.21.13", "default", 40, 40, 2)
    assert problem(cell) is None
    assert {state for each in cell["parts"] for state in each["kills"]["after"]} <= {"stock", "injected"}


def _cell(**changed: object) -> Cell:
    process = {"ok": True, "status": 0, "stderr": "", "sleeps": 1, "early": 0, "requests": 1, "failed": 0}
    kills = {"made": 1, "dead": 0, "unrecovered": 0, "held": 1, "after": {"stock": 1}}
    part = {"changes": 2, "moved": 1, "retries": 0, "refused": None, "pause_ns": {"p50": 1}, "kills": kills}
    return {"go": "1.27.3", "mode": "default", "parts": [{**part, "process": process, **changed}]}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"process": {"ok": False, "status": 2, "stderr": "fatal error: x"}}, "fatal error: x"),
        ({"process": {"ok": False, "status": None, "stderr": "goroutine"}}, "ended with None"),
        ({"refused": {"error": "CannotStop"}}, "refused"),
        ({"kills": {"made": 1, "dead": 1, "unrecovered": 0}}, "not lived through"),
        ({"kills": {"made": 1, "dead": 0, "unrecovered": 1}}, "not lived through"),
    ],
)
def test_what_went_wrong_fails_the_campaign(changed: dict[str, object], said: str) -> None:
    with pytest.raises(CyclesFailed, match=said):
        check_failed([_cell(), _cell(**changed)])
    check_failed([_cell()])
    assert rows([_cell()])[0][:3] == ("1.27.3", "default", "2")


def test_modes_and_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="crossing"):
        run_cycles("1.27.3", "sideways", 1, 1, 1)
    with pytest.raises(UsageError, match="at least 1"):
        run_cycles("1.27.3", "default", 0, 1, 1)
