"""The same bench on every host at once."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from nanonap.base.errors import Interrupted, UsageError
from nanonap.base.files import write_text
from nanonap.base.paths import BUILD, PATCHED, RESULTS
from nanonap.base.terminal import COMMAND
from nanonap.lab.fleet import hosted
from nanonap.lab.fleet.campaign import AWAY_S, Campaign, Ended, Wanted, members
from nanonap.lab.fleet.client import Fleet, close
from nanonap.lab.fleet.errors import HostsMissing
from nanonap.lab.fleet.hosted import Described
from nanonap.lab.fleet.report import ABOUT, About, FleetReport, Measured, read_report
from nanonap.lab.main import patch_missing, with_code
from nanonap.lab.plan.arms import discover, select
from nanonap.lab.plan.conditions import conditions, requested_durations
from nanonap.lab.store.write import check_folder, made_folder
from nanonap.toolchain.targets import Target


def run_fleet_bench(
    fleet: Fleet,
    options: dict[str, Any],
    out: Path | None = None,
    *,
    hosts: list[str] | None = None,
    away_s: float = AWAY_S,
    build_root: Path = BUILD,
    patched_root: Path = PATCHED,
    results: Path = RESULTS,
) -> tuple[FleetReport, Path]:
    """Measure on every host (of ``hosts`` only, where given); (what came of it, its folder).

    ``options`` are those of ``nanonap.lab.main.run_bench``. Raises UsageError, NothingBuilt, FleetUnreachable,
    FleetDiffers, OutputExists, OutputNotWritable, Interrupted; not for hosts that are missing, which the report names.
    """
    if out is not None:
        check_folder(out)
    _check(options)
    folder = made_folder(results / "fleet", out)
    kept = _Kept(folder, options)
    client, campaign = fleet.connect(), None
    try:
        there = members(client, hosts)
        kept.missing |= there.missing
        targets = {name: there.target(name, options["backend"]) for name in there.hosts}
        trees = {each: measured_files(options, each, build_root, patched_root) for each in set(targets.values())}
        wanted = [Wanted(name, "bench", options, trees[target]) for name, target in targets.items()]
        campaign = Campaign(fleet, client, wanted, away_s)
        for ended in campaign.answers():
            kept.take(ended)
    except KeyboardInterrupt as error:
        if campaign is not None:
            campaign.stop()
            kept.write({each.host: "interrupted" for each in wanted})
        raise Interrupted(f"interrupted; of {len(kept.done)} hosts the result is kept in {folder}") from error
    finally:
        # A client that goes lets its tasks go, and each worker then ends what is left of its job.
        close(campaign.client if campaign is not None else client)
        if not any(folder.iterdir()):
            folder.rmdir()
    kept.write({})
    return read_report(folder), folder


def _check(options: dict[str, Any]) -> None:
    """Raises UsageError for options that no host would take."""
    full = options["size"] == "full"
    conditions(options["quota"], options["load"], options["gomaxprocs"], options["named"], every_cost=full)
    requested_durations(options["requested"])
    select(options["arms"], every=full, named=options["named"])


def measured_files(options: dict[str, Any], target: Target, build_root: Path, patched_root: Path) -> dict[str, Path]:
    """What a bench will run on hosts of one kind: its place in a job's folder → the file here.

    Raises UsageError, NothingBuilt, and what patching can raise.
    """
    names = select(options["arms"], every=options["size"] == "full", named=options["named"])
    names = with_code(names, target, [], named=options["arms"] not in (None, "all"))
    return files_of(names, options["go"], target, build_root, patched_root)


def files_of(
    names: Sequence[str], go: str, target: Target, build_root: Path = BUILD, patched_root: Path = PATCHED
) -> dict[str, Path]:
    """The same of these arms, patched if need be. Raises as ``measured_files``."""
    patch_missing(build_root, patched_root, go, names, target)
    arms = discover(build_root, patched_root, go, names=names, notes=[], target=target)
    built = build_root / go / f"{target.prefix}default"
    found = [built / "sleepbench", built / "slackexec"]
    for arm in arms:
        found += [arm.path, arm.path.with_name(f"{arm.path.name}.patch.json")]
    roots = {"build": build_root, "patched": patched_root}
    return {
        f"{name}/{path.relative_to(root)}": path
        for path in dict.fromkeys(found)
        for name, root in roots.items()
        if path.is_relative_to(root) and path.is_file()
    }


class _Kept:
    """A fleet's result as it comes in."""

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        """``missing``: host → why it has no result."""
        self.done, self.missing = dict[str, Measured](), dict[str, str]()
        self._folder, self._started = folder, datetime.now(UTC).isoformat(timespec="seconds")
        words = [f"--{name.replace('_', '-')} {value}" for name, value in options.items() if value not in (None, False)]
        self._command = " ".join([COMMAND, "fleet bench", *words])

    def take(self, ended: Ended) -> None:
        """A host's bundle, or why there is none."""
        name, answer = ended.wanted.host, ended.answer
        if answer.bundle is None:
            self.missing[name] = ended.problem or ""
            return
        (self._folder / f"{name}.zip").write_bytes(answer.bundle)
        followed_s = answer.followed_ns / 1e9
        self.done[name] = Measured(
            bundle=f"{name}.zip",
            adopted=ended.adopted,
            worker_share=answer.worker_cpu_ns / answer.followed_ns,
            worker_switches_per_s=round(answer.worker_switches / followed_s, 2),
        )

    def write(self, rest: dict[str, str]) -> None:
        """fleet.json; the hosts of ``rest`` without a result are missing, of that reason."""
        missing = {name: why for name, why in (rest | self.missing).items() if name not in self.done}
        if self.done or not rest:
            about = About(
                command=self._command, started_utc=self._started, versions=hosted.versions(), hosts=self.done,
                missing=missing,
            )  # fmt: skip
            write_text(self._folder / ABOUT, json.dumps(msgspec.to_builtins(about), indent=1) + "\n")


def check_missing(report: FleetReport) -> None:
    """Raises HostsMissing where a host has no result."""
    if report.about.missing:
        raise HostsMissing(f"no result of {', '.join(report.about.missing)}: the report says why of each")


def as_json(report: FleetReport, folder: Path) -> dict[str, Any]:
    """The report as one document."""
    return {"result": str(folder), **msgspec.to_builtins(report)}


def hosts_json(hosts: list[Described], able: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """``fleet hosts`` as a document."""
    return [{**asdict(each), "abilities": able.get(each.name)} for each in hosts]


def check_hosts(text: str | None) -> list[str] | None:
    """The names in ``--only``. Raises UsageError."""
    if text is None:
        return None
    names = [each.strip() for each in text.split(",") if each.strip()]
    if not names:
        raise UsageError("--only names no host")
    return names
