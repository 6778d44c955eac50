"""What a Go binary is and what could be done with it, without changing it."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from nanonap.base.errors import NanonapError
from patcher import begun, errors, record
from patcher.answers import Signed, encode
from patcher.edit.room import Room
from patcher.file.content import check_file
from patcher.file.facts import FileFacts
from patcher.golang.callers import callers
from patcher.golang.functions import Functions
from patcher.golang.image import GoImage, read_image
from patcher.golang.seccomp import Filters, find_filters
from patcher.golang.syscalls import EPOLL_WAITS, PACKAGES, USLEEP, Site, in_stub, inline, through_helper
from patcher.golang.waits import find_waits
from patcher.isa.table import ISAS
from patcher.isolation import isolated
from patcher.manifest import Go, describe_go, find_manifest, read_manifest
from patcher.planning import make_plans, refuse_unfit
from patcher.recognise import strategies_present
from patcher.source import AnyPath, Content, name_of, readable
from patcher.strategies.strategy import Options
from patcher.strategies.table import SLACK, STRATEGIES

_JOB = f"{__name__}:inspected"
_HELPERS = ("Syscall6", "RawSyscall6")
_seen_before: dict[Path, "Inspection"] = {}  # of a child that was begun before it was asked


@dataclass(frozen=True)
class Layout:
    """How the file is made: the names of its sections, and the free bytes behind its code."""

    pie: bool
    stripped: bool
    cgo: bool
    race: bool
    sections: tuple[str, ...]
    free_bytes: int


@dataclass(frozen=True)
class Carried:
    """A patch that the binary carries: ``tool`` is the version that made it, where the manifest is beside it;
    ``record`` whether it carries its undo record.
    """

    strategy: str
    slack_ns: int | None
    quantum_ns: int | None
    dense_ns: int | None
    spin_ns: int | None
    tool: str | None
    manifest: bool
    record: bool


@dataclass(frozen=True)
class Place:
    """A function and a virtual address in it."""

    function: str
    address: int


@dataclass(frozen=True)
class EpollPlace(Place):
    """A call that could wait in epoll; the fields are those of ``patcher.golang.waits.EpollCall``."""

    callee: str
    inlined: tuple[str, ...] | None
    timeout_ms: Signed | None


@dataclass(frozen=True)
class Applicability:
    """Whether a strategy applies, why not if it does not, and the places it would change."""

    applies: bool
    reason: str | None
    sites: tuple[Place, ...]


@dataclass(frozen=True)
class SleepPath:
    """A function of the runtime that sleeps: its shape, or why it is not a known one.

    ``address`` is the function's start, ``call`` where it waits, if that is known: one function may wait twice.
    """

    strategy: str
    function: str
    address: int | None
    shape: str | None
    reason: str | None
    call: int | None = None


@dataclass(frozen=True)
class Inspection:
    """All that ``inspect`` tells; ``to_json`` is the documented form."""

    path: Path
    sha256: str
    go: Go
    layout: Layout
    patched: Carried | None
    strategies: dict[str, Applicability]
    sleep_paths: tuple[SleepPath, ...]
    usleep_callers: tuple[Place, ...]
    epoll_calls: tuple[EpollPlace, ...]
    filters: Filters
    syscalls: tuple[Site, ...]

    def to_json(self) -> dict[str, Any]:
        """The document of ``inspect`` in JSON."""
        document: dict[str, Any] = encode(self)
        return {"seccomp" if name == "filters" else name: value for name, value in document.items()}


def inspect(program: AnyPath | Content) -> Inspection:
    """Look at a binary: a path, its content, or a binary file that is open.

    Raises the errors of reading it; what a strategy cannot do is told, not raised.
    """
    with readable(program) as source:
        check_file(source.path)
        seen = isolated(source.path, _JOB, Inspection, keep=source.keep)
    return replace(seen, path=Path(name_of(program)))


def begin(path: Path | None = None) -> None:
    """Make the child that looks at the binary, before it is known which: it loads its libraries meanwhile, and looks at
    ``path``, which will be meant, most likely.

    For a process of one thread, which is about to call ``inspect``; nothing where there can be no child.
    """
    with contextlib.suppress(OSError):
        begun.begin(_JOB, partial(_prepare, path), path)


def _prepare(path: Path | None) -> None:
    for each in ISAS.values():
        each.assemble("nop", 0)  # which is decoded again
    if path is not None:
        _seen_before[path] = inspected(path)


def inspected(path: Path) -> Inspection:
    """What ``inspect`` finds: its job in the child process."""
    if path in _seen_before:
        return _seen_before.pop(path)
    image = read_image(path)
    functions = Functions(image)
    with ThreadPoolExecutor(1) as beside:
        hashed = beside.submit(FileFacts.of, image.data)
        seen = _seen(functions)
    return replace(seen, sha256=hashed.result().sha256)


def _seen(functions: Functions) -> Inspection:
    """All but the file's SHA-256."""
    image = functions.image
    return Inspection(
        path=image.path,
        sha256="",
        go=describe_go(image),
        layout=_layout(functions),
        patched=_patched(image, functions),
        strategies={name: _applicability(functions, name) for name in STRATEGIES},
        sleep_paths=tuple(_sleep_paths(functions)),
        syscalls=tuple(_system_calls(functions)),
        usleep_callers=tuple(_usleep_callers(functions)),
        epoll_calls=tuple(_epoll_calls(functions)),
        filters=find_filters(functions),
    )


