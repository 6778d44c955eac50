"""The measuring side's two doors: run a bench, redraw a result."""

import contextlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.markup import escape

from nanonap import __version__
from nanonap.base.errors import Interrupted, NanonapError, UsageError
from nanonap.base.paths import BUILD, PATCHED, PROJECT, RESULTS
from nanonap.base.terminal import COMMAND, command, messages
from nanonap.lab.campaign import Campaign
from nanonap.lab.ground.errors import QuotaUnavailable, RunFailed
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.plan.arms import Arm, discover, select, suffix_of, unpatched
from nanonap.lab.plan.conditions import PRIMARY, Condition, conditions, requested_durations
from nanonap.lab.plan.schedule import SIZES, Run, make_schedule
from nanonap.lab.quota.above import above_backend
from nanonap.lab.quota.above_limit import refuse_before, refuse_inside
from nanonap.lab.quota.choose import Choice, backend_class, choose
from nanonap.lab.quota.limits import Limits, parse_memory, parse_weight
from nanonap.lab.quota.none import NoBackend
from nanonap.lab.quota.sampler import sampler_program
from nanonap.lab.run.runner import measure
from nanonap.lab.store.read import load as load_result
from nanonap.lab.store.runs import SCHEMA, BackendUsed, Bench
from nanonap.lab.store.write import ResultWriter, check_folder, new_folder, point_latest
from nanonap.toolchain.patched import has_code, patch_as, variant_of
from nanonap.toolchain.targets import Target
from nanonap.toolchain.wheels import DEFAULT_GO
from patcher.errors import UnsupportedGo

_ELSEWHERE = "choose --backend none, cgroup1, cgroup2 or systemd, or leave the arm out"
FORMATS = ("html", "json", "markdown", "benchfmt")


def run_bench(
    size: str = "default",
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
    tables: bool = False,
    gomaxprocs: str | None = None,
    named: str | None = None,
    cpu_weight: str | None = None,
    memory_max: str | None = None,
    inside_limit: bool = False,
    build_root: Path = BUILD,
    patched_root: Path = PATCHED,
    results: Path = RESULTS,
) -> Path:
    """Measure, write a result folder, show it on stdout (in short, with ``tables`` in full, or as one JSON document);
    returns the folder.

    ``size`` is quick, default or full; the texts are those of ``invoke bench``'s options. What was measured before
    Ctrl-C, SIGTERM or an error is kept, marked partial, and shown. Inside a CPU limit that others set nothing is
    measured without ``inside_limit``.
    Raises NanonapError: UsageError, NothingBuilt, InsideLimit, QuotaUnavailable, RunFailed, OutputExists,
    OutputNotWritable, DiskFull, Interrupted.
    """
    started_ns = time.monotonic_ns()
    _check(size, out)
    wanted = conditions(quota, load, gomaxprocs, named, every_cost=size == "full")
    durations = requested_durations(requested)
    weight = None if cpu_weight is None else parse_weight(cpu_weight)
    memory_bytes = None if memory_max is None else parse_memory(memory_max)
    left_out: list[str] = []
    named_all = arms is None or arms == "all"
    target = backend_class(backend).target
    names = with_code(select(arms, every=size == "full", named=named), target, left_out, named=not named_all)
    patch_missing(build_root, patched_root, go, names, target)
    notes = left_out if named_all else None
    chosen = discover(build_root, patched_root, go, names=names, notes=notes, target=target)
    seed = secrets.randbelow(2**31) if seed is None else seed
    options = {"arms": arms, "requested": requested, "conditions": named, "quota": quota, "load": load}
    options |= {"gomaxprocs": gomaxprocs, "cpu-weight": cpu_weight, "memory-max": memory_max, "seed": str(seed)}
    if go != DEFAULT_GO:
        options["go"] = go
    if backend != "auto":
        options["backend"] = backend
    flags = ["--inside-limit"] if inside_limit else []
    try:
        wants = [Limits(condition.quota, weight, memory_bytes) for condition in wanted]
        elsewhere = backend_class(backend).elsewhere
        grouped = elsewhere or any(each.limited for each in wants)
        alone = not elsewhere and not all(each.limited for each in wants)
        refuse_before(backend, alone=alone, inside_limit=inside_limit)
        chosen = _inside(backend, chosen, left_out, named=not named_all)
        choice = choose(backend if backend != "auto" or grouped else "none")
        try:
            if grouped and choice.limits:
                refuse_inside([above_backend(choice.backend)], inside_limit)
            usable, notes = _usable(choice, dict(zip(wanted, wants, strict=True)))
            notes = _told(left_out) + notes
            schedule = make_schedule(
                chosen, usable, durations, SIZES[size], seed, weight=weight, memory_bytes=memory_bytes
            )
            sampler = _sampler(usable, notes)
            about = Bench(
                schema=SCHEMA,
                command=_command(size, options, flags),
                mode=size,
                seed=seed,
                go_version=go,
                requested_ns=list(durations),
                blocks_planned=len(schedule),
                tool=__version__,
                started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
                gomaxprocs=choice.backend.cpus,
                backend=BackendUsed(choice.backend.name, choice.why, choice.backend.mark),
                conditions=[str(condition) for condition in usable],
                blocks_done=0,
                arms=[_arm(arm) for arm in chosen],
                notes=notes,
            )
            writer = ResultWriter(new_folder(results, out), about)
            campaign = Campaign(SIZES[size], schedule, choice.backend, writer, started_ns, sampler)
            failure = campaign.measure()
        finally:
            choice.backend.close()
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted before the first run; nothing was measured") from error
    return _finish(writer, failure, as_json, latest=out is None, tables=tables)


