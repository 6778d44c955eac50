"""The terminal: progress and messages go to stderr, so that stdout is free for answers."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@cache
def messages() -> "Console":
    """The console for progress and messages (stderr). rich is imported on first use: starting must be quick."""
    from rich.console import Console  # noqa: PLC0415 - a fifth of the patcher's start-up time

    return Console(stderr=True, soft_wrap=True)


@cache
def answers() -> "Console":
    """The console for tables (stdout)."""
    from rich.console import Console  # noqa: PLC0415 - as above

    return Console()
