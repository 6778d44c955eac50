"""Campaigns over a fleet of two workers on this machine come to what they come to here."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from nanonap.lab.fleet.client import Fleet
from nanonap.lab.fleet.settings import settle
from nanonap.trials.fuzz import there
from nanonap.trials.fuzz.campaign import BLOCK, Campaign, run_fuzz
from nanonap.trials.fuzz.tally import Tally
from nanonap.trials.matrix.cells import Cell
from nanonap.trials.matrix.page import as_table
from nanonap.trials.matrix.run import run_matrix
from tests import warm
from tests.patience import wait_until

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    settle()
    with ExitStack() as stack:

        def started(*words: str | Path) -> str:
            process = warm.start([warm.INVOKE, "fleet", *words])
            stack.callback(process.__exit__, None, None, None)
            stack.callback(process.kill)
            wait_until(lambda: process.poll() is not None or bool(process.said()[0]), lambda: process.said()[1])
            return process.said()[0].strip()

        address = started("scheduler", "--port", "0")
        for name in "ab":
            room = tmp_path_factory.mktemp(name)
            started("worker", "--scheduler", address, "--name", name, "--port", "0", "--no-bench", "--room", room)
        yield Fleet(address)


def counted(tally: Tally) -> Tally:
    """Without what it took."""
    return replace(tally, read_seconds=0, read_cpu_s=0, patched_seconds=0, slowest_cpu_s=0, largest_peak=0)


def test_fuzz_counts_the_same_and_goes_on_where_it_ended(fleet: Fleet, tmp_path: Path) -> None:
    campaign = Campaign(11)
    here = run_fuzz(campaign, 4 * BLOCK, folder=tmp_path / "here")
    elsewhere = partial(there.judged_there, fleet)
    first = run_fuzz(campaign, 2 * BLOCK, folder=tmp_path / "there", elsewhere=elsewhere)
    assert first.spans == [(0, 2 * BLOCK)]
    found = run_fuzz(campaign, 4 * BLOCK, folder=tmp_path / "there", elsewhere=elsewhere)
    assert counted(found) == counted(here)


def test_a_mutant_that_kills_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(there, "FINDINGS", tmp_path)
    campaign = Campaign(11)
    tally = there.kept_here(campaign, there.died(campaign, 7))
    [finding] = tally.findings
    assert (finding.number, finding.finding) == (7, "each of 3 workers died of it")
    assert (tmp_path / "11-7" / "mutant").stat().st_size > 0


def test_the_matrix_is_the_page_that_one_machine_gives(fleet: Fleet, tmp_path: Path) -> None:
    cells = [Cell("1.27.3", "default")]
    there_, here = (run_matrix(cells, again=True, folder=tmp_path, fleet=each) for each in (fleet, None))
    assert as_table(there_) == as_table(here)
    assert run_matrix(cells, folder=tmp_path, fleet=fleet)[0].utc == there_[0].utc  # it still holds there
