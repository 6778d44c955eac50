"""The tasks that try the project itself: matrix, corpus, bench-patcher, fuzz, test, lint."""

import sys
from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

from doors.shared import JSON_HELP, front_door, show_json, whole


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
