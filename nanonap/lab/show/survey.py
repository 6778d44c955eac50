"""What this machine can do: every backend tried, by setting a quota in it, and what would help where it fails."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from bench.errors import QuotaUnavailable
from bench.quota.base import Backend
from bench.quota.choose import AUTOMATIC, BACKEND_NAMES, working
from bench.quota.limits import Limits, parse_quota
from bench.terminal import wide
from nanonap.terminal import messages

#: What a backend may be able to set beyond a quota of 50 % every 100 ms, and how that is tried.
_PROBES = {
    "period": Limits(parse_quota("50%/10ms")),
    "burst": Limits(parse_quota("50%+burst=10ms")),
    "weight": Limits(weight=200),
    "memory": Limits(memory_bytes=64 << 20),
}
#: These take a quarter of a minute to start: tried only when asked for.
_SLOW = ("guest", "guest-systemd")


@dataclass(frozen=True)
class Ability:
    """A backend here: whether it works (None: not tried), what it can set, and reasons with remedies for the rest."""

    backend: str
    works: bool | None
    sets: list[str]
    lacks: dict[str, str]
    reason: str | None = None
    remedy: str | None = None
    mark: str | None = None


def survey(everything: bool = False) -> dict[str, Any]:
    """Try the backends; with ``everything`` the guests too. ``auto`` is the one that a bench takes by itself."""
    names = [name for name in BACKEND_NAMES if name not in ("auto", "none")]
    found = []
    for name in names:
        if name in _SLOW and not everything:
            found.append(Ability(name, None, [], {}, "not tried: it boots a machine", "`invoke quota --all` tries it"))
            continue
        with messages().status(f"trying {name}"):
            found.append(_try(name))
    auto = next((each.backend for each in found if each.works and each.backend in AUTOMATIC), None)
    return {"auto": auto, "backends": [asdict(each) for each in found]}


def _try(name: str) -> Ability:
    try:
        backend = working(name)
    except QuotaUnavailable as refusal:
        return Ability(name, False, [], {}, refusal.reason, refusal.remedy)
    try:
        return _abilities(backend)
    finally:
        backend.close()


def _abilities(backend: Backend) -> Ability:
    sets, lacks = ["quota"], {}
    for what, limits in _PROBES.items():
        try:
            backend.open(limits).close()
        except QuotaUnavailable as refusal:
            lacks[what] = f"{refusal.reason}; {refusal.remedy}"
        else:
            sets.append(what)
    return Ability(backend.name, True, sets, lacks, mark=backend.mark)


def show_survey(document: dict[str, Any]) -> None:
    """The table."""
    table = Table(title="ways to limit CPU on this machine")
    for name in ("backend", "works", "sets", "what it lacks, and what would help"):
        table.add_column(name, overflow="fold")
    for each in document["backends"]:
        lacking = [f"{what}: {why}" for what, why in each["lacks"].items()]
        if each["reason"]:
            lacking.append(f"{each['reason']}; {each['remedy']}")
        if each["mark"]:
            lacking.append(each["mark"])
        works = {True: "yes", False: "no", None: "–"}[each["works"]]
        table.add_row(each["backend"], works, ", ".join(each["sets"]) or "–", "\n".join(lacking) or "–")
    console = wide()
    console.print(table)
    auto = document["auto"]
    says = f"`--backend auto` takes {auto}." if auto else "`--backend auto` finds none: benches run without quota."
    console.print(f"{says} Quotas from 1 ms a period, periods from 1 ms to 1 s.", highlight=False)
