"""What a Go binary is and what could be done with it, without changing it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nanonap.errors import NanonapError
from patcher import errors
from patcher.content import check_file
from patcher.facts import FileFacts
from patcher.functions import Functions
from patcher.image import GoImage, read_image
from patcher.isolation import isolated
from patcher.manifest import describe_go, path_of, read_manifest
from patcher.patching import STRATEGIES, make_plans, refuse_unfit
from patcher.recognise import entry_slack_ns, strategies_present
from patcher.room import Room
from patcher.syscalls import Site, inline, through_helper

_HELPERS = ("Syscall6", "RawSyscall6")
_PACKAGES = ("internal/runtime/syscall/linux", "internal/runtime/syscall", "runtime/internal/syscall")
_SLEEP_FUNCTIONS = ("runtime.netpoll", "time.Sleep", "runtime.usleep", "runtime.epollwait")


@dataclass(frozen=True)
class Applicability:
    """Whether a strategy applies, why not if it does not, and the places it would change."""

    applies: bool
    reason: str | None
    sites: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Inspection:
    """All that ``inspect`` tells; ``to_json`` is the documented form."""

    path: Path
    sha256: str
    go: dict[str, Any]
    layout: dict[str, bool]
    patched: dict[str, Any] | None
    strategies: dict[str, Applicability]
    syscalls: tuple[Site, ...]

    def to_json(self) -> dict[str, Any]:
        """The JSON document of ``inspect --json``."""
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "go": self.go,
            "layout": self.layout,
            "patched": self.patched,
            "strategies": {name: asdict(each) for name, each in self.strategies.items()},
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
        rest = {name: document[name] for name in ("sha256", "go", "layout", "patched")}
        return cls(path=Path(document["path"]), strategies=strategies, syscalls=calls, **rest)


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
    settings = image.build.settings
    return Inspection(
        path=path,
        sha256=FileFacts.of(image.data).sha256,
        go=describe_go(image),
        layout={
            "pie": image.pie,
            "stripped": image.stripped,
            "cgo": bool(functions.table.find("runtime/cgo.(*Handle).Delete") or functions.table.find("_cgo_init"))
            or (settings.get("CGO_ENABLED") == "1" and image.dynamic),
            "race": settings.get("-race") == "true",
        },
        patched=_patched(image, functions),
        strategies={name: _applicability(functions, name) for name in STRATEGIES},
        syscalls=tuple(_system_calls(functions)),
    )


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
        "tool": manifest.tool if manifest else None,
        "manifest": manifest is not None,
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
        each.start for package in _PACKAGES for name in _HELPERS for each in functions.all(f"{package}.{name}")
    )
    names = [*_SLEEP_FUNCTIONS, *(f"{package}.EpollWait" for package in _PACKAGES)]
    found: dict[int, Site] = {}
    for name in names:
        for function in functions.all(name):
            try:
                instructions = functions.instructions(function)
            except errors.ShapeMismatch:
                continue
            for site in (*inline(name, instructions), *through_helper(name, instructions, helpers)):
                found[site.address] = site
    return sorted(found.values(), key=lambda each: each.address)
