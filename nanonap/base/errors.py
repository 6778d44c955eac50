"""The one base class of all errors a user can meet, and those that every package shares.

Each subclass has an exit status of its own; README lists them and they never change.
A message says what, where, and what to do, in one line.
"""

from typing import ClassVar

from nanonap.base.terminal import printable


class NanonapError(Exception):
    """An error with a one-line message for a person and an exit status for a script."""

    exit_code: ClassVar[int]

    def __init__(self, message: str = "", *, parameters: tuple[str, ...] = ()) -> None:
        """``parameters``: the names of the arguments that the message speaks of; the command adds their options."""
        super().__init__(message)
        self.parameters = parameters

    def __str__(self) -> str:
        """The message, on one line whatever the names of files, sections and functions in it hold."""
        return printable(super().__str__())


class UsageError(NanonapError):
    """Invalid option value: unknown name, value out of range, options that exclude each other."""

    exit_code = 2


class Interrupted(NanonapError):
    """The user pressed Ctrl-C; what was measured is kept, what was half-written is gone."""

    exit_code = 130


class OutputExists(NanonapError):
    """The output is there already and ``--force`` was not given."""

    exit_code = 21


class OutputNotWritable(NanonapError):
    """The output's folder is missing, read-only, or not permitted."""

    exit_code = 22


class DiskFull(NanonapError):
    """The file system has no room (ENOSPC, EDQUOT); nothing was left behind."""

    exit_code = 24


class SystemIncomplete(NanonapError):
    """The system does not give what every program may count on: /proc, /dev/null, one more process or descriptor."""

    exit_code = 29
