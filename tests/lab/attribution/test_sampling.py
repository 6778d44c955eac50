"""The two moments of a reading: what grew since the reading before lies between them, however slow the reader is."""

import itertools
import os
import time
from pathlib import Path

import pytest

from nanonap.lab.attribution.sampling import Sampling


def test_what_grows_while_the_reader_is_held_up_lies_between_the_moments_of_the_reading_that_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = tmp_path / "cpu.stat"
    read, grown_ns = os.pread, list[int]()

    def grow() -> None:
        stat.write_text(f"nr_periods 1\nnr_throttled 1\nthrottled_usec {len(grown_ns)}\n", encoding="ascii")
        grown_ns.append(time.monotonic_ns())

    def held_up(descriptor: int, length: int, offset: int) -> bytes:
        seen = read(descriptor, length, offset)
        grow()
        return seen

    grow()
    monkeypatch.setattr(os, "pread", held_up)
    sampling = Sampling("nothing", stat, tasks=False)
    sampling.start()
    lines = [[int(word) for word in line.split()[1:]] for line in sampling.stop().splitlines()]
    assert len(lines) >= 2
    for (_, _, _, _, old_ns), (before_ns, now_ns, _, _, new_ns) in itertools.pairwise(lines):
        assert new_ns == old_ns + 1_000
        assert before_ns < grown_ns[new_ns // 1_000] < now_ns