def _layout(functions: Functions) -> Layout:
    image = functions.image
    return Layout(
        pie=image.pie,
        stripped=image.stripped,
        # runtime/cgo's way from C to Go, in every program that links that package (runtime/cgo/asm_NAME.s)
        cgo=bool(functions.table.find("crosscall2")),
        race=image.build.settings.get("-race") == "true",
        sections=tuple(each.name for each in image.sections),
        free_bytes=image.padding.size if image.padding else 0,
    )


def _sleep_paths(functions: Functions) -> Iterator[SleepPath]:
    for name, strategy in STRATEGIES.items():
        if strategy.function is None:
            continue
        stubs = strategy.stubs(functions)
        for each in stubs:
            if each is not None:
                yield SleepPath(name, each.name, each.start, None, f"patched by strategy {name}")
        try:
            for function, call, shape in () if stubs else strategy.shapes(functions):
                yield SleepPath(name, function.name, function.start, shape, None, call)
        except NanonapError as error:
            at = next((each.start for each in functions.all(strategy.function)), None)
            yield SleepPath(name, strategy.function, at, None, str(error))


def _epoll_calls(functions: Functions) -> Iterator[EpollPlace]:
    """All calls that could wait in epoll, polls too; none where their code cannot be followed, which netpoll tells."""
    try:
        calls = find_waits(functions).calls
    except NanonapError:
        return
    for each in calls:
        yield EpollPlace(each.function.name, each.address, each.callee, each.inlined, each.timeout_ms)


def _usleep_callers(functions: Functions) -> Iterator[Place]:
    targets = frozenset(each.start for each in functions.all(USLEEP))
    for function, address in callers(functions, targets):
        yield Place(function.name, address)


def _patched(image: GoImage, functions: Functions) -> Carried | None:
    present = strategies_present(functions)
    if not present:
        return None
    try:
        manifest = read_manifest(find_manifest(image.path))
    except (errors.ManifestMissing, errors.ManifestMismatch):
        manifest = None
    main = next((each for each in present if each != SLACK.name), SLACK.name)
    return Carried(
        strategy=main,
        slack_ns=SLACK.slack_ns(functions),
        **STRATEGIES[main].wait(functions).to_json(),
        tool=manifest.tool if manifest else None,
        manifest=manifest is not None,
        record=any(True for _ in record.find(image.data)),
    )


def _applicability(functions: Functions, name: str) -> Applicability:
    try:
        refuse_unfit(functions)
        plans = make_plans(functions, name, Room(functions.image), Options(1 if name == SLACK.name else None))
    except NanonapError as error:
        return Applicability(False, str(error), ())
    sites = tuple(Place(each.function, each.address) for plan in plans for each in plan.edits)
    return Applicability(True, None, sites)


def _system_calls(functions: Functions) -> list[Site]:
    """The system calls of the runtime's sleep functions, those made through Syscall6 included."""
    helpers = frozenset(
        each.start for package in PACKAGES for name in _HELPERS for each in functions.all(f"{package}.{name}")
    )
    names = [each.function for each in STRATEGIES.values() if each.function is not None]
    waiting = [function for name in (*names, *EPOLL_WAITS) for function in functions.all(name)]
    waiting += [stub for each in STRATEGIES.values() if each.function for stub in each.stubs(functions) if stub]
    waiting += [function for each in _epoll_calls(functions) if (function := functions.table.at(each.address))]
    found: dict[tuple[int, int], Site] = {}
    for function in dict.fromkeys(waiting):
        try:
            beside = tuple(in_stub(functions, function))
            own = [each for each in inline(functions, function) if each.address not in {one.address for one in beside}]
            through = tuple(through_helper(functions, function, helpers))
        except errors.ShapeMismatch:
            continue
        for site in (*own, *beside, *through):
            found[site.address, site.number or 0] = site
    return sorted(found.values(), key=lambda each: each.address)
