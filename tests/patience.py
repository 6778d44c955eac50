"""How long a test waits for what must happen: far longer than a busy machine takes, so that only what never comes
fails."""

import time
from collections.abc import Callable

PATIENCE_S = 240


def wait_until(condition: Callable[[], bool], left: Callable[[], object] = lambda: "it did not come") -> None:
    """What is not true in the end fails, saying what is ``left``."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, left()
        time.sleep(0.02)
