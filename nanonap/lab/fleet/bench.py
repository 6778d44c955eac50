"""The same bench on every host at once: begun at most once on each, and fetched whatever was lost meanwhile."""

import json
import re
import secrets
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from distributed import Client, Future
from rich.markup import escape

from nanonap.base.errors import Interrupted, UsageError
from nanonap.base.files import write_text
from nanonap.base.paths import BUILD, PATCHED, RESULTS
from nanonap.base.terminal import COMMAND, messages
from nanonap.lab.fleet import hosted
from nanonap.lab.fleet.client import Fleet, addresses, ask, back, check_same, close, described, measuring
from nanonap.lab.fleet.errors import HostsMissing
from nanonap.lab.fleet.hosted import Described
from nanonap.lab.fleet.jobs import Answer, Asked
from nanonap.lab.fleet.report import ABOUT, About, FleetReport, Measured, read_report
from nanonap.lab.fleet.serving import KEY
from nanonap.lab.fleet.settings import RESOURCE
from nanonap.lab.main import patch_missing
from nanonap.lab.plan.arms import discover, select, sha256_of
from nanonap.lab.plan.conditions import conditions, requested_durations
from nanonap.lab.quota.choose import backend_class
from nanonap.lab.store.write import check_folder, made_folder
from nanonap.toolchain.progress import progress_bar

#: A host that is away for longer is missing; shorter than the lease of its job.
AWAY_S = 300.0
_POLL_S = 0.25
_FETCH_S = 120
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass
class Ordered:
    """A host's job: its task now, and how often it was taken over from another."""

    asked: Asked
    future: Future[Answer]
    adopted: int = 0


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
    tree = measured_files(options, build_root, patched_root)
    folder = made_folder(results / "fleet", out)
    client = fleet.connect()
    campaign = None
    try:
        there = described(client)
        able = measuring(client)
        there = [each for each in there if each.name in able]
        if hosts is not None:
            there = [each for each in there if each.name in hosts]
        check_same(there)
        missing = {name: "it is not in the fleet" for name in hosts or () if name not in {each.name for each in there}}
        number = f"{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}-{secrets.token_hex(3)}"
        campaign = Campaign(fleet, client, folder, number, missing, away_s)
        campaign.begin([each for each in there if _fits(each, missing)], options, tree)
        campaign.collect()
    except KeyboardInterrupt as error:
        kept = campaign.stop() if campaign is not None else 0
        raise Interrupted(f"interrupted; of {kept} hosts the result is kept in {folder}") from error
    finally:
        # A client that goes lets its tasks go, and each worker then ends what is left of its job.
        close(campaign.client if campaign is not None else client)
        if not any(folder.iterdir()):
            folder.rmdir()
    campaign.keep()
    return read_report(folder), folder


def measured_files(options: dict[str, Any], build_root: Path, patched_root: Path) -> dict[str, Path]:
    """What the bench will run on each host: its place in a job's folder → the file here. Checks the options, too.

    Raises UsageError, NothingBuilt, and what patching can raise.
    """
    size, go = options["size"], options["go"]
    conditions(options["quota"], options["load"], options["gomaxprocs"], options["named"], every_cost=size == "full")
    requested_durations(options["requested"])
    target = backend_class(options["backend"]).target
    names = select(options["arms"], every=size == "full", named=options["named"])
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


