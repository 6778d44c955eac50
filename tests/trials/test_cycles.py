"""Cycles in short: a process lives through being injected, ejected and let down by a killed agent."""

import subprocess
import sys
from pathlib import Path

import pytest

from nanonap.base.errors import UsageError
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.guest.image import check_host
from nanonap.lab.guest.kinds import PYTHON_JOBS
from nanonap.toolchain.releases import NEWEST
from nanonap.trials.cycles.elsewhere import sent
from nanonap.trials.cycles.programs import CROSSING
from nanonap.trials.cycles.run import Cell, check_failed, problem, rows, run_cycles
from nanonap.trials.errors import CyclesFailed
from tests.soon import soon


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


#: Mode, changes there and back, kills.
ON_ARM64 = [("default", 20, 8), ("default", 500, 60), ("crossing", 100, 60), ("pie", 100, 20)]


@pytest.fixture(scope="module")
def _an_arm64_guest() -> None:
    try:
        check_host("guest-arm64", PYTHON_JOBS)
    except QuotaUnavailable as missing:
        pytest.skip(f"needs a guest: {missing}")


@pytest.mark.usefixtures("_an_arm64_guest")
@pytest.mark.parametrize("case", soon(ON_ARM64, long=(0,)), ids=str)
def test_on_another_processor_too(case: tuple[str, int, int]) -> None:
    mode, count, kills = case
    (cell,) = run_cycles(NEWEST, mode, count, kills, 1, "arm64")
    assert problem(cell) is None
    assert cell["mode"] == f"arm64-{mode}"
    assert sum(each["changes"] for each in cell["parts"]) == 2 * count
    assert sum(each["kills"]["made"] for each in cell["parts"]) == kills
    assert sum(each["moved"] for each in cell["parts"]) > 0
    assert sum(each["kills"]["after"].get("staged", 0) for each in cell["parts"]) > 0 or mode != CROSSING
    assert all(each["process"]["sleeps"] > 0 and each["process"]["early"] == 0 for each in cell["parts"])


def test_what_is_sent_there_needs_nothing_beside_it(tmp_path: Path) -> None:
    """No package but Python's own library, as where it goes."""
    (tmp_path / "sent.zip").write_bytes(sent())
    source = (
        "import sys; sys.path.insert(0, sys.argv[1]); import nanonap.trials.cycles.inside as it; print(it.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", source, tmp_path / "sent.zip"], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{tmp_path}/sent.zip/nanonap/trials/cycles/inside.pyc\n", done.stderr


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
