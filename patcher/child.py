"""The child process's side of ``isolation``: it gives up what it does not need, does its job, answers, and ends.

It may write no file and gain no privileges, has no network where the kernel grants it one of its own, and nothing
open that its host process has. Where the kernel has Landlock, it may make, remove or run no file either.
"""

import contextlib
import ctypes
import faulthandler
import fcntl
import gc
import importlib
import json
import mmap
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from nanonap.base.errors import NanonapError, SystemIncomplete
from nanonap.base.interrupts import ENDING, HELD
from patcher.answers import decode, encode
from patcher.errors import InternalFault, NotEnoughMemory, ReaderTooLarge

_MIB = 1 << 20
_CPU_SECONDS = 20
_CPU_MIB_PER_SECOND = 8  # one more second for each so many MiB of file
_MEMORY = 300 * _MIB  # beside four times the file's size
_ADDRESS_SPACE = 16 << 30  # beside four times the file's size: Unicorn reserves 1 GiB for each of its machines
_PROOF_ADDRESS_SPACE = 4 << 30  # three machines live at once in the largest proof (netpoll with slack)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000  # linux/sched.h
_MAP_NORESERVE = 0x4000  # asm-generic/mman-common.h
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446  # the same on every architecture
_LANDLOCK_CREATE_RULESET_VERSION = 1  # linux/landlock.h, as all of the next
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many rights over files a version knows; 16 from the fifth on
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1 << 0, 1 << 1

#: The exit status of a child that found no answer; no library's.
GAVE_UP = 113


@dataclass(frozen=True)
class Limits:
    """What the child may use: seconds of CPU time, bytes of resident memory, of address space, of a file it writes.

    A job that writes files (``file_size`` not 0) keeps its user namespace, since what it writes has an owner.
    """

    cpu_seconds: int
    memory: int
    address_space: int
    file_size: int = 0

    @classmethod
    def for_file(cls, path: Path) -> "Limits":
        """The limits for work on one file; for one that cannot be looked at, those of an empty one."""
        try:
            size = path.stat().st_size
        except OSError:
            size = 0
        return cls(
            cpu_seconds=_CPU_SECONDS + size // (_CPU_MIB_PER_SECOND * _MIB),
            memory=4 * size + _MEMORY,
            address_space=4 * size + _ADDRESS_SPACE,
        )


@dataclass(frozen=True)
class Request:
    """A job for the child: "module:function" that is called with ``path`` and ``arguments`` (what JSON can hold).

    ``keep`` is a descriptor of the host's that stays open, for a path that names it.
    """

    path: Path
    job: str
    arguments: str
    limits: Limits
    parent: int
    keep: int | None


def main() -> NoReturn:
    """A new interpreter's own start: the request is its argument, the answer goes to stdout."""
    serve(decode(Request, json.loads(sys.argv[1])), 1)


def serve(request: Request, writing: int) -> NoReturn:
    """The child, from its start to its end, whatever happens; the answer goes to the descriptor ``writing``."""
    _serve(lambda _: request, request.parent, request.keep, request.limits.file_size, writing)


def serve_later(
    parent: int, prepare: Callable[[], object], expected: Limits | None, asking: int, writing: int
) -> NoReturn:
    """The same of one that prepares itself, within limits where it expects them, before it reads its request from the
    descriptor ``asking``. One that cannot confine itself prepares nothing.
    """

    def asked(had: int | None) -> Request:
        with contextlib.suppress(Exception):  # the job meets it again, and tells of it
            if had is not None:
                if expected is not None:
                    _limit(expected, had)
                prepare()
        with os.fdopen(asking, "rb") as stream:
            return decode(Request, json.load(stream))

    _serve(asked, parent, asking, 0, writing)


def _serve(
    asked: Callable[[int | None], Request], parent: int, keep: int | None, file_size: int, writing: int
) -> NoReturn:
    status, refused = GAVE_UP, None
    gc.freeze()  # what the host process has is no garbage of this one's, and need not be looked through for some
    gc.enable()  # a command has it off while it loads
    try:
        writing = fcntl.fcntl(writing, fcntl.F_DUPFD_CLOEXEC, 3)
        had = 0
        try:
            had = _confine(parent, {writing, keep}, file_size)
        except OSError as error:
            refused = error
        request = asked(had if refused is None else None)
        try:
            if refused is not None:
                raise refused
            _limit(request.limits, had)
        except OSError as error:
            answer = _refusal(SystemIncomplete, cannot_start(request.path, error))
        else:
            answer = _perform(request)
        with os.fdopen(writing, "wb") as stream:
            stream.write(json.dumps(answer).encode())
        status = 0
    finally:
        os._exit(status)  # not even a KeyboardInterrupt may reach what the parent was about to do


