"""A worker's hand: does what it is given, may die of it, and ends when it is stopped or its worker is gone."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanonap.base.errors import UsageError
from nanonap.lab.fleet.hand import Hand
from tests.lab.fleet import chores
from tests.lab.made import ENVIRONMENT
from tests.patience import PATIENCE_S, wait_until


@pytest.fixture
def hand() -> Iterator[Hand]:
    made = Hand()
    yield made
    made.close()


def test_it_dies_of_an_item_and_does_the_others(hand: Hand) -> None:
    done = hand.work("a", chores.square_but_seven, [6, 7, 8])
    assert [each.result for each in done] == [36, None, 64]
    assert [each.died for each in done] == [False, True, False]


def test_an_error_is_told_as_what_it_is(hand: Hand) -> None:
    [done] = hand.work("a", chores.fail, [3])
    assert isinstance(done.error, UsageError)
    assert str(done.error) == "3 is no good"


def test_a_batch_that_is_stopped_ends_and_the_next_is_done(hand: Hand, tmp_path: Path) -> None:
    done = list[object]()
    items = [(str(tmp_path), each) for each in range(1000)]
    (working := threading.Thread(target=lambda: done.extend(hand.work("a", chores.note, items)))).start()
    wait_until((tmp_path / "begun").exists)
    hand.stop("a")
    working.join(PATIENCE_S)
    assert len(done) < 20
    assert [each.result for each in hand.work("b", chores.square, [5])] == [25]


WORKER = """
from nanonap.lab.fleet.hand import Hand
from tests.lab.fleet import chores
Hand().work("a", chores.note, [({folder!r}, each) for each in range(1000)])
"""


def test_it_goes_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    worker = subprocess.Popen([sys.executable, "-c", WORKER.format(folder=str(tmp_path))], env=ENVIRONMENT)
    begun = tmp_path / "begun"
    wait_until(lambda: begun.exists() and bool(begun.read_text()))
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    worker.kill()
    worker.wait()
    assert children
    wait_until(lambda: not any(Path(f"/proc/{each}").exists() for each in children))