def patch_missing(build_root: Path, patched_root: Path, go: str, names: Sequence[str], target: Target) -> None:
    """Patch what the arms ``names`` need and nobody has patched yet. Raises as ``patch_as``."""
    for built, variant, place in unpatched(build_root, patched_root, go, names, target):
        messages().print(f"{place}: not there yet, so it is patched now", highlight=False, markup=False)
        with contextlib.suppress(UnsupportedGo):  # the arm is not to be had, which is told below
            patch_as(built, variant_of(variant), place)


def _check(size: str, out: Path | None) -> None:
    """Raises UsageError, OutputExists, OutputNotWritable, before anything is done."""
    if size not in SIZES:
        raise UsageError(f"no such size: {size}; choose from {', '.join(SIZES)}")
    if out is not None:
        check_folder(out)


def _finish(writer: ResultWriter, failure: NanonapError | None, as_json: bool, *, latest: bool, tables: bool) -> Path:
    """Keep and show what was measured; raise what cut it short."""
    folder = writer.folder
    if failure is not None and not writer.runs:
        writer.discard()
        raise failure
    if failure is not None:
        writer.notes.append(f"cut short: {failure}")
    try:
        # SciPy and Matplotlib: no error should wait for them.
        from nanonap.lab.judge.disturbance import disturbed  # noqa: PLC0415 - scipy takes a second to import
        from nanonap.lab.show import first_screen, report, terminal  # noqa: PLC0415 - so does matplotlib

        writer.finish(partial=failure is not None)
        summary = report.write_report(folder)
        if latest:
            point_latest(folder)
    except KeyboardInterrupt as error:
        kept = f"{len(writer.runs)} runs are kept in {folder}; `{command('report', folder)}` draws them"
        raise Interrupted(f"interrupted while drawing; {kept}") from error
    if as_json:
        print(report.as_json({"result": str(folder), **msgspec.to_builtins(summary)}), end="")
    elif tables:
        terminal.print_summary(summary, str(folder / "report.html"))
    else:
        share = disturbed(writer.runs, summary.control)
        first_screen.print_first_screen(summary, share, folder, folder / "report.html")
    if isinstance(failure, Interrupted):
        raise Interrupted(f"{failure}; {len(writer.runs)} runs are kept in {folder}, marked partial") from failure
    if failure is not None:
        raise failure
    return folder


def redraw(folder: Path, form: str = "html") -> None:
    """Redraw a result from its raw data: ``html`` writes summary, plots and page into the folder and prints all
    tables and, as the last line, the page's path; ``json``, ``markdown`` and ``benchfmt`` print and write nothing.

    Raises UsageError, BadResult, OutputNotWritable, DiskFull.
    """
    if form not in FORMATS:
        raise UsageError(f"no such format: {form}; choose from {', '.join(FORMATS)}")
    from nanonap.lab.show import report  # noqa: PLC0415 - as above

    if form == "html":
        from nanonap.lab.show.terminal import print_summary  # noqa: PLC0415 - as above

        print_summary(report.write_report(folder), str(folder / "report.html"))
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


def with_code(names: tuple[str, ...], target: Target, notes: list[str], *, named: bool) -> tuple[str, ...]:
    """The arms whose strategies have code for the target. Raises UsageError for one that is named and has none."""
    kept = []
    for name in names:
        suffix = suffix_of(name)
        if suffix is None or has_code(variant_of(suffix), target):
            kept.append(name)
        elif named:
            raise UsageError(f"--arms {name}: its strategy has no code for {target.name}; leave it out")
        else:
            notes.append(f"arm {name} is left out: its strategy has no code for {target.name}")
    return tuple(kept)


def _inside(backend: str, arms: list[Arm], notes: list[str], *, named: bool) -> list[Arm]:
    """The arms that can be run where the backend runs them. Raises UsageError or RunFailed for one that is named and
    cannot.
    """
    kept = []
    for arm in arms:
        refusal = _refusal(backend, arm)
        if refusal is None:
            kept.append(arm)
        elif named:
            raise refusal
        else:
            notes.append(f"arm {arm.name} is left out: {refusal}")
    return kept


def _refusal(backend: str, arm: Arm) -> NanonapError | None:
    """Why an arm cannot be run here; None where it can. Injecting is tried, in a run of which nothing is kept."""
    if backend_class(backend).elsewhere and arm.foreign:
        why = "runs one program, which this host cannot inject" if arm.live else "runs one program"
        return UsageError(f"--arms {arm.name}: not with backend {backend}; it {why}: {_ELSEWHERE}")
    try:
        if arm.live:
            measure(Run(0, arm, PRIMARY, ((1_000, 1),), 0, seed=1), 1, NoBackend(), Stop())
    except RunFailed as error:
        return error
    return None


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


def _arm(arm: Arm) -> dict[str, object]:
    return {**asdict(arm), "path": _shown(str(arm.path)), "before": [_shown(word) for word in arm.before]}


def _shown(word: str) -> str:
    """A word of a command without the folder of the project: a result may be published."""
    path = Path(word)
    if not path.is_absolute():
        return word
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else path.name


def _command(size: str, options: dict[str, str | None], flags: Sequence[str]) -> str:
    words = [COMMAND, "bench", *([] if size == "default" else [f"--{size}"]), *flags]
    return " ".join(words + [f"--{name} {value}" for name, value in options.items() if value is not None])
