"""Work for campaigns of the tests, found by name in workers and their hands."""

import os
import signal
import time
from pathlib import Path

from nanonap.base.errors import UsageError
from nanonap.lab.fleet.jobs import BUNDLE


def square(number: int) -> int:
    time.sleep(0.02)
    return number * number


def square_but_seven(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


def fail(number: int) -> int:
    raise UsageError(f"{number} is no good")


def note(item: tuple[str, int]) -> int:
    """Take a while, and leave a line for each beginning."""
    folder, number = item
    with (Path(folder) / "begun").open("a") as stream:
        stream.write(f"{number}\n")
    time.sleep(0.4)
    return number * number


def noted(folder: Path, begun: str, what: str, go: str) -> None:
    """A job: leave a line, wait for a file, give its own name."""
    with Path(begun).open("a") as stream:
        stream.write(f"{what}\n")
    while not Path(go).exists():
        time.sleep(0.02)
    (folder / BUNDLE).write_text(what)
