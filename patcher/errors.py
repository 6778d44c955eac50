"""What can be wrong with a binary or a patch. Exit statuses 3 … 29; README lists them all."""

from nanonap.base.errors import NanonapError


class InputNotFound(NanonapError):
    """The input path does not exist, or may not be read."""

    exit_code = 3


class NotARegularFile(NanonapError):
    """The input is a directory, a device, a socket."""

    exit_code = 4


class NotElf(NanonapError):
    """The input does not begin as an ELF file does."""

    exit_code = 5


class WrongClass(NanonapError):
    """A 32-bit ELF file."""

    exit_code = 6


class WrongArchitecture(NanonapError):
    """An ELF file for another processor, byte order or operating system."""

    exit_code = 7


class NotGo(NanonapError):
    """An ELF file without Go's build information and function table."""

    exit_code = 8


class AlreadyPatched(NanonapError):
    """The binary carries a patch of ours."""

    exit_code = 9


class PackedBinary(NanonapError):
    """The executable is compressed (UPX); its code is not in the file as it runs."""

    exit_code = 10


class FakeTime(NanonapError):
    """The runtime was built with the ``faketime`` tag: its clock is not the kernel's."""

    exit_code = 11


class AlreadyPrecise(NanonapError):
    """The runtime waits with epoll_pwait2 by itself: there is nothing to mend."""

    exit_code = 12


class ShapeMismatch(NanonapError):
    """Code or a table is not as the strategy expects; the message names what was expected and what was found."""

    exit_code = 13


class MalformedBinary(NanonapError):
    """The file contradicts itself or ends too early."""

    exit_code = 14


class ReaderCrashed(MalformedBinary):
    """The file made the process that reads it crash."""


class ReaderTooSlow(MalformedBinary):
    """The file takes more CPU time to read than any program of its size."""


class ReaderTooLarge(MalformedBinary):
    """The file takes more memory to read than any program of its size."""


class ProofFailed(NanonapError):
    """A stub did not do in the emulator what it must; nothing was written."""

    exit_code = 15


class UsesSynctest(NanonapError):
    """The binary links testing/synctest, whose bubbles have a clock of their own that ``sleep`` would bypass."""

    exit_code = 16


class ThreadCost(NanonapError):
    """Strategy ``sleep`` holds one thread per sleeper and was not told that this is accepted."""

    exit_code = 17


class NoRoom(NanonapError):
    """No free bytes for a stub that must lie outside the functions."""

    exit_code = 18


class UnsupportedGo(NanonapError):
    """A Go release, compiler or build mode that no strategy knows."""

    exit_code = 19


class SameFile(NanonapError):
    """Output and input are the same file."""

    exit_code = 23


class ManifestMismatch(NanonapError):
    """The file is not what its manifest says."""

    exit_code = 25


class ManifestMissing(NanonapError):
    """There is no manifest beside the file, or it cannot be read."""

    exit_code = 26


class NotPatched(ManifestMissing):
    """A file that carries no patch at all was to be verified or reverted."""


class InternalFault(NanonapError):
    """The analysis failed in a way that no file should bring about: a fault of the patcher, to be reported."""

    exit_code = 27


class NotEnoughMemory(NanonapError):
    """The machine or a limit does not give the memory or address space that the work needs."""

    exit_code = 28
