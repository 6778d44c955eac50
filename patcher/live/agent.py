"""The process that holds the target: it stops it, moves its threads, writes, and lets go. It may die at any moment.

Run as an interpreter of its own, with one thread. Each try is a fork of it, so that the end of a try lets go of all,
even of a thread that does not stop. What stays true whenever a try is killed, by whomever:
- Threads are only ever put where both codes, and every half of a rewriting, may begin (``edit.moves``), each by one
  call. So it does not matter how many have been moved.
- Nothing is written before every thread stands at such a place or outside; each write lies in one page, which the
  kernel fills at once, and behind each the code is whole (``spots.writes_to``).
- No option is set, no step is made, no signal is sent and none is taken (``ptrace``): a thread that nobody holds any
  more goes on from the registers that it has.
"""

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import uniform
from typing import Any, NoReturn

from nanonap.base.errors import NanonapError
from nanonap.base.processes import started
from patcher.answers import decode, encode
from patcher.live import filters, ptrace, slack
from patcher.live.errors import CannotStop, NoSuchProcess, NotWritable, ProcessChanged
from patcher.live.moving import Memory, moves_of, rehearse
from patcher.live.process import entry_of
from patcher.live.script import Script
from patcher.live.stopping import Doubt, held

_HIGHEST = -20  # priority: what holds others still should not wait for them
#: A try each: how long the threads may take to stop, and at most how long until the next try. A thread that stands
#: where it cannot be moved must get a processor in between, or it still stands there; that may take tenths of a second.
_TRIES_S = (
    (0.05, 0.02), (0.05, 0.03), (0.05, 0.05), (0.1, 0.1), (0.1, 0.2),
    (0.2, 0.4), (0.2, 0.8), (0.4, 1.0), (0.4, 1.0), (0.8, 0.0),
)  # fmt: skip
_LATE_S = 3.0  # beyond which a try hangs and is ended
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass
class Request:
    """What the agent is asked: the script, whose process, and what may be done. ``parent`` asks, and waits."""

    pid: int
    started: int
    script: Script
    record: str
    slack_ns: int | None = None
    restore_slack: bool = False
    dry_run: bool = False
    accept_seccomp: bool = False
    parent: int = 0


@dataclass
class Done:
    """What a try came to. ``pause_ns``: from the first thread that was stopped to the last that went on."""

    threads: int = 0
    moved: int = 0
    pause_ns: int = 0
    tries: int = 1
    slack_failed: int = 0
    written: int = 0


def main() -> NoReturn:
    """The interpreter's start: a request on stdin, an answer on stdout."""
    gc.disable()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _HIGHEST)
    request = decode(Request, json.loads(sys.stdin.buffer.read()))
    # Where the command is killed nothing more is to be done: an `eject` that is given then has the last word.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != request.parent:
        os._exit(1)
    answer = serve(request)
    sys.stdout.buffer.write(json.dumps(answer).encode())
    sys.stdout.buffer.flush()
    os._exit(0)


def serve(request: Request) -> dict[str, Any]:
    """Try until it is done or refused; as JSON: {"done": …} or {"error": the class's name, "message": …}."""
    said = "no thread could be held"
    for number, (limit_s, apart_s) in enumerate(_TRIES_S, 1):
        answer = _in_a_fork(request, limit_s)
        if "doubt" not in answer:
            if "done" in answer:
                answer["done"]["tries"] = number
            return answer
        said = answer["doubt"]
        time.sleep(uniform(apart_s / 2, apart_s))  # noqa: S311 - not to meet the same moment again
    return {
        "error": CannotStop.__name__,
        "message": f"process {request.pid}: {len(_TRIES_S)} tries to hold its threads failed, the last since {said}; "
        "nothing was changed: try again when it is less busy",
    }


def _in_a_fork(request: Request, limit_s: float) -> dict[str, Any]:
    reading, writing = os.pipe()
    agent = os.getpid()
    worker = os.fork()
    if not worker:
        os.close(reading)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != agent:
            os._exit(1)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        os.write(writing, json.dumps(_answer(request, limit_s)).encode())
        os._exit(0)
    os.close(writing)
    until = time.monotonic() + limit_s + _LATE_S
    while not (ended := os.waitpid(worker, os.WNOHANG)[0]) and time.monotonic() < until:
        signal.sigtimedwait([signal.SIGCHLD], max(0, until - time.monotonic()))
    if not ended:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    with os.fdopen(reading, "rb") as stream:
        text = stream.read()
    if not text:
        return {"doubt": "the try took too long, or was killed"}
    answer: dict[str, Any] = json.loads(text)
    return answer


def _answer(request: Request, limit_s: float) -> dict[str, Any]:
    try:
        return {"done": encode(attempt(request, limit_s))}
    except Doubt as doubt:
        return {"doubt": str(doubt)}
    except NanonapError as error:
        return {"error": type(error).__name__, "message": str(error), "parameters": error.parameters}
    except PermissionError as error:
        return {"denied": str(error)}
    except ProcessLookupError:
        return {"error": NoSuchProcess.__name__, "message": f"process {request.pid}: ended"}
    except OSError as error:
        return {"doubt": str(error)}


