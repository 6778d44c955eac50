"""The tasks of the live side: inject, eject, status."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.tasks import task

from nanonap.base.errors import NanonapError, UsageError
from nanonap.base.terminal import command
from nanonap.cli.shared import JSON_HELP, NO_PROCESS, front_door, process_number, show_json, whole

if TYPE_CHECKING:
    from patcher import Changed

_CHOICE = {
    "pid": "one process, by its number",
    "all": "every process here that runs a Go program",
    "match": "every Go process whose executable's path or command line matches this regular expression",
    "container": "every Go process of this container, by its name (docker, podman)",
}


@task(
    positional=["pid"],
    help=_CHOICE
    | {
        "slack-ns": "also set the timer slack of its threads, in ns, at least 1 (default: keep it)",
        "quantum": "as for `patch`: a wait shorter than this, in ns, lasts this long",
        "dense": "as for `patch`: with --quantum, only waits shorter than this, in ns, last a quantum",
        "spin": "as for `patch`: end each wait this early, in ns, and poll until the deadline",
        "for_": "wait this long, as in 30s, then eject; also at Ctrl-C and SIGTERM",
        "dry-run": "do everything except write",
        "accept-seccomp": "inject even if its system call filter cannot be read",
        "json": JSON_HELP,
    },
)
@front_door
def inject(
    _: Context,
    pid: str = NO_PROCESS,
    all: bool = False,
    match: str | None = None,
    container: str | None = None,
    slack_ns: str | None = None,
    quantum: str | None = None,
    dense: str | None = None,
    spin: str | None = None,
    for_: str | None = None,
    dry_run: bool = False,
    accept_seccomp: bool = False,
    json: bool = False,
) -> None:
    """Change how a running process waits, without a restart; `eject` undoes it."""
    import patcher
    from nanonap.base.durations import parse_duration_ns
    from nanonap.base.interrupts import held

    if for_ is not None and dry_run:
        raise UsageError("--for and --dry-run exclude each other: a dry run changes nothing that could be undone")
    length_s = parse_duration_ns(for_) / 1e9 if for_ is not None else None
    options = {
        "slack_ns": whole("slack-ns", slack_ns),
        "quantum_ns": whole("quantum", quantum),
        "dense_ns": whole("dense", dense),
        "spin_ns": whole("spin", spin),
    }
    numbers = _numbers(pid, ("stock", "injected", "staged"), all=all, match=match, container=container)

    def one(number: int) -> "Changed":
        return patcher.inject(number, dry_run=dry_run, accept_seccomp=accept_seccomp, **options)

    if length_s is None:
        _each(numbers, one, single=_is_single(pid), json=json)
        return
    with held() as let_through:
        try:
            with let_through():
                _each(numbers, one, single=_is_single(pid), json=json)
                time.sleep(length_s)
        finally:
            _take_out(numbers, json=json)


@task(
    positional=["pid"],
    help=_CHOICE | {"dry-run": "do everything except write", "json": JSON_HELP},
)
@front_door
def eject(
    _: Context,
    pid: str = NO_PROCESS,
    all: bool = False,
    match: str | None = None,
    container: str | None = None,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Give a running process its own code back, and its timer slack."""
    import patcher

    numbers = _numbers(pid, ("injected", "staged"), all=all, match=match, container=container)
    _each(numbers, lambda number: patcher.eject(number, dry_run=dry_run), single=_is_single(pid), json=json)


@task(positional=["pid"], help=_CHOICE | {"json": JSON_HELP})
@front_door
def status(
    _: Context,
    pid: str = NO_PROCESS,
    all: bool = False,
    match: str | None = None,
    container: str | None = None,
    json: bool = False,
) -> None:
    """Tell which processes run Go programs, and whether they are injected."""
    import patcher
    from patcher.live.choosing import chosen
    from patcher.live.show import show_status

    single = _is_single(pid)
    if single and (all or match or container):
        raise UsageError(f"process {pid}, --all, --match and --container exclude each other: name one")
    found = [patcher.status(process_number(pid))] if single else chosen(match=match, container=container)
    if json:
        show_json(found[0].to_json() if single else {"processes": [each.to_json() for each in found]})
    else:
        show_status(found)


def _is_single(pid: str) -> bool:
    return pid != NO_PROCESS


def _numbers(pid: str, states: tuple[str, ...], *, all: bool, match: str | None, container: str | None) -> list[int]:
    """The processes that are meant; of several, those in one of the states."""
    from patcher.live.choosing import chosen
    from patcher.live.errors import NoSuchProcess

    given = [_is_single(pid), all, match is not None, container is not None]
    if sum(given) != 1:
        raise UsageError("name exactly one of: a process by its number, --all, --match REGEX, --container NAME")
    if _is_single(pid):
        return [process_number(pid)]
    found = [each.pid for each in chosen(match=match, container=container) if each.state in states]
    if not found:
        raise NoSuchProcess(f"no such process is {' or '.join(states)}; `{command('status')}` lists the processes")
    return found


def _each(
    numbers: list[int],
    change: "Callable[[int], Changed]",
    *,
    single: bool,
    json: bool,
) -> None:
    """Change every process and show what was done. Raises what went wrong with the only one, or SomeFailed."""
    from patcher.live.errors import SomeFailed
    from patcher.live.show import show_changed, show_line

    if single:
        done = change(numbers[0])
        show_json(done.to_json()) if json else show_changed(done)
        return
    told: list[dict[str, Any]] = []
    failed = 0
    for number in numbers:
        try:
            done = change(number)
        except NanonapError as error:
            failed += 1
            told.append({"pid": number, "error": str(error), "exit_status": error.exit_code})
            if not json:
                print(f"{number:>8}  failed: {error}")
        else:
            told.append(done.to_json())
            if not json:
                show_line(done)
    if json:
        show_json({"processes": told})
    if failed:
        raise SomeFailed(f"{failed} of {len(numbers)} processes failed; the answer says why, process by process")


def _take_out(numbers: list[int], *, json: bool) -> None:
    """Eject all again; one that ended has nothing to undo. Raises the first failure, once all were tried."""
    import patcher
    from patcher.live.errors import NoSuchProcess, NotInjected
    from patcher.live.show import show_changed

    failed: list[NanonapError] = []
    for number in numbers:
        try:
            done = patcher.eject(number)
        except (NoSuchProcess, NotInjected):
            continue
        except NanonapError as error:
            failed.append(error)
        else:
            if not json:
                show_changed(done)
    if failed:
        raise failed[0]
