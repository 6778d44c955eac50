"""Work on untrusted files in a child process: a crash, a leak or an endless loop ends there, as an error of ours.

LIEF, Capstone, Keystone and Unicorn are C and C++. What they do with a crafted file may kill the process that asks
them, or have it do what the file's maker wants; so the process that writes files never does. The child answers in JSON
over a pipe: nothing that it sends is executed, and what is not of the expected shape is refused. It lives as long as
the call, and not longer than its parent.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from nanonap.base.errors import NanonapError, SystemIncomplete
from nanonap.base.interrupts import HELD
from patcher.answers import WrongShape, decode, encode
from patcher.begun import take
from patcher.child import GAVE_UP, Limits, Request, cannot_start, serve
from patcher.errors import InternalFault, NotEnoughMemory, ReaderCrashed, ReaderTooSlow
from patcher.watched import Reader, receive, statm_of

T = TypeVar("T")
U = TypeVar("U")

NOTHING: contextlib.AbstractContextManager[object] = contextlib.nullcontext()

#: Whoever knows that no other thread of the process holds a lock that the child needs may set this: it is quicker.
forks_beside_threads = False


@dataclass(frozen=True)
class Job(Generic[T]):
    """What a child is to do: ``name`` ("module:function") is called with ``(path, **arguments)`` and gives a ``kind``.

    Arguments are what JSON can hold; the result is what ``answers.decode`` knows.
    """

    name: str
    kind: type[T]
    arguments: dict[str, object] = field(default_factory=dict)


def isolated(
    path: Path, job: str, kind: type[T], limits: Limits | None = None, *, keep: int | None = None, **arguments: object
) -> T:
    """What a job returns, run in a child process.

    ``keep`` is a descriptor that the child may use, too. A NanonapError of the job is raised here as its own class.
    Raises ReaderCrashed, ReaderTooSlow or ReaderTooLarge where the file makes the child crash or exceed a limit,
    NotEnoughMemory where the kernel kills it, InternalFault where its answer is no ``kind``, SystemIncomplete where
    there can be no child, or it lacks what it needs.
    """
    result: T = _all_isolated(path, (Job(job, kind, arguments),), limits, keep)[0]
    return result


def both_isolated(
    path: Path,
    first: Job[T],
    second: Job[U],
    *,
    keep: int | None = None,
    meanwhile: contextlib.AbstractContextManager[object] = NOTHING,
) -> tuple[T, U]:
    """The same of two jobs at once, a child each; where both fail, what is wrong with the first is raised.

    ``meanwhile`` is entered when the children are there: it may have threads. It is left when they have answered, with
    what is wrong where something is.
    """
    one, other = _all_isolated(path, (first, second), None, keep, meanwhile)
    return one, other


def _all_isolated(
    path: Path,
    jobs: Sequence[Job[Any]],
    limits: Limits | None,
    keep: int | None,
    meanwhile: contextlib.AbstractContextManager[object] = NOTHING,
) -> list[Any]:
    limits = limits or Limits.for_file(path)
    try:
        with contextlib.ExitStack() as stack:
            readers = []
            for job in jobs:
                request = Request(path, job.name, json.dumps(job.arguments), limits, os.getpid(), keep)
                pid, ended, reading = stack.enter_context(_child(request))
                answers = stack.enter_context(os.fdopen(reading, "rb", buffering=0))
                statm = stack.enter_context(statm_of(pid))
                readers.append(Reader(answers.fileno(), statm.fileno(), pid, ended, path, limits))
            stack.enter_context(meanwhile)
            receive(readers)
            return [_told(path, job.kind, reader, limits) for job, reader in zip(jobs, readers, strict=True)]
    except OSError as error:
        raise SystemIncomplete(cannot_start(path, error)) from error


def _told(path: Path, kind: type[T], reader: Reader, limits: Limits) -> T:
    """What a child has answered. Raises the error that it tells instead, or that its end is."""
    _check_end(path, reader.ended(), limits)
    try:
        return decode(kind, _result(bytes(reader.answer)))
    except WrongShape as error:
        raise unlikely(path, error) from error


def unlikely(path: Path, error: WrongShape) -> InternalFault:
    """The error of an answer that no child of ours gives, unless the file made it."""
    return InternalFault(
        f"{path}: the reader of the file gave an answer that cannot be ({error}); nothing was written, "
        "please report this"
    )


@contextlib.contextmanager
def _child(request: Request) -> Iterator[tuple[int, Any, int]]:
    """A running child, what waits for its end and gives its status, and the descriptor of its answer.

    It does not outlive the block.
    """
    pid = 0

    def ended() -> int:
        nonlocal pid
        _, status = os.waitpid(pid, 0)
        pid = 0
        return status

    try:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)  # the child's too, until it ignores them
        try:
            pid, reading = take(request) or _made(request)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield pid, ended, reading
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            ended()


def _made(request: Request) -> tuple[int, int]:
    """A child, and the descriptor of its answer."""
    reading, writing = os.pipe()
    try:
        return (_fork if _alone() else _spawn)(request, writing), reading
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)


def _alone() -> bool:
    """True in a process of one thread, which may fork: others may hold locks that nobody would release in the child."""
    return forks_beside_threads or len(list(Path("/proc/self/task").iterdir())) == 1


def _fork(request: Request, writing: int) -> int:
    pid = os.fork()
    if not pid:
        serve(request, writing)
    return pid


def _spawn(request: Request, writing: int) -> int:
    """The same in a new interpreter, which imports what it needs anew."""
    paths = [each or str(Path.cwd()) for each in sys.path]
    words = [sys.executable, "-P", "-c", "from patcher.child import main; main()", json.dumps(encode(request))]
    with Path(os.devnull).open("wb") as nowhere:
        given = [(writing, 1), (nowhere.fileno(), 2)] + ([] if request.keep is None else [(request.keep, request.keep)])
        return os.posix_spawn(
            sys.executable,
            words,
            os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            file_actions=[(os.POSIX_SPAWN_DUP2, here, there) for here, there in given],
        )


def _check_end(path: Path, status: int, limits: Limits) -> None:
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGXCPU:
        raise ReaderTooSlow(
            f"{path}: reading the file takes more than {limits.cpu_seconds} s of CPU time; "
            "it is malformed, nothing was written"
        )
    if code == -signal.SIGKILL:
        raise NotEnoughMemory(
            f"{path}: the reader of the file was killed (SIGKILL), as the kernel does when memory runs out; "
            "nothing was written; free some memory, then try again"
        )
    if code == GAVE_UP:
        raise InternalFault(
            f"{path}: nanonap failed while it read the file; nothing was written; this is a bug: please report it"
        )
    if code:
        known = {each.value: each.name for each in signal.Signals}  # most real-time signals have no name there
        end = known.get(-code, f"signal {-code}") if code < 0 else f"exit status {code}"
        raise ReaderCrashed(
            f"{path}: the reader of the file crashed ({end}); the file is malformed, nothing was written"
        )


def _result(answer: bytes) -> object:
    """The result in an answer. Raises the error that it tells instead, WrongShape where it is no answer."""
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise WrongShape("no JSON") from error
    if not isinstance(document, dict):
        raise WrongShape("no JSON object")
    if "error" not in document:
        return document.get("result")
    kinds = {each.__name__: each for each in _subclasses(NanonapError)}
    kind, message = kinds.get(str(document["error"])), document.get("message")
    if kind is None or not isinstance(message, str):
        raise WrongShape("an error of no known kind")
    parameters = decode(tuple[str, ...], document.get("parameters"), "its parameters")
    try:
        told = kind(message, parameters=parameters)
    except TypeError as error:  # one of the lab's, which no reader raises
        raise WrongShape("an error of no reader's") from error
    raise told


def _subclasses(kind: type[NanonapError]) -> Iterator[type[NanonapError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)