def attempt(request: Request, limit_s: float) -> Done:
    """One try. Raises Doubt to be tried again, or why it cannot be."""
    script, pid = request.script, request.pid
    _rehearse(request, limit_s)
    done = Done()
    memory = Memory(-1, 0)

    def opened() -> None:
        """While the process still runs, to stop it for less. If it execs meanwhile, what was opened first is the
        memory of the program before, of which the kernel gives nothing any more: ``_check_memory`` sees that.
        """
        nonlocal memory
        _check_identity(request)
        flags = os.O_RDONLY if request.dry_run else os.O_RDWR
        descriptor = os.open(f"/proc/{pid}/mem", flags | os.O_CLOEXEC)
        memory = Memory(descriptor, entry_of(pid) - script.entry)

    with held(pid, limit_s, opened) as stops:
        _check_memory(request, memory)
        if not request.accept_seccomp:
            _check_filters(request, list(stops), memory.bias)
        tables = [each.table for each in script.sites if each.writes]
        moves = moves_of(list(stops), tables, memory, scan_all=script.cgo)
        done.threads, done.moved = len(stops), len(moves)
        if not request.dry_run:
            for tid, values in moves.items():
                ptrace.set_registers(tid, values)
            done.written = _write(request, memory)
    done.pause_ns = time.monotonic_ns() - stops.since_ns
    if not request.dry_run:
        done.slack_failed = _set_slack(request)
    return done


def _rehearse(request: Request, limit_s: float) -> None:
    """What is done while the process stands, done before to a child that only waits: memory that a fork shares until
    it is touched, and what Python makes at a first call, then take their time beforehand. It never fails.
    """
    own = os.getpid()
    child = os.fork()
    if not child:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        while os.getppid() == own:
            signal.pause()
        os._exit(0)
    try:
        bias = entry_of(request.pid) - request.script.entry
        memory = Memory(os.open(f"/proc/{request.pid}/mem", os.O_RDONLY | os.O_CLOEXEC), bias)
        _check_identity(request)
        with held(child, limit_s) as stops:
            _check_memory(request, memory)
            _check_filters(request, list(stops), bias)
            tables = [each.table for each in request.script.sites]
            moves_of(list(stops), tables, memory, scan_all=False)
            with open(f"/proc/{child}/mem", "r+b", buffering=0) as stream:  # noqa: PTH123 - as above
                rehearse(child, tables, Memory(stream.fileno(), bias))
    except (Doubt, NanonapError, OSError):
        pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _check_identity(request: Request) -> None:
    """The number may be another process's by now."""
    if started(request.pid) != request.started:
        raise NoSuchProcess(f"process {request.pid}: ended; another process has its number now")


def _check_memory(request: Request, memory: Memory) -> None:
    """All that was planned stands on these bytes."""
    script = request.script
    expected = [*script.checks, *((each.address, each.before) for site in script.sites for each in site.windows)]
    for address, data in expected:
        if memory.linked(address, len(data)) != data:
            if memory.replaced:
                raise Doubt(f"process {request.pid} began another program a moment ago")
            raise ProcessChanged(
                f"process {request.pid}: at {address:#x} its memory is not what it was: it runs another program now, "
                "or somebody else changed it meanwhile; try again"
            )


def _check_filters(request: Request, tids: list[int], bias: int) -> None:
    asked = [filters.Asked(number, counter + bias) for number, counter in request.script.asks]
    filters.check(request.pid, tids, asked, request.script.calls)


def _write(request: Request, memory: Memory) -> int:
    """Every write in its order; each is read back before the next."""
    count = 0
    for site in request.script.sites:
        for each in site.writes:
            try:
                os.pwrite(memory.descriptor, each.new, each.address + memory.bias)
            except OSError as error:
                if count:
                    raise
                raise NotWritable(
                    f"process {request.pid}: its memory cannot be written ({os.strerror(error.errno or 0)}); nothing "
                    "was changed; a kernel started with proc_mem.force_override=never forbids it (=ptrace is enough), "
                    "as does code that is mapped shared"
                ) from error
            if memory.linked(each.address, len(each.new)) != each.new:
                raise ProcessChanged(f"process {request.pid}: {each.address:#x} does not hold what was written there")
            count += 1
    return count


def _set_slack(request: Request) -> int:
    record = Path(request.record)
    if request.restore_slack:
        known = slack.recorded(record)
        failed = slack.restore(request.pid, known) if known else 0
        if not failed:
            record.unlink(missing_ok=True)
        return failed
    if request.slack_ns is None:
        return 0
    return slack.change(request.pid, request.slack_ns, record, slack.recorded(record))


if __name__ == "__main__":
    main()
