"""What each way to limit CPU can set on this machine, and whether a group in use takes another quota."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import polars as pl

from nanonap.lab.experiments.engines.article import SYSTEMD, WORDS
from nanonap.lab.experiments.engines.probe import CHANGED
from nanonap.lab.experiments.kit.base import Experiment, Outcome, Row, Setting, Verdict
from nanonap.lab.experiments.kit.copies import STOCK, patched_copies
from nanonap.lab.ground.errors import QuotaUnavailable, RunFailed
from nanonap.lab.plan.arms import Arm
from nanonap.lab.plan.conditions import Condition, parse_load
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.choose import BACKEND_NAMES, backend_class, working
from nanonap.lab.quota.limits import parse_quota
from nanonap.lab.run.runner import measure
from nanonap.lab.show.tables import Section, Table

SCHEMA = {
    "backend": pl.String,
    "ability": pl.String,  # null where the backend does not work at all
    "asked": pl.String,
    "read_back": pl.String,  # from the kernel's files
    "version": pl.Int64,  # of the cgroup
    "accepted": pl.Boolean,
    "reason": pl.String,
    "remedy": pl.String,
    "mark": pl.String,
    "driver": pl.String,  # that Docker makes cgroups by: systemd, cgroupfs
}
_TIMEOUT_S = 600.0
_CLAIMED = ("quota", "weight", "memory", CHANGED)
#: What runs on each backend, stock and patched, beside a busy thread of its own: the quota must stop it.
ARMS = (STOCK, "netpoll+slack1")
#: So little that a machine gives more even while it is busy, and the quota is what stops it.
_LIMITED = Condition(parse_quota("5%"), parse_load("burn:1"))
_PLAN, _MAX_TIME_NS = ((10_000_000, 1_000),), 1_500_000_000


def runs_in(arm: str) -> str:
    """The ability that an arm's program runs there and is stopped."""
    return f"{arm} stopped"


#: What E1 needs beside what is asked of every backend: Docker's own words, and programs.
_ITS_OWN = (*WORDS, *map(runs_in, ARMS))
#: Where a backend does not work: what shows the same elsewhere.
_INSTEAD = {
    "cgroup2": "--backend guest has cgroup v2",
    "cgroup1": "a machine with the cpu controller in a v1 hierarchy has it",
    "systemd": "--backend guest-systemd has it",
    "systemd-user": "--backend guest-systemd has systemd, as root",
    "docker": "--backend guest-docker has it",
    "podman": "cgroup1, cgroup2 and the guests write the same files that it does",
    "guest": "cgroup2 on a machine that has it",
    "guest-backports": "cgroup2 on a machine with such a kernel",
    "guest-systemd": "systemd on a machine that has it",
    "guest-docker": "docker on a machine that has it, with systemd and cgroup v2",
}


