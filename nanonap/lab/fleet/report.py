"""What the hosts of a fleet gave, side by side: a row a host, the mean over hosts, the worst host, what is missing."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.markup import escape

from nanonap.base.durations import asked
from nanonap.lab.ground.errors import BadResult
from nanonap.lab.ground.hosts import Host
from nanonap.lab.judge.analysis import CellRow, Summary
from nanonap.lab.plan.arms import CONTROL, in_order
from nanonap.lab.plan.conditions import is_apart
from nanonap.lab.publish.bundle import SUMMARY
from nanonap.lab.publish.unbundle import read_bundle
from nanonap.lab.show.tables import NONE, Section, Table, ratio_with, short_condition
from nanonap.lab.show.terminal import print_table, wide
from nanonap.lab.stats.hosts import pooled
from nanonap.lab.store.read import decode
from nanonap.lab.store.runs import RunCondition

SCHEMA = 1
ABOUT = "fleet.json"
_Z95 = 1.959964


class Measured(Struct, frozen=True, kw_only=True):
    """A host with a result: its bundle's name in the folder, and what following the job cost there.

    ``adopted``: how often another task took it over. ``worker_share``: of one core.
    """

    bundle: str
    adopted: int = 0
    worker_share: float | None = None
    worker_switches_per_s: float | None = None


class About(Struct, frozen=True, kw_only=True):
    """fleet.json. ``missing``: host → why it has no result; ``emulated`` hosts are marked."""

    schema: int = SCHEMA
    command: str
    started_utc: str
    versions: dict[str, str]
    hosts: dict[str, Measured]
    missing: dict[str, str]


class HostEffect(Struct, frozen=True):
    """A host's ratio to its own stock program, and its interval."""

    ratio: float
    interval: list[float] | None


class Effect(Struct, frozen=True, kw_only=True):
    """An arm under a condition: median over stock's, by host; the mean's unit is the host, ``worst`` the slowest one.

    ``between``: standard deviation of the hosts' true effects, of the logarithm.
    """

    arm: str
    condition: RunCondition
    requested_ns: int
    hosts: dict[str, HostEffect]
    mean: float
    interval: list[float] | None
    between: float | None
    worst: str


class FleetReport(Struct, frozen=True, kw_only=True):
    """All that is shown. ``marks``: host → what must be said beside its figures."""

    about: About
    machines: dict[str, Host]
    marks: dict[str, str]
    effects: list[Effect]


def read_report(folder: Path) -> FleetReport:
    """From fleet.json and the bundles beside it. Raises BadResult, BadBundle."""
    path = folder / ABOUT
    try:
        about = decode(path.read_text(encoding="utf-8"), About, str(path), SCHEMA)
    except OSError as error:
        raise BadResult(f"{path}: cannot be read; `nanonap fleet bench` makes such a folder") from error
    summaries = {
        name: msgspec.json.decode(read_bundle(folder / Path(each.bundle).name)[SUMMARY], type=Summary)
        for name, each in sorted(about.hosts.items())
    }
    return FleetReport(
        about=about,
        machines={name: each.host for name, each in summaries.items()},
        marks={name: each.bench.mark for name, each in summaries.items() if each.bench.mark},
        effects=effects_of(summaries),
    )


def effects_of(summaries: dict[str, Summary]) -> list[Effect]:
    """Every arm but stock and the control, under every sleeping condition, for each duration."""
    found: dict[tuple[str, str, int, str], dict[str, CellRow]] = {}
    for name, summary in summaries.items():
        for cell in summary.cells:
            if cell.arm not in ("stock", CONTROL) and cell.p50_over_stock and not is_apart(cell.condition.load):
                found.setdefault((*cell.condition.key, cell.requested_ns, cell.arm), {})[name] = cell
    return [_effect(cells) for _, cells in sorted(found.items(), key=lambda each: (each[0][:3], in_order(each[0][3])))]


def _effect(cells: dict[str, CellRow]) -> Effect:
    """Ratios are averaged by their logarithms, so that a half and a double come to one."""
    own = {name: HostEffect(cell.p50_over_stock or 0, cell.p50_over_stock_ci) for name, cell in cells.items()}
    over = pooled([math.log(each.ratio) for each in own.values()], [_error(each.interval) for each in own.values()])
    cell = next(iter(cells.values()))
    return Effect(
        arm=cell.arm,
        condition=cell.condition,
        requested_ns=cell.requested_ns,
        hosts=own,
        mean=math.exp(over.mean),
        interval=None if over.interval is None else [math.exp(each) for each in over.interval],
        between=over.between,
        worst=max(own, key=lambda name: own[name].ratio),
    )


def _error(interval: list[float] | None) -> float | None:
    """The standard error of a ratio's logarithm, of its interval of 95 %; None where that is not known."""
    return None if interval is None or interval[0] <= 0 else math.log(interval[1] / interval[0]) / 2 / _Z95


def print_report(report: FleetReport, folder: Path) -> None:
    """To stdout: the machines, the ratios, what is missing."""
    if report.machines:
        print_table(_machines(report), dense=True)
    for requested_ns, condition in dict.fromkeys((each.requested_ns, each.condition.key) for each in report.effects):
        own = [each for each in report.effects if (each.requested_ns, each.condition.key) == (requested_ns, condition)]
        print_table(_ratios(own), dense=True)
    console = wide()
    for name, mark in report.marks.items():
        console.print(f"[yellow]{escape(name)}[/]: {escape(mark)}", highlight=False)
    for name, why in report.about.missing.items():
        console.print(f"[yellow]missing[/] {escape(name)}: {escape(why)}", highlight=False)
    console.print(f"{len(report.machines)} hosts, each one's bundle in {escape(str(folder))}", highlight=False)


def _machines(report: FleetReport) -> Table:
    rows = []
    for name, host in report.machines.items():
        own = report.about.hosts[name]
        share = NONE if own.worker_share is None else f"{own.worker_share:.2%}"
        kind = "yes" if host.hypervisor else "no"
        facts = (host.kernel, host.cpu_model or host.arch, host.governor, host.idle_driver, kind, host.cgroup)
        rows.append([name, *(each or NONE for each in facts), share])
    columns = ("host", "kernel", "CPU", "governor", "idle driver", "virtual", "cgroup", "worker")
    return Table("", columns, [Section("", rows)], ["worker: what this tool's own process took of a core meanwhile"])


def _ratios(effects: Sequence[Effect]) -> Table:
    """A row a host, a column an arm."""
    names = list(dict.fromkeys(name for each in effects for name in each.hosts))
    rows = [[name, *_each(effects, partial(_host, name))] for name in names]
    if len(names) > 1:
        rows.append(["mean over hosts", *_each(effects, lambda each: ratio_with(each.mean, each.interval))])
        rows.append(["worst host", *_each(effects, lambda each: each.worst)])
    first = effects[0]
    title = f"{asked(first.requested_ns)}, {short_condition(first.condition)}: × stock"
    return Table(title, ("", *(each.arm for each in effects)), [Section("", rows)])


def _each(effects: Sequence[Effect], show: Callable[[Effect], str]) -> list[str]:
    return [show(each) for each in effects]


def _host(name: str, effect: Effect) -> str:
    own = effect.hosts.get(name)
    return NONE if own is None else ratio_with(own.ratio, own.interval)
