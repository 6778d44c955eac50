"""The measuring side's two doors: run a bench, redraw a result."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.markup import escape

from bench.arms import Arm, discover, select
from bench.campaign import Campaign
from bench.conditions import Condition, conditions, requested_durations
from bench.errors import QuotaUnavailable
from bench.host import cpus_allowed
from bench.quota.choose import Choice, choose
from bench.quota.limits import Limits, parse_memory, parse_weight
from bench.quota.sampler import sampler_program
from bench.record import Record, new_folder, point_latest
from bench.result import load as load_result
from bench.schedule import MODES, make_schedule
from nanonap import __version__
from nanonap.errors import Interrupted, NanonapError, UsageError
from nanonap.paths import BUILD, PATCHED, PROJECT, RESULTS
from nanonap.terminal import messages
from toolchain.wheels import DEFAULT_GO

#: Backends whose programs run in a container or a machine of their own.
_ELSEWHERE = ("docker", "podman", "guest", "guest-systemd")
FORMATS = ("html", "json", "markdown", "benchfmt")


def run_bench(
    mode: str = "default",
    arms: str | None = None,
    requested: str | None = None,
    quota: str | None = None,
    load: str | None = None,
    backend: str = "auto",
    seed: int | None = None,
    out: Path | None = None,
    go: str = DEFAULT_GO,
    as_json: bool = False,
    *,
    gomaxprocs: str | None = None,
    named: str | None = None,
    cpu_weight: str | None = None,
    memory_max: str | None = None,
    build_root: Path = BUILD,
    patched_root: Path = PATCHED,
    results: Path = RESULTS,
) -> Path:
    """Measure, write a result folder, show it on stdout (tables, or one JSON document); returns the folder.

    ``mode`` is quick, default or full; the texts are those of ``invoke bench``'s options. What was measured before
    Ctrl-C, SIGTERM or an error is kept, marked partial, and shown. Raises NanonapError: UsageError, NothingBuilt,
    QuotaUnavailable, RunFailed, OutputExists, OutputNotWritable, DiskFull, Interrupted.
    """
    started_ns = time.monotonic_ns()
    if mode not in MODES:
        raise UsageError(f"no such mode: {mode}; there are {', '.join(MODES)}")
    wanted = conditions(quota, load, gomaxprocs, named, every_cost=mode == "full")
    durations = requested_durations(requested)
    weight = None if cpu_weight is None else parse_weight(cpu_weight)
    memory_bytes = None if memory_max is None else parse_memory(memory_max)
    left_out: list[str] = []
    named_all = arms is None or arms == "all"
    names = select(arms, every=mode == "full")
    chosen = discover(build_root, patched_root, go, names=names, notes=left_out if named_all else None)
    seed = secrets.randbelow(2**31) if seed is None else seed
    options = {"arms": arms, "requested": requested, "conditions": named, "quota": quota, "load": load}
    options |= {"gomaxprocs": gomaxprocs, "cpu-weight": cpu_weight, "memory-max": memory_max, "seed": str(seed)}
    if go != DEFAULT_GO:
        options["go"] = go
    if backend != "auto":
        options["backend"] = backend
    try:
        wants = [Limits(condition.quota, weight, memory_bytes) for condition in wanted]
        choice = choose(backend if backend != "auto" or any(each.limited for each in wants) else "none")
        try:
            usable, notes = _usable(choice, dict(zip(wanted, wants, strict=True)))
            chosen = _inside(choice, chosen, left_out, named=not named_all)
            notes = _told(left_out) + notes
            schedule = make_schedule(
                chosen, usable, durations, MODES[mode], seed, weight=weight, memory_bytes=memory_bytes
            )
            about = {
                "command": _command(mode, options),
                "mode": mode,
                "seed": seed,
                "go_version": go,
                "requested_ns": list(durations),
                "blocks_planned": len(schedule),
                **_about(chosen, usable, choice, notes),
            }
            record = Record(new_folder(results, out), about)
            sampler = _sampler(usable, notes)
            campaign = Campaign(MODES[mode], schedule, choice.backend, cpus_allowed(), record, started_ns, sampler)
            failure = campaign.measure()
        finally:
            choice.backend.close()
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted before the first run; nothing was measured") from error
    return _finish(record, failure, as_json, latest=out is None)


def _finish(record: Record, failure: NanonapError | None, as_json: bool, *, latest: bool) -> Path:
    """Keep and show what was measured; raise what cut it short."""
    folder = record.folder
    if failure is not None and not record.runs:
        record.discard()
        raise failure
    if failure is not None:
        record.about["notes"].append(f"cut short: {failure}")
    try:
        from bench import report, terminal  # noqa: PLC0415 - SciPy and Matplotlib: no error should wait for them

        record.finish(partial=failure is not None)
        summary = report.write_report(folder)
        if latest:
            point_latest(folder)
    except KeyboardInterrupt as error:
        kept = f"{len(record.runs)} runs are kept in {folder}; `invoke report {folder}` draws them"
        raise Interrupted(f"interrupted while drawing; {kept}") from error
    if as_json:
        print(report.as_json({"result": str(folder), **summary}), end="")
    else:
        terminal.print_summary(summary, f"report: {folder / 'report.html'}")
    if isinstance(failure, Interrupted):
        raise Interrupted(f"{failure}; {len(record.runs)} runs are kept in {folder}, marked partial") from failure
    if failure is not None:
        raise failure
    return folder


def redraw(folder: Path, form: str = "html") -> None:
    """Redraw a result from its raw data: ``html`` writes summary, figures and page into the folder and prints the
    page's path; ``json``, ``markdown`` and ``benchfmt`` print to stdout and write nothing.

    Raises UsageError, BadResult, OutputNotWritable, DiskFull.
    """
    if form not in FORMATS:
        raise UsageError(f"no such format: {form}; there are {', '.join(FORMATS)}")
    from bench import report  # noqa: PLC0415 - as above

    if form == "html":
        report.write_report(folder)
        print(folder / "report.html")
        return
    if form == "benchfmt":
        print(report.as_benchfmt(load_result(folder)), end="")
        return
    summary = report.summarize(folder)
    print(report.as_json(summary) if form == "json" else report.as_markdown(summary), end="")


def _usable(choice: Choice, wanted: dict[Condition, Limits]) -> tuple[list[Condition], list[str]]:
    """The conditions that can be had here, and a note for each that cannot. Raises QuotaUnavailable for none."""
    refusals: dict[Limits, QuotaUnavailable] = {}
    for limits in dict.fromkeys(each for each in wanted.values() if each.limited):
        refusal = choice.refusal(limits)
        if refusal is not None:
            refusals[limits] = refusal
    usable = [condition for condition, limits in wanted.items() if limits not in refusals]
    if not usable:
        raise next(iter(refusals.values()))
    return usable, _told([f"quota {limits} is not measured: {refusal}" for limits, refusal in refusals.items()])


def _inside(choice: Choice, arms: list[Arm], notes: list[str], *, named: bool) -> list[Arm]:
    """The arms that can be run where the backend runs them. Raises UsageError for one that is named and cannot."""
    if choice.backend.name not in _ELSEWHERE:
        return arms
    foreign = [arm.name for arm in arms if arm.foreign]
    if foreign and named:
        raise UsageError(f"--arms {', '.join(foreign)}: not with backend {choice.backend.name}; it runs one program")
    notes += [f"arm {name} is left out: backend {choice.backend.name} runs one program" for name in foreign]
    return [arm for arm in arms if not arm.foreign]


def _told(notes: list[str]) -> list[str]:
    for note in notes:
        messages().print(f"[yellow]note[/] {escape(note)}", highlight=False)
    return notes


def _sampler(usable: Sequence[Condition], notes: list[str]) -> Path | None:
    """The sampler's program, where there is a quota to be watched; without a toolchain for it a note instead."""
    if not any(condition.quota.limited for condition in usable):
        return None
    try:
        return sampler_program()
    except NanonapError as error:
        notes.append(f"cpu.stat is not sampled: {error}")
        return None


def _about(arms: Sequence[Arm], usable: Sequence[Condition], choice: Choice, notes: list[str]) -> dict[str, Any]:
    return {
        "tool": __version__,
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "gomaxprocs": cpus_allowed(),
        "backend": {"name": choice.backend.name, "why": choice.why, "mark": choice.backend.mark},
        "conditions": [str(condition) for condition in usable],
        "blocks_done": 0,
        "arms": [_arm(arm) for arm in arms],
        "notes": notes,
        "syscalls": {},
        "syscalls_by_load": {},
    }


def _arm(arm: Arm) -> dict[str, Any]:
    return {**asdict(arm), "path": _shown(str(arm.path)), "before": [_shown(word) for word in arm.before]}


def _shown(word: str) -> str:
    """A word of a command without the folder of the project: a result may be published."""
    path = Path(word)
    if not path.is_absolute():
        return word
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else path.name


def _command(mode: str, options: dict[str, str | None]) -> str:
    words = ["invoke", "bench", *([] if mode == "default" else [f"--{mode}"])]
    return " ".join(words + [f"--{name} {value}" for name, value in options.items() if value is not None])