class Engines(Experiment):
    """Claim E1."""

    name = "engines"
    limits = False
    question = "What can be set by cgroup files, systemd and container engines here, and changed while in use?"
    expects = (
        "quota, period, cpu.weight and memory.max by all of them, burst by cgroup files alone (systemd and container "
        "engines have no option for it); a new quota for a group in use by all: they write the same file"
    )

    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Every backend that works is tried in groups of its own; in a machine that is booted for it, its own alone."""
        names = [name for name in BACKEND_NAMES if name != "auto" and backend_class(name).limits]
        with patched_copies(setting, ARMS) as arms:
            for name in [setting.backend.name] if setting.backend.own_kernel else names:
                setting.stop.check()
                setting.say(name)
                if setting.quick and backend_class(name).slow and name != setting.backend.name:
                    remedy = f"leave --quick out, or `--backend {name}`"
                    yield {"backend": name, "reason": "not tried: it boots a machine", "remedy": remedy}
                    continue
                try:
                    yield from _tried(setting, name, list(arms.values()))
                except QuotaUnavailable as refusal:
                    yield {"backend": name, "reason": refusal.reason, "remedy": refusal.remedy}

    def judge(self, data: pl.DataFrame) -> list[Verdict]:
        """A verdict a backend, and one on the environment that is claimed."""
        names = data["backend"].unique(maintain_order=True).to_list()
        return [*(_verdict(name, data.filter(pl.col("backend") == name)) for name in names), _claimed(data)]

    def tables(self, data: pl.DataFrame) -> Sequence[Table]:
        """A section a backend that works; the others below."""
        works = data.filter(pl.col("ability").is_not_null())
        sections = [_section(name, rows) for (name,), rows in works.group_by(["backend"], maintain_order=True)]
        others = data.filter(pl.col("ability").is_null()).to_dicts()
        marks = works.filter(pl.col("mark").is_not_null()).select("backend", "mark").unique(maintain_order=True)
        notes = [f"{name}: {mark}" for name, mark in marks.iter_rows()]
        notes += [f"{row['backend']}: {row['reason']}; {row['remedy']}" for row in others]
        return [Table("What can be set", ("what", "asked", "read back"), sections, notes)]


def _section(name: object, rows: pl.DataFrame) -> Section:
    versions = rows["version"].drop_nulls().to_list()
    heading = f"{name} (cgroup v{versions[0]})" if versions else str(name)
    shown = [(row["read_back"] or f"no: {row['reason']}").partition(";")[0] for row in rows.to_dicts()]
    cells = [list(row) for row in zip(rows["ability"], rows["asked"], shown, strict=True)]
    return Section(heading, cells)


def _tried(setting: Setting, name: str, arms: Sequence[Arm]) -> list[Row]:
    backend = setting.backend if name == setting.backend.name else working(name)
    try:
        here = replace(setting, backend=backend)
        rows = here.call_beside_groups("nanonap.lab.experiments.engines.probe:tried", _TIMEOUT_S)
        rows += [_stopped(here, arm) for arm in arms]
        return [{"backend": name, "mark": backend.mark, **row} for row in rows]
    finally:
        if backend is not setting.backend:
            backend.close()


def _stopped(setting: Setting, arm: Arm) -> Row:
    row = {"ability": runs_in(arm.name), "asked": str(_LIMITED.quota)}
    try:
        done = measure(Run(0, arm, _LIMITED, _PLAN, _MAX_TIME_NS, seed=1), 2, setting.backend, setting.stop)
    except (RunFailed, QuotaUnavailable) as error:
        return {**row, "accepted": False, "reason": str(error), "remedy": "see what it says"}
    requested, actual = done.output.samples[0], done.output.samples[1]
    counted, early = done.throttling, int((actual < requested).sum())
    throttled = "not counted" if counted is None else f"in {counted.nr_throttled} of {counted.nr_periods} periods"
    return {
        **row,
        "read_back": f"{done.effective.quota}, {throttled}; of {len(actual)} sleeps {early} too short",
        "accepted": counted is not None and counted.nr_throttled > 0 and not early,
        "reason": f"it was not throttled, or slept too short: {throttled}, {early} too short",
    }


def _verdict(name: str, rows: pl.DataFrame, claimed: Collection[str] = _CLAIMED) -> Verdict:
    claim = f"E1 {name}"
    says = "quota, cpu.weight and memory.max can be set, and the quota of a group in use"
    tried = rows.filter(pl.col("ability").is_not_null())
    if tried.is_empty():
        reason, remedy = rows.select("reason", "remedy").row(0)
        return Verdict(claim, says, "cannot be tested here", f"{reason}; {remedy}; else: {_INSTEAD[name]}")
    can = {row["ability"]: bool(row["accepted"]) for row in tried.to_dicts()}
    found = [can.get(ability, False) for ability in claimed]
    outcome: Outcome = "holds" if all(found) else "holds in part" if any(found) else "refuted"
    able, unable = ([each for each in can if can[each] is wanted] for wanted in (True, False))
    sentence = f"set and read back: {', '.join(able) or 'nothing'}"
    if unable:
        reasons = dict(tried.filter(~pl.col("accepted")).select("ability", "reason").rows())
        sentence += "; not: " + "; ".join(f"{each} ({reasons[each]})" for each in unable)
    return Verdict(claim, says, outcome, sentence, {"can": can})


def _claimed(data: pl.DataFrame) -> Verdict:
    """The environment of the claim: Docker, with cgroup v2 and systemd as the cgroup driver."""
    says = "the environment is Docker on cgroup v2 by systemd, with cpu.weight and memory.max settable"
    docker = data.filter(pl.col("driver").is_not_null(), pl.col("ability").is_not_null())
    wanted = docker.filter(pl.col("driver") == SYSTEMD, pl.col("version") == 2)["backend"].to_list()
    if wanted:
        return replace(_environment(data.filter(pl.col("backend") == wanted[0])), claim="E1", says=says)
    versions, drivers = (docker[name].drop_nulls().to_list() for name in ("version", "driver"))
    parts = data.filter(pl.col("version") == 2, pl.col("accepted"))["backend"].unique(maintain_order=True).to_list()
    here = "Docker does not work here"
    if versions:
        here = f"Docker works here on cgroup v{versions[0]}, its cgroup driver is {drivers[0]}"
    half = f"cgroup v2 is tested by {', '.join(parts)}" if parts else "cgroup v2 is tested by --backend guest"
    return Verdict("E1", says, "cannot be tested here", f"{here}; {half}; --backend guest-docker has all of it")


def _environment(rows: pl.DataFrame) -> Verdict:
    own = pl.col("ability").is_in(_ITS_OWN)
    whole = _verdict(rows["backend"][0], rows, (*_CLAIMED, *_ITS_OWN))
    told = [
        f"{row['ability']} ({row['read_back'] if row['accepted'] else 'no: ' + row['reason']})"
        for row in rows.filter(own).to_dicts()
    ]
    common = _verdict(rows["backend"][0], rows.filter(~own)).sentence
    head = "the daemon's driver is systemd, on cgroup v2"
    start = "of the programs' periods some are their start's by the engine"
    return replace(whole, sentence=f"{head}; {common}; {', '.join(told)}; {start}")
