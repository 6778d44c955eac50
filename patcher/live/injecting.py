"""Inject, eject, status: what the public API does with a running process, step by step."""

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nanonap.base.errors import NanonapError, OutputNotWritable
from patcher.errors import InputNotFound, NotElf, NotGo
from patcher.file.content import opened, pieces
from patcher.live import slack
from patcher.live.agent import Done, Request
from patcher.live.calling import call
from patcher.live.errors import NoSuchProcess, NotInjected, NotPermitted
from patcher.live.planning import look, plan
from patcher.live.process import Target, check_kernel, check_reachable, target_of
from patcher.live.script import Looked, Script
from patcher.patching import check_options
from patcher.strategies.table import DEFAULT_STRATEGY
from patcher.wait import Wait


@dataclass(frozen=True)
class Changed:
    """What was done to a process. ``before`` and ``after`` are states: "stock", "injected", "staged" (half rewritten).

    ``places``: (name, address as linked, bytes) of what changed. ``options``: those of the stub that is there now, in
    ns. ``slack_ns``: what was set, None for nothing; ``slack_failed``: of how many threads it could not be.
    ``pause_ns``: how long the process stood still; ``threads``: how many it had, ``moved``: how many were put
    elsewhere. ``dry_run``: all was done but to write.
    """

    pid: int
    program: str
    go: str
    before: str
    after: str
    options: dict[str, int | None]
    places: tuple[tuple[str, int, int], ...]
    new_syscalls: tuple[str, ...]
    proven: int
    slack_ns: int | None
    slack_failed: int
    threads: int
    moved: int
    pause_ns: int
    tries: int
    dry_run: bool

    def to_json(self) -> dict[str, Any]:
        """The fields; ``places`` as objects."""
        places = [dict(zip(("name", "address", "size"), each, strict=True)) for each in self.places]
        return {**asdict(self), "places": places, "new_syscalls": list(self.new_syscalls)}


@dataclass(frozen=True)
class Status:
    """How a process that runs a Go program stands. ``state``: "stock", "injected", "staged", "patched by file",
    "precise by itself", "unfit" (``reason`` says why), or "unknown" (it may not be looked into). ``slack_ns``: the
    leader's timer slack, None where that may not be known; ``slack_set``: that it was set by an injection.
    """

    pid: int
    program: str
    go: str | None
    state: str
    options: dict[str, int | None]
    slack_ns: int | None
    slack_set: bool
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


def inject(
    pid: int,
    *,
    slack_ns: int | None = None,
    quantum_ns: int | None = None,
    dense_ns: int | None = None,
    spin_ns: int | None = None,
    dry_run: bool = False,
    accept_seccomp: bool = False,
) -> Changed:
    """Put ``netpoll`` into a running process, or other options of it; with ``slack_ns`` set its threads' timer slack.

    Nothing is stopped before all is proven. Raises a subclass of NanonapError that says what is wrong and what to do.
    """
    wait = Wait(quantum_ns, dense_ns, spin_ns)
    check_options(DEFAULT_STRATEGY, slack_ns, wait)
    target, script = _planned(pid, "inject", wait)
    record = slack.record_of(pid, target.started)
    if record is None and slack_ns is not None:
        raise OutputNotWritable(
            f"process {pid}: no folder of this user alone to keep the timer slack in, as it was: name one in "
            "XDG_RUNTIME_DIR, or set no slack",
            parameters=("slack_ns",),
        )
    request = Request(
        pid=pid,
        started=target.started,
        script=script,
        record=str(record),
        slack_ns=slack_ns,
        dry_run=dry_run,
        accept_seccomp=accept_seccomp,
    )
    return _changed(target, request, wait)


def eject(pid: int, *, dry_run: bool = False) -> Changed:
    """Put the original code back, and the timer slack as it was. Raises NotInjected where there is nothing to undo."""
    target, script = _planned(pid, "eject", None)
    record = slack.record_of(pid, target.started)
    kept = record is not None and record.exists()
    if not any(each.writes for each in script.sites) and not kept:
        raise NotInjected(f"process {pid}: not injected; there is nothing to take out")
    request = Request(
        pid=pid,
        started=target.started,
        script=script,
        record=str(record),
        restore_slack=kept,
        dry_run=dry_run,
    )
    return _changed(target, request, None)


def status(pid: int) -> Status:
    """How one process stands; nothing is stopped. Raises NoSuchProcess, or NotGo and its kin for no Go program."""
    target = target_of(pid)
    program = target.name
    known = slack.recorded(slack.record_of(pid, target.started))
    told = Looked(None, "unknown", None, {})
    try:
        check_reachable(target)
        told = look(pid)
    except (NotGo, NotElf, NoSuchProcess):
        raise
    except NanonapError as error:
        told = replace(told, reason=str(error))
    return Status(
        pid=pid,
        program=program,
        go=told.go,
        state=told.state,
        options=told.options,
        slack_ns=slack.read(pid),
        slack_set=bool(known and known.set_ns is not None),
        reason=told.reason,
    )


def running() -> list[Status]:
    """Every process here that runs a Go program, this user's or not, as far as that can be seen."""
    found = []
    for pid in sorted(int(each) for each in os.listdir("/proc") if each.isdecimal()):  # noqa: PTH208 - names alone
        try:
            if pid != os.getpid() and _may_be_go(pid):
                found.append(status(pid))
        except NanonapError:
            continue
    return found


_MARK = b"\xff Go buildinf:"  # cmd/link/internal/ld/data.go, buildinfo


def _may_be_go(pid: int) -> bool:
    """Whether a process's program holds Go's build information: a look at bytes, which nothing in them can mislead.

    Raises InputNotFound, or MalformedBinary for a file that is mostly holes, which would take hours to read.
    """
    try:
        with opened(Path(f"/proc/{pid}/exe")) as descriptor:
            before = b""
            for piece in pieces(descriptor):
                if _MARK in before + piece:
                    return True
                before = piece[-len(_MARK) :]
    except OSError:
        return False
    return False


def _planned(pid: int, action: str, wait: Wait | None) -> tuple[Target, Script]:
    check_kernel()
    target = target_of(pid)
    check_reachable(target)
    try:
        return target, plan(pid, action, wait)
    except InputNotFound as error:
        raise NotPermitted(f"process {pid}: its program cannot be read ({error})") from error


def _changed(target: Target, request: Request, wait: Wait | None) -> Changed:
    script = request.script
    idle = not any(each.writes for each in script.sites) and request.slack_ns is None and not request.restore_slack
    done = Done() if idle else call(request)
    states = {each.state for each in script.sites}
    places = [(site.name, each.address, len(each.after)) for site in script.sites for each in site.windows[:1]]
    return Changed(
        pid=target.pid,
        program=target.name,
        go=script.go,
        before=states.pop() if len(states) == 1 else "staged",
        after=script.sites[0].wanted,
        options=wait.given if wait is not None else {},
        places=tuple(places),
        new_syscalls=tuple(script.new_syscalls),
        proven=script.proven,
        slack_ns=request.slack_ns,
        slack_failed=done.slack_failed,
        threads=done.threads,
        moved=done.moved,
        pause_ns=done.pause_ns,
        tries=done.tries,
        dry_run=request.dry_run,
    )
