"""What a Go binary is and what could be done with it, without changing it."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nanonap.errors import NanonapError
from patcher import errors, record
from patcher.callers import callers
from patcher.content import check_file
from patcher.facts import FileFacts
from patcher.functions import Functions
from patcher.image import GoImage, read_image
from patcher.isolation import isolated
from patcher.manifest import describe_go, path_of, read_manifest
from patcher.patching import STRATEGIES, make_plans, refuse_unfit
from patcher.recognise import entry_slack_ns, netpoll_wait, strategies_present
from patcher.room import Room
from patcher.strategies import netpoll, sleep, usleep
from patcher.strategies.netpoll_site import NETPOLL
from patcher.syscalls import EPOLL_WAITS, PACKAGES, Site, in_stub, inline, through_helper

_HELPERS = ("Syscall6", "RawSyscall6")
_FUNCTION_OF = {netpoll.NAME: NETPOLL, sleep.NAME: sleep.SLEEP, usleep.NAME: usleep.USLEEP}


@dataclass(frozen=True)
class Applicability:
    """Whether a strategy applies, why not if it does not, and the places it would change."""

    applies: bool
    reason: str | None
    sites: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class SleepPath:
    """A function of the runtime that sleeps: its shape, or why it is not a known one."""

    strategy: str
    function: str
    address: int | None
    shape: str | None
    reason: str | None


@dataclass(frozen=True)
class Inspection:
    """All that ``inspect`` tells; ``to_json`` is the documented form."""

    path: Path
    sha256: str
    go: dict[str, Any]
    layout: dict[str, Any]
    patched: dict[str, Any] | None
    strategies: dict[str, Applicability]
    sleep_paths: tuple[SleepPath, ...]
    syscalls: tuple[Site, ...]
    usleep_callers: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """The JSON document of ``inspect --json``."""
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "go": self.go,
            "layout": self.layout,
            "patched": self.patched,
            "strategies": {name: asdict(each) for name, each in self.strategies.items()},
            "sleep_paths": [asdict(each) for each in self.sleep_paths],
            "usleep_callers": list(self.usleep_callers),
            "syscalls": [
                {"function": each.function, "address": each.address, "number": each.number, "name": each.name}
                for each in self.syscalls
            ],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Inspection":
        """The inspection of a document that ``to_json`` made."""
        strategies = {
            name: Applicability(each["applies"], each["reason"], tuple(each["sites"]))
            for name, each in document["strategies"].items()
        }
        calls = tuple(Site(each["function"], each["address"], each["number"]) for each in document["syscalls"])
        return cls(
            path=Path(document["path"]),
            strategies=strategies,
            sleep_paths=tuple(SleepPath(**each) for each in document["sleep_paths"]),
            syscalls=calls,
            usleep_callers=tuple(document["usleep_callers"]),
            **{name: document[name] for name in ("sha256", "go", "layout", "patched")},
        )


def inspect(path: Path) -> Inspection:
    """Look at a binary. Raises the errors of reading it; what a strategy cannot do is told, not raised."""
    check_file(path)
    return Inspection.from_json(isolated(path, f"{__name__}:inspected"))


def inspected(path: Path) -> dict[str, Any]:
    """The JSON document of an inspection: the job of ``inspect`` in the child process."""
    return _look_at(path).to_json()


def _look_at(path: Path) -> Inspection:
    image = read_image(path)
    functions = Functions(image)
    return Inspection(
        path=path,
        sha256=FileFacts.of(image.data).sha256,
        go=describe_go(image),
        layout=_layout(functions),
        patched=_patched(image, functions),
        strategies={name: _applicability(functions, name) for name in STRATEGIES},
        sleep_paths=tuple(_sleep_paths(functions)),
        syscalls=tuple(_system_calls(functions)),
        usleep_callers=tuple(_usleep_callers(functions)),
    )


def _layout(functions: Functions) -> dict[str, Any]:
    image = functions.image
    return {
        "pie": image.pie,
        "stripped": image.stripped,
        # runtime/cgo's way from C to Go, in every program that links that package (runtime/cgo/asm_amd64.s)
        "cgo": bool(functions.table.find("crosscall2")),
        "race": image.build.settings.get("-race") == "true",
        "sections": [each.name for each in image.sections],
        "free_bytes": image.padding.size if image.padding else 0,
    }


def _sleep_paths(functions: Functions) -> Iterator[SleepPath]:
    present = strategies_present(functions)
    for module in (netpoll, sleep, usleep):
        try:
            function, shape = module.shape(functions)
        except NanonapError as error:
            name = _FUNCTION_OF[module.NAME]
            at = next((each.start for each in functions.all(name)), None)
            reason = f"patched by strategy {module.NAME}" if module.NAME in present else str(error)
            yield SleepPath(module.NAME, name, at, None, reason)
        else:
            yield SleepPath(module.NAME, function.name, function.start, shape, None)


def _usleep_callers(functions: Functions) -> Iterator[dict[str, Any]]:
    targets = frozenset(each.start for each in functions.all(usleep.USLEEP))
    for function, address in callers(functions, targets):
        yield {"function": function.name, "address": address}


def _patched(image: GoImage, functions: Functions) -> dict[str, Any] | None:
    present = strategies_present(functions)
    if not present:
        return None
    try:
        manifest = read_manifest(path_of(image.path))
    except (errors.ManifestMissing, errors.ManifestMismatch):
        manifest = None
    main = next((each for each in present if each != "slack"), "slack")
    return {
        "strategy": main,
        "slack_ns": entry_slack_ns(functions),
        **netpoll_wait(functions).to_json(),
        "tool": manifest.tool if manifest else None,
        "manifest": manifest is not None,
        "record": any(True for _ in record.find(image.data)),
    }


def _applicability(functions: Functions, name: str) -> Applicability:
    try:
        refuse_unfit(functions)
        plans = make_plans(functions, name, 1 if name == "slack" else None, Room(functions.image))
    except NanonapError as error:
        return Applicability(False, str(error), ())
    sites = tuple({"function": each.function, "address": each.address} for plan in plans for each in plan.edits)
    return Applicability(True, None, sites)


def _system_calls(functions: Functions) -> list[Site]:
    """The system calls of the runtime's sleep functions, those made through Syscall6 included."""
    helpers = frozenset(
        each.start for package in PACKAGES for name in _HELPERS for each in functions.all(f"{package}.{name}")
    )
    names = [*_FUNCTION_OF.values(), *EPOLL_WAITS]
    found: dict[tuple[int, int], Site] = {}
    for name in names:
        for function in functions.all(name):
            try:
                instructions = functions.instructions(function)
            except errors.ShapeMismatch:
                continue
            beside = tuple(in_stub(name, instructions, functions.code_at))
            own = [each for each in inline(name, instructions) if each.address not in {e.address for e in beside}]
            for site in (*own, *beside, *through_helper(name, instructions, helpers)):
                found[site.address, site.number or 0] = site
    return sorted(found.values(), key=lambda each: each.address)
