"""What this machine can do: every backend tried, by setting a quota in it, and what would help where it fails."""

from dataclasses import dataclass

from rich.table import Table

from nanonap.base.terminal import command, messages
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.quota.above import above_process
from nanonap.lab.quota.above_limit import JudgedAbove, judged
from nanonap.lab.quota.base import Backend
from nanonap.lab.quota.choose import AUTOMATIC, BACKEND_NAMES, backend_class, working
from nanonap.lab.quota.limits import Limits, parse_quota
from nanonap.lab.show.terminal import print_limits, wide

#: What a backend may be able to set beyond a quota of 50 % every 100 ms, and how that is tried.
_PROBES = {
    "period": Limits(parse_quota("50%/10ms")),
    "burst": Limits(parse_quota("50%+burst=10ms")),
    "weight": Limits(weight=200),
    "memory": Limits(memory_bytes=64 << 20),
}


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


@dataclass(frozen=True)
class Survey:
    """``auto``: the backend that a bench takes by itself; ``above``: the limits that others set on this process."""

    auto: str | None
    above: JudgedAbove | None
    backends: list[Ability]


def survey(everything: bool = False) -> Survey:
    """Try the backends; with ``everything`` the guests too."""
    names = [name for name in BACKEND_NAMES if name not in ("auto", "none")]
    found = []
    for name in names:
        if backend_class(name).slow and not everything:
            found.append(
                Ability(name, None, [], {}, "not tried: it boots a machine", f"`{command('quota', '--all')}` tries it")
            )
            continue
        with messages().status(f"trying {name}"):
            found.append(_try(name))
    auto = next((each.backend for each in found if each.works and each.backend in AUTOMATIC), None)
    return Survey(auto, judged(above_process().told()), found)


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
    if not backend.limits:
        return Ability(backend.name, True, [], {}, mark=backend.mark)
    sets, lacks = ["quota"], {}
    for what, limits in _PROBES.items():
        try:
            backend.open(limits).close()
        except QuotaUnavailable as refusal:
            lacks[what] = f"{refusal.reason}; {refusal.remedy}"
        else:
            sets.append(what)
    return Ability(backend.name, True, sets, lacks, mark=backend.mark)


def show_survey(found: Survey) -> None:
    """The limits above, and the table."""
    print_limits(found.above)
    table = Table(title="ways to limit CPU on this machine")
    for name in ("backend", "works", "sets", "what it lacks, and what would help"):
        table.add_column(name, overflow="fold")
    for each in found.backends:
        lacking = [f"{what}: {why}" for what, why in each.lacks.items()]
        if each.reason:
            lacking.append(f"{each.reason}; {each.remedy}")
        if each.mark:
            lacking.append(each.mark)
        works = {True: "yes", False: "no", None: "–"}[each.works]
        table.add_row(each.backend, works, ", ".join(each.sets) or "–", "\n".join(lacking) or "–")
    console = wide()
    console.print(table)
    auto = found.auto
    says = f"`--backend auto` takes {auto}." if auto else "`--backend auto` finds none: benches run without quota."
    console.print(f"{says} Quotas from 1 ms a period, periods from 1 ms to 1 s.", highlight=False)
