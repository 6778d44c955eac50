"""Work on untrusted files in a child process: a crash, a leak or an endless loop ends there, as an error of ours.

LIEF, Capstone, Keystone and Unicorn are C and C++. What they do with a crafted file may kill the process that asks
them, so the process that writes files never does. The child answers in JSON over a pipe: nothing that it sends is
executed. It lives as long as the call, and not longer than its parent.
"""

import contextlib
import ctypes
import faulthandler
import importlib
import json
import mmap
import os
import resource
import select
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from nanonap.errors import NanonapError
from patcher.errors import InternalFault, MalformedBinary, NotEnoughMemory

_MIB = 1 << 20
_CPU_SECONDS = 20
_CPU_MIB_A_SECOND = 8  # one more second for each so many MiB of file
_MEMORY = 300 * _MIB  # beside four times the file's size
_OWN_MEMORY = 100 * _MIB  # what the libraries take before any file is read; a larger host process is no leak of ours
_ADDRESS_SPACE = 16 << 30  # beside four times the file's size: Unicorn reserves 1 GiB for each of its machines
_PROOF_ADDRESS_SPACE = 4 << 30  # three machines live at once in the largest proof (netpoll with slack)
_LONGEST_ANSWER = 16 * _MIB  # a manifest has some kilobytes
_WATCH_MS = 10
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_MAP_NORESERVE = 0x4000  # asm-generic/mman-common.h
_GAVE_UP = 113  # of a child that could not come to answer; no library's

_HELD_BACK = (signal.SIGINT, signal.SIGTERM)

#: Whoever knows that no other thread of the process holds a lock that the child needs may set this: it is quicker.
forks_beside_threads = False


@dataclass(frozen=True)
class Limits:
    """What the child may use: seconds of CPU time, bytes of resident memory and of address space."""

    cpu_seconds: int
    memory: int
    address_space: int

    @classmethod
    def for_file(cls, path: Path) -> "Limits":
        """The limits for work on one file; for one that cannot be looked at, those of an empty one."""
        try:
            size = path.stat().st_size
        except OSError:
            size = 0
        return cls(
            cpu_seconds=_CPU_SECONDS + size // (_CPU_MIB_A_SECOND * _MIB),
            memory=4 * size + _MEMORY,
            address_space=4 * size + _ADDRESS_SPACE,
        )


def isolated(path: Path, job: str, limits: Limits | None = None, **arguments: object) -> Any:  # noqa: ANN401 - JSON
    """What ``job`` ("module:function") returns for ``(path, **arguments)``, run in a child process.

    Arguments and result are what JSON can hold. A NanonapError of the job is raised here as its own class. Raises
    MalformedBinary where the file makes the child crash or exceed a limit, NotEnoughMemory where the kernel kills it.
    """
    limits = limits or Limits.for_file(path)
    request = json.dumps({"path": str(path), "job": job, "arguments": arguments, "cpu_seconds": limits.cpu_seconds})
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as answers:
        with _child(request, limits, writing) as (pid, ended):
            answer = _receive(answers.fileno(), pid, path, limits)
            status = ended()
        return _judge(path, answer, status, limits)


def check_address_space() -> None:
    """Raises NotEnoughMemory where the emulator could not have the address space that it reserves."""
    try:
        mmap.mmap(-1, _PROOF_ADDRESS_SPACE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE).close()
    except (OSError, MemoryError) as error:
        raise NotEnoughMemory(
            f"the proof's emulator needs {_PROOF_ADDRESS_SPACE >> 30} GiB of address space, which the system refuses; "
            "raise the limit (ulimit -v)"
        ) from error


@contextlib.contextmanager
def _child(request: str, limits: Limits, writing: int) -> Iterator[tuple[int, Any]]:
    """A running child, and what waits for its end and gives its status. It does not outlive the block."""
    pid = 0

    def ended() -> int:
        nonlocal pid
        _, status = os.waitpid(pid, 0)
        pid = 0
        return status

    try:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
        try:
            pid = _fork(request, limits, writing) if _alone() else _spawn(request, limits, writing, before)
        finally:
            os.close(writing)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield pid, ended
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            ended()


def _alone() -> bool:
    """True in a process of one thread, which may fork: others may hold locks that nobody would release in the child."""
    return forks_beside_threads or len(list(Path("/proc/self/task").iterdir())) == 1


def _fork(request: str, limits: Limits, writing: int) -> int:
    parent = os.getpid()
    pid = os.fork()
    if not pid:
        _serve(request, limits, writing, parent)
    return pid


