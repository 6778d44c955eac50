"""Other people's servers changed while they work: the same results, and one state behind each change."""

import shutil
from pathlib import Path

import pytest

from nanonap.trials.corpus.arms import chosen_arms
from nanonap.trials.corpus.obtain import Obtainer
from nanonap.trials.corpus.processes import Processes
from nanonap.trials.corpus.programs import PROGRAMS
from nanonap.trials.corpus.row import Result, Row
from nanonap.trials.corpus.working import ProgramTrial
from tests.soon import soon


def tried(name: str, folder: Path) -> list[Row]:
    (program,) = (each for each in PROGRAMS if each.name == name)
    processes = Processes()
    return ProgramTrial(program, chosen_arms("live"), Obtainer(processes), processes, folder)()


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="Debian's packages need apt-get")
@pytest.mark.parametrize("name", soon(["nats-server", "caddy", "etcd"], long=(0,)))
def test_a_server_does_the_same_work_while_it_is_changed(name: str, tmp_path: Path) -> None:
    (row,) = tried(name, tmp_path)
    assert row.result == Result.SAME, row.detail
    assert row.arm == "live"
    assert "injected, ejected and injected again in " in row.detail


def test_what_runs_and_ends_has_no_such_row(tmp_path: Path) -> None:
    assert tried("age", tmp_path) == []