def cannot_start(path: Path, error: OSError) -> str:
    """The message where there can be no child."""
    return f"{path}: the process that reads the file cannot be started ({error}); nothing was written"


def too_large(path: Path) -> str:
    """The message where the work takes more memory than any honest file needs."""
    return (
        f"{path}: reading the file takes more memory than four times its size and {_MEMORY // _MIB} MiB; "
        "it is malformed, nothing was written"
    )


def check_address_space() -> None:
    """Raises NotEnoughMemory where the emulator could not have the address space that it reserves."""
    try:
        mmap.mmap(-1, _PROOF_ADDRESS_SPACE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE).close()
    except (OSError, MemoryError) as error:
        raise NotEnoughMemory(
            f"the proof's emulator needs {_PROOF_ADDRESS_SPACE >> 30} GiB of address space, which the system refuses; "
            "raise the limit (ulimit -v)"
        ) from error


def _confine(parent: int, keep: set[int | None], file_size: int) -> int:
    """Give up all that does not hang on the file's size; ``keep`` are the descriptors that stay. The bytes of address
    space that the child has by then.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(GAVE_UP)
    for each in ENDING:  # Ctrl-C and a closed terminal reach the whole group; the parent ends the child
        signal.signal(each, signal.SIG_IGN)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    faulthandler.disable()
    nowhere = os.open(os.devnull, os.O_RDWR)
    # What a library prints as it dies is not for the user; what the host process has open is not for this one.
    for descriptor in {0, 1, 2, *map(int, os.listdir("/proc/self/fd"))} - {nowhere, *keep}:  # noqa: PTH208 - numbers
        os.dup2(nowhere, descriptor)  # not closed: a file object of the host's must not close what takes its number
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    _leave_the_network(libc, writes=file_size > 0)
    if not file_size:
        _leave_all_but_reading(libc)
    sys.dont_write_bytecode = True
    _lower(resource.RLIMIT_CORE, 0)
    with contextlib.suppress(ValueError):  # a lower limit stands already, and may not be raised
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    return _address_space()


def _limit(limits: Limits, had: int) -> None:
    """``had``: what the host process has mapped counts for its child too."""
    _lower(resource.RLIMIT_CPU, limits.cpu_seconds)
    _lower(resource.RLIMIT_AS, limits.address_space + had)


def _leave_the_network(libc: ctypes.CDLL, *, writes: bool) -> None:
    """Into a network namespace where nothing is (unshare(2)); where the kernel refuses, the child keeps the host's.

    It takes CAP_SYS_ADMIN, which any user has in a user namespace of its own. Root keeps its user namespace: it may
    read the file by a capability that counts in this one alone.
    """
    if libc.unshare(_CLONE_NEWNET) and os.geteuid() and not writes:
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def _leave_all_but_reading(libc: ctypes.CDLL) -> None:
    """No file may be written, made, removed or run, no TCP port be bound or connected, no process outside be sent a
    signal (landlock(7)), as far as this kernel's version of Landlock knows these rights; where it has none, nothing.
    """
    version = libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_CREATE_RULESET_VERSION)
    if version < 1:  # not built in, not switched on, or a sandbox refuses the call
        return
    files = (1 << _FILE_RIGHTS.get(version, 16)) - 1 & ~(_READ_FILE | _READ_DIR)
    ports, scopes = _BIND_TCP | _CONNECT_TCP, _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL
    known = 1 + (version >= 4) + (version >= 6)  # what came with the fourth version and with the sixth
    handled = struct.pack(f"={known}Q", *(files, ports, scopes)[:known])
    rules = libc.syscall(_LANDLOCK_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    if rules < 0 or libc.syscall(_LANDLOCK_RESTRICT_SELF, rules, 0):
        raise OSError(ctypes.get_errno(), "Landlock")
    os.close(rules)


def _address_space() -> int:
    """Bytes of this process's address space (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()


def _lower(which: int, value: int) -> None:
    soft, hard = resource.getrlimit(which)
    known = [each for each in (soft, hard, value) if each != resource.RLIM_INFINITY]
    resource.setrlimit(which, (min(known), hard))


def _perform(request: Request) -> dict[str, Any]:
    module, _, name = request.job.partition(":")
    path = request.path
    try:
        done = getattr(importlib.import_module(module), name)(path, **json.loads(request.arguments))
        return {"result": encode(done)}
    except NanonapError as error:
        return _refusal(type(error), str(error), error.parameters)
    except MemoryError:
        return _refusal(ReaderTooLarge, too_large(path))
    except Exception as error:
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        place = f"{Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}" if at else "?"
        said = " ".join(str(error).split())
        return _refusal(
            InternalFault,
            f"{path}: {type(error).__name__} in {place} ({said}); nothing was written, please report this",
        )


def _refusal(kind: type[NanonapError], message: str, parameters: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"error": kind.__name__, "message": message, "parameters": parameters}