def _spawn(request: str, limits: Limits, writing: int, mask: set[int | signal.Signals]) -> int:
    """The same in a new interpreter, which imports what it needs anew."""
    paths = [each or str(Path.cwd()) for each in sys.path]
    words = [sys.executable, "-P", "-c", "from patcher.isolation import main; main()", request, str(os.getpid())]
    words += [str(limits.memory), str(limits.address_space)]
    return os.posix_spawn(
        sys.executable,
        words,
        os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, writing, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
        setsigmask=[*map(signal.Signals, mask)],
    )


def main() -> NoReturn:
    """The new interpreter's own start: the request is its first argument, the answer goes to stdout."""
    request, parent, memory, address_space = sys.argv[1:]
    limits = Limits(json.loads(request)["cpu_seconds"], int(memory), int(address_space))
    _serve(request, limits, os.dup(1), int(parent))


def _serve(request: str, limits: Limits, writing: int, parent: int) -> NoReturn:
    """The child: from its start to its end, whatever happens."""
    status = _GAVE_UP
    try:
        _restrict(limits, parent)
        answer = json.dumps(_perform(**json.loads(request))).encode()
        with os.fdopen(writing, "wb") as stream:
            stream.write(answer)
        status = 0
    finally:
        os._exit(status)  # not even a KeyboardInterrupt may reach what the parent was about to do


def _restrict(limits: Limits, parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(_GAVE_UP)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends the child
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
    faulthandler.disable()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # what a library prints as it dies is not for the user
        os.dup2(nowhere, descriptor)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_CPU, limits.cpu_seconds)
    # What the host process has mapped counts for its child too.
    _lower(resource.RLIMIT_AS, limits.address_space + _address_space())


def _address_space() -> int:
    """Bytes of this process's address space (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()


def _lower(which: int, value: int) -> None:
    soft, hard = resource.getrlimit(which)
    known = [each for each in (soft, hard, value) if each != resource.RLIM_INFINITY]
    resource.setrlimit(which, (min(known), hard))


def _perform(path: str, job: str, arguments: dict[str, Any], **_rest: object) -> dict[str, Any]:
    module, _, name = job.partition(":")
    try:
        return {"result": getattr(importlib.import_module(module), name)(Path(path), **arguments)}
    except NanonapError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        return {"error": MalformedBinary.__name__, "message": _too_large(Path(path))}
    except Exception as error:
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        place = f"{Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}" if at else "?"
        said = " ".join(str(error).split())
        return {
            "error": InternalFault.__name__,
            "message": f"{path}: {type(error).__name__} in {place} ({said}); nothing was written, please report this",
        }


def _receive(reading: int, pid: int, path: Path, limits: Limits) -> bytes:
    """All that the child sends until it ends; its memory is watched meanwhile (RLIMIT_RSS does nothing on Linux)."""
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    answer = bytearray()
    with open(f"/proc/{os.getpid()}/statm", "rb") as own, open(f"/proc/{pid}/statm", "rb") as statm:  # noqa: PTH123
        allowed = limits.memory + max(0, _resident(own.fileno()) - _OWN_MEMORY)
        while True:
            if poll.poll(_WATCH_MS):
                piece = os.read(reading, _MIB)
                if not piece:
                    return bytes(answer)
                answer += piece
            if _resident(statm.fileno()) > allowed or len(answer) > _LONGEST_ANSWER:
                raise MalformedBinary(_too_large(path))


def _resident(statm: int) -> int:
    """Bytes of resident memory (proc(5), statm); 0 of a process that has ended."""
    try:
        return int(os.pread(statm, 256, 0).split()[1]) * resource.getpagesize()
    except ProcessLookupError:
        return 0


def _judge(path: Path, answer: bytes, status: int, limits: Limits) -> Any:  # noqa: ANN401 - JSON
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGXCPU:
        raise MalformedBinary(
            f"{path}: reading the file takes more than {limits.cpu_seconds} s of CPU time; "
            "it is malformed, nothing was written"
        )
    if code == -signal.SIGKILL:
        raise NotEnoughMemory(
            f"{path}: the reader of the file was killed (SIGKILL), as the kernel does where memory runs out; "
            "nothing was written"
        )
    if code == _GAVE_UP:
        raise InternalFault(
            f"{path}: the reader of the file could not come to an answer; nothing was written, please report this"
        )
    if code:
        end = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        raise MalformedBinary(
            f"{path}: the reader of the file crashed ({end}); the file is malformed, nothing was written"
        )
    document = json.loads(answer)
    if "error" in document:
        kinds = {each.__name__: each for each in _subclasses(NanonapError)}
        raise kinds[document["error"]](document["message"])
    return document["result"]


def _subclasses(kind: type[NanonapError]) -> Iterator[type[NanonapError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _too_large(path: Path) -> str:
    return (
        f"{path}: reading the file takes more memory than four times its size and {_MEMORY // _MIB} MiB; "
        "it is malformed, nothing was written"
    )
