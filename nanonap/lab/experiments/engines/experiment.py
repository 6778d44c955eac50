"""What each way to limit CPU can set on this machine, and whether a group in use takes another quota."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from nanonap.lab.experiments.engines.probe import ASKED, CHANGED
from nanonap.lab.experiments.kit.base import Experiment, Outcome, Row, Setting, Verdict
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.quota.choose import BACKEND_NAMES, backend_class, working
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
_TIMEOUT_S = 180.0
_CLAIMED = ("quota", "weight", "memory", CHANGED)
#: Where a backend does not work: what shows the same elsewhere.
_INSTEAD = {
    "cgroup2": "--backend guest has cgroup v2",
    "cgroup1": "a machine with the cpu controller in a v1 hierarchy has it",
    "systemd": "--backend guest-systemd has it",
    "systemd-user": "--backend guest-systemd has systemd, as root",
    "docker": "cgroup1, cgroup2 and the guests write the same files that it does",
    "podman": "cgroup1, cgroup2 and the guests write the same files that it does",
    "guest": "cgroup2 on a machine that has it",
    "guest-systemd": "systemd on a machine that has it",
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
        """Every backend that works is tried in groups of its own."""
        for name in BACKEND_NAMES:
            if name in ("auto", "none"):
                continue
            setting.stop.check()
            setting.say(name)
            if setting.quick and backend_class(name).slow and name != setting.backend.name:
                remedy = f"leave --quick out, or `--backend {name}`"
                yield {"backend": name, "reason": "not tried: it boots a machine", "remedy": remedy}
                continue
            try:
                yield from _tried(setting, name)
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
    cells = [[row["ability"], row["asked"], row["read_back"] or f"no: {row['reason']}"] for row in rows.to_dicts()]
    return Section(heading, cells)


def _tried(setting: Setting, name: str) -> list[Row]:
    backend = setting.backend if name == setting.backend.name else working(name)
    try:
        rows = replace(setting, backend=backend).call_beside_groups(
            "nanonap.lab.experiments.engines.probe:tried", _TIMEOUT_S
        )
        return [{"backend": name, "mark": backend.mark, "driver": backend.driver, **row} for row in rows]
    finally:
        if backend is not setting.backend:
            backend.close()


def _verdict(name: str, rows: pl.DataFrame) -> Verdict:
    claim = f"E1 {name}"
    says = "quota, cpu.weight and memory.max can be set, and the quota of a group in use"
    tried = rows.filter(pl.col("ability").is_not_null())
    if tried.is_empty():
        reason, remedy = rows.select("reason", "remedy").row(0)
        return Verdict(claim, says, "cannot be tested here", f"{reason}; {remedy}; else: {_INSTEAD[name]}")
    can = {row["ability"]: bool(row["accepted"]) for row in tried.to_dicts()}
    claimed = [can.get(ability, False) for ability in _CLAIMED]
    outcome: Outcome = "holds" if all(claimed) else "holds in part" if any(claimed) else "refuted"
    order = [each for each in (*ASKED, CHANGED) if each in can]
    able, unable = ([each for each in order if can[each] is wanted] for wanted in (True, False))
    sentence = f"set and read back: {', '.join(able) or 'nothing'}"
    if unable:
        reasons = dict(tried.filter(~pl.col("accepted")).select("ability", "reason").rows())
        sentence += "; not: " + "; ".join(f"{each} ({reasons[each]})" for each in unable)
    return Verdict(claim, says, outcome, sentence, {"can": can})


def _claimed(data: pl.DataFrame) -> Verdict:
    """The environment of the claim: docker, with cgroup v2 and systemd as the cgroup driver."""
    says = "the environment is Docker on cgroup v2 by systemd, with cpu.weight and memory.max settable"
    docker = data.filter(pl.col("backend") == "docker", pl.col("ability").is_not_null())
    versions = docker["version"].drop_nulls().unique().to_list()
    drivers = docker["driver"].drop_nulls().unique().to_list()
    if versions == [2] and drivers == ["systemd"]:
        return replace(_verdict("docker", docker), claim="E1", says=says)
    parts = data.filter(pl.col("version") == 2, pl.col("accepted"))["backend"].unique(maintain_order=True).to_list()
    driver = drivers[0] if drivers else "not known"
    here = "Docker does not work here"
    if versions:
        here = f"Docker works here on cgroup v{versions[0]}, its cgroup driver is {driver}, not systemd"
        if driver == "systemd":
            here = f"Docker works here on cgroup v{versions[0]}"
    half = f"cgroup v2 is tested by {', '.join(parts)}" if parts else "cgroup v2 is tested by --backend guest"
    remedy = "a machine with cgroup v2 whose Docker daemon runs with its systemd driver can test it"
    return Verdict("E1", says, "cannot be tested here", f"{here}; {half}; {remedy}")
