"""A reader that a file took over, and that then waits for ever: the command ends it, and says so in a line."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from patcher import watched
from patcher.errors import ReaderTooSlow
from patcher.isolation import isolated
from tests.patcher.test_false_answers import pipes

_LONG_S = 1000


def waits(_: Path) -> None:
    time.sleep(_LONG_S)


def waits_behind_its_answer(_: Path) -> None:
    for each in pipes():
        os.close(each)
    time.sleep(_LONG_S)


@pytest.mark.parametrize("does_nothing", [waits, waits_behind_its_answer])
def test_a_reader_that_does_nothing_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does_nothing: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(watched, "_MOST_IDLE_MS", 1000)
    with pytest.raises(ReaderTooSlow, match="does nothing any more; nothing was written"):
        isolated(tmp_path, f"{__name__}:{does_nothing.__name__}", str)


def leaves_its_pipe_to_another(_: Path) -> str:
    """Which the reader's end does not end."""
    other = os.fork()
    if not other:
        time.sleep(_LONG_S)
    return str(other)


def test_what_a_reader_started_does_not_keep_its_answer(tmp_path: Path) -> None:
    other = int(isolated(tmp_path, f"{__name__}:{leaves_its_pipe_to_another.__name__}", str))
    os.kill(other, signal.SIGKILL)