class Campaign:
    """One bench on many hosts."""

    def __init__(
        self, fleet: Fleet, client: Client, folder: Path, number: str, missing: dict[str, str], away_s: float
    ) -> None:
        """``missing``: hosts that are known to have no result."""
        self.client = client
        self._fleet, self._folder, self._number, self._away_s = fleet, folder, number, away_s
        self._missing, self._done = missing, dict[str, Measured]()
        self._ordered: dict[str, Ordered] = {}
        self._command, self._started = "", datetime.now(UTC).isoformat(timespec="seconds")

    def begin(self, hosts: list[Described], options: dict[str, Any], tree: dict[str, Path]) -> None:
        """Send each host what it lacks, and order its job."""
        words = [f"--{name.replace('_', '-')} {value}" for name, value in options.items() if value not in (None, False)]
        self._command = " ".join([COMMAND, "fleet bench", *words])
        hashes = {place: sha256_of(path) for place, path in tree.items()}
        files = {hashes[place]: path for place, path in tree.items()}
        known = addresses(self.client)
        workers = [known[each.name] for each in hosts]
        for address, lacking in ask(self.client, hosted.missing, list(files), workers=workers).items():
            for sha256 in lacking:
                ask(self.client, hosted.put, sha256, files[sha256].read_bytes(), workers=[address])
        for host in hosts:
            asked = Asked(f"{self._number}-{host.name}", options, hashes)
            self._ordered[host.name] = Ordered(asked, self._submit(asked, known[host.name], 0))

    def _submit(self, asked: Asked, address: str, attempt: int) -> Future[Answer]:
        return self.client.submit(
            hosted.measure, asked, key=f"{KEY}{asked.number} {attempt}", workers=[address], allow_other_workers=False,
            resources={RESOURCE: 1}, retries=0, pure=False,
        )  # fmt: skip

    def collect(self) -> None:
        """Wait for every job, and take over those whose task was lost."""
        with progress_bar() as bar:
            task = bar.add_task("hosts", total=len(self._ordered))
            while self._ordered:
                for name, each in list(self._ordered.items()):
                    if each.future.status != "pending":
                        self._settle(name, each)
                bar.update(task, completed=len(self._done) + len(self._missing))
                time.sleep(_POLL_S)

    def _settle(self, name: str, ordered: Ordered) -> None:
        """Keep a result and let the host's copy go; adopt the job where no result could be had."""
        answer = None
        if ordered.future.status == "finished":
            try:
                answer = ordered.future.result(timeout=_FETCH_S)
            except Exception as error:
                self._say(f"{name}: its result was lost on the way ({type(error).__name__}); it is asked again")
        if answer is None:
            self._adopt(name, ordered)
            return
        self._take(name, ordered, answer)
        del self._ordered[name]
        ordered.future.release()

    def _take(self, name: str, ordered: Ordered, answer: Answer) -> None:
        if answer.bundle is None:
            said = answer.error.strip().splitlines()
            self._missing[name] = answer.lost or f"status {answer.status}: {said[-1] if said else 'it said nothing'}"
            return
        (self._folder / f"{name}.zip").write_bytes(answer.bundle)
        followed_s = answer.followed_ns / 1e9
        self._done[name] = Measured(
            bundle=f"{name}.zip",
            adopted=ordered.adopted,
            worker_share=answer.worker_cpu_ns / answer.followed_ns,
            worker_switches_per_s=round(answer.worker_switches / followed_s, 2),
        )

    def _adopt(self, name: str, ordered: Ordered) -> None:
        """Order that the job be followed on, as soon as a worker of that name is there."""
        self._say(f"{name}: lost; what it has measured is fetched when it is back")
        self.client, address = back(self._fleet, self.client, name, time.monotonic() + self._away_s)
        if address is None:
            self._missing[name] = f"it was lost, and not back within {self._away_s:.0f} s"
            del self._ordered[name]
            return
        ordered.adopted += 1
        ordered.asked = replace(ordered.asked, adopt=True)
        ordered.future = self._submit(ordered.asked, address, ordered.adopted)

    def stop(self) -> int:
        """Let all jobs go that have no result yet, which ends them; how many hosts have one."""
        for each in self._ordered.values():
            each.future.release()
        return self.keep("interrupted")

    def keep(self, rest: str | None = None) -> int:
        """Write fleet.json; hosts without a result are missing, of that reason. How many have one."""
        self._missing |= dict.fromkeys(self._ordered, rest or "")
        if self._done or rest is None:
            about = About(
                command=self._command, started_utc=self._started, versions=hosted.versions(), hosts=self._done,
                missing=self._missing,
            )  # fmt: skip
            write_text(self._folder / ABOUT, json.dumps(msgspec.to_builtins(about), indent=1) + "\n")
        return len(self._done)

    def _say(self, text: str) -> None:
        messages().print(f"[yellow]note[/] {escape(text)}", highlight=False)


def check_missing(report: FleetReport) -> None:
    """Raises HostsMissing where a host has no result."""
    if report.about.missing:
        raise HostsMissing(f"no result of {', '.join(report.about.missing)}: the report says why of each")


def _fits(host: Described, missing: dict[str, str]) -> bool:
    """Whether the programs run there, and its name can be a file's."""
    if host.facts["arch"] != "x86_64":
        missing[host.name] = f"its processor is {host.facts['arch']}, and the bench's programs are for x86_64"
    elif not NAME.fullmatch(host.name):
        missing[host.name] = "its name is no name; start its worker with --name"
    return host.name not in missing


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
