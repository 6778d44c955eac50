"""The terminal: progress and messages go to stderr, so that stdout is free for answers; commands can be pasted."""

import os
import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nanonap import INSTALLED

if TYPE_CHECKING:
    from rich.console import Console

COMMAND = "nanonap" if INSTALLED else "invoke"
"""What runs a task here, however it was typed: in what is recorded, and where nothing was typed."""
TYPED = "NANONAP_COMMAND"
"""The environment's variable for this command as the user typed it; ``lab`` sets it."""


def printable(text: str) -> str:
    """The text with every character that a terminal would obey, or not show, as an escape such as ``\\x1b``."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def say(line: str) -> None:
    """One line of an answer on stdout: what comes from a file may hold anything."""
    print(printable(line))


@cache
def messages() -> "Console":
    """The console for progress and messages (stderr). rich is imported on first use: starting must be quick."""
    from rich.console import Console  # noqa: PLC0415 - most commands print without it, and it takes a tenth of their start

    return Console(stderr=True, soft_wrap=True)


@cache
def answers() -> "Console":
    """The console for tables (stdout)."""
    from rich.console import Console  # noqa: PLC0415 - most commands print without it, and it takes a tenth of their start

    return Console()


def command(*words: str | Path) -> str:
    """A command to paste into a shell, as the user types this one: ``./lab revert 'a file'``, ``invoke bench``."""
    typed = os.environ.get(TYPED, COMMAND)
    return " ".join(
        _quoted(f"./{each}" if isinstance(each, Path) and str(each).startswith("-") else str(each))
        for each in (typed, *words)
    )


def _quoted(word: str) -> str:
    """A word for a shell: one that cannot be shown as it is has its bytes in escapes (POSIX.1-2024, 2.2.4)."""
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(_escaped(each) for each in os.fsencode(word))}'"


def _escaped(byte: int) -> str:
    return chr(byte) if 0x20 <= byte < 0x7F and byte not in b"'\\" else f"\\{byte:03o}"
