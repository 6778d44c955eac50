"""The opt-ins of netpoll: sleepers, the collector, input and output get along, and all is undone.

In every release the one that the matrix has not (tests/trials/test_matrix.py), all in the oldest and newest.
"""

from pathlib import Path

import pytest

import patcher
from nanonap.base.errors import NanonapError
from nanonap.toolchain.releases import NEWEST, installed_releases, oldest_release
from nanonap.trials.unwinding.survivors import Survivor
from tests.endtoend.arms import build_survive
from tests.soon import soon

DENSE_NS = 32_768
WAITS = {
    "spin": patcher.Wait(spin_ns=patcher.RECOMMENDED_SPIN_NS),
    "quantum": patcher.Wait(quantum_ns=patcher.RECOMMENDED_QUANTUM_NS),
    "dense": patcher.Wait(quantum_ns=patcher.RECOMMENDED_QUANTUM_NS, dense_ns=DENSE_NS),
}


@pytest.mark.parametrize("go", soon(installed_releases(say=False), -1, long=(0, 1)))
def test_programs_live_with_every_wait_and_can_be_reverted(go: str, tmp_path: Path) -> None:
    stock = build_survive(go)
    names = WAITS if go in (oldest_release(), NEWEST) else ("quantum",)
    for name in names:
        wait = WAITS[name]
        done = patcher.patch(stock, tmp_path / name, slack_ns=1, wait=wait)
        survivor = Survivor(done.out, done.manifest)
        figures = survivor.figures("-mode", "gc", "-for", "400ms", "-sleepers", "50", GOGC="1", GODEBUG="clobberfree=1")
        assert figures["gcs"] > 0
        figures = survivor.figures("-mode", "io", "-for", "400ms", "-sleepers", "50")
        assert figures["messages"] > 0
        assert figures["deadlines"] > 0
        with pytest.raises(NanonapError, match="already patched"):
            patcher.patch(done.out, tmp_path / "again")
        assert patcher.revert(done.out).out.read_bytes() == stock.read_bytes()
