"""The one base class of all errors a user can meet, and those that every package shares.

Each subclass has an exit status of its own; README lists them and they never change.
A message says what, where, and what to do, in one line.
"""

from typing import ClassVar


class NanonapError(Exception):
    """An error with a one-line message for a person and an exit status for a script."""

    exit_code: ClassVar[int]


class UsageError(NanonapError):
    """An option's value cannot be meant: unknown name, value out of range, options that exclude each other."""

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
