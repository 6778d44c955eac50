"""The tasks that try the patcher: matrix, corpus, bench-patcher, fuzz."""

from functools import partial
from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

from nanonap.cli.shared import FLEET_HELP, FLEET_KEYS_HELP, JSON_HELP, fleet_of, front_door, show_json, whole


@task(
    help={
        "go": "Go releases, comma-separated, or `all` (default)",
        "mode": "build modes, comma-separated, or `all` (default; the large program in two releases only)",
        "arch": "the processor that the programs are built for: amd64 (default), or arm64, whose cells run in a guest",
        "again": "also run again what ran before with the same program and patcher",
        "markdown": "also write the table to this file, as a page",
        "fleet": FLEET_HELP,
        "keys": FLEET_KEYS_HELP,
        "json": JSON_HELP,
    }
)
@front_door
def matrix(
    _: Context,
    go: str = "all",
    mode: str = "all",
    arch: str = "amd64",
    again: bool = False,
    markdown: str | None = None,
    json: bool = False,
    fleet: str | None = None,
    keys: str | None = None,
) -> None:
    """Patch, prove, run and revert in every Go release and build mode (half an hour)."""
    from nanonap.toolchain.targets import target_named
    from nanonap.trials.matrix.main import matrix as run_matrix

    page = Path(markdown) if markdown else None
    target, spread = target_named(arch), fleet_of(fleet, keys)
    run_matrix(go, mode, again=again, as_json=json, markdown=page, target=target, fleet=spread)


@task(
    help={
        "go": "Go releases, comma-separated, or `all` (default)",
        "mode": "build modes, comma-separated; `crossing`: its wait lies in two pages (default: default,pie,crossing)",
        "count": "how often each process is injected and ejected (default 2000)",
        "kills": "how often the agent is killed while it changes a process (default 200)",
        "seed": "seed of the moments at which it is killed (default 1)",
        "arch": "the programs' processor: amd64 (default), or arm64, in an emulated machine, a hundred times as slow",
        "markdown": "also write the table to this file, as a page",
        "json": JSON_HELP,
    }
)
@front_door
def cycles(
    _: Context,
    go: str = "all",
    mode: str = "default,pie,crossing",
    count: str = "2000",
    kills: str = "200",
    seed: str = "1",
    arch: str = "amd64",
    markdown: str | None = None,
    json: bool = False,
) -> None:
    """Inject and eject busy processes, thousands of times, and kill the agent meanwhile (an hour)."""
    from nanonap.base.files import check_place
    from nanonap.trials.cycles.run import check_failed, run_cycles, show_cycles, write_page

    if markdown is not None:
        check_place(Path(markdown))
    numbers = (whole("count", count) or 0, whole("kills", kills) or 0, whole("seed", seed) or 0)
    results = run_cycles(go, mode, *numbers, arch)
    show_json({"cells": results}) if json else show_cycles(results)
    if markdown is not None:
        write_page(Path(markdown), results)
    check_failed(results)


@task(
    help={
        "nightly": "everything: all test binaries in full, all programs (20 minutes)",
        "only": "only these packages and programs, comma-separated, from either list",
        "strategy": "arms, comma-separated: netpoll+slack1 and live (default), netpoll, usleep, sleep, slack, or `all`",
        "go": "the Go release whose test binaries run (default 1.27.3)",
        "arch": "the programs' processor: amd64 (default), or arm64: other programs, and no tests, in a guest",
        "markdown": "also write the table to this file, as a page",
        "fleet": FLEET_HELP,
        "keys": FLEET_KEYS_HELP,
        "json": JSON_HELP,
    }
)
@front_door
def corpus(
    _: Context,
    nightly: bool = False,
    only: str | None = None,
    strategy: str = "netpoll+slack1,live",
    go: str = "1.27.3",
    arch: str = "amd64",
    markdown: str | None = None,
    json: bool = False,
    fleet: str | None = None,
    keys: str | None = None,
) -> None:
    """Run Go's own tests and other people's programs, stock and patched."""
    from nanonap.trials.corpus.run import run_corpus

    run_corpus(
        nightly=nightly,
        only=only,
        strategy=strategy,
        go=go,
        arch=arch,
        markdown=Path(markdown) if markdown else None,
        as_json=json,
        fleet=fleet_of(fleet, keys),
    )


@task(
    help={
        "binary": "a Go binary to measure with (default: the measured program, for either processor, and large)",
        "rounds": "runs of each command (default 15)",
        "images": "measure a container image of 300 MiB instead, in 3 rounds",
        "json": JSON_HELP,
    }
)
@front_door
def bench_patcher(
    _: Context, binary: str | None = None, rounds: str = "15", images: bool = False, json: bool = False
) -> None:
    """Measure the patcher's own time and memory, as ratios."""
    from nanonap.trials.image_speed import judge_image_speed, run_image_speed, show_image_speed
    from nanonap.trials.speed import judge, run_speed, show_speed

    if images:
        answer = run_image_speed()
        show_json(answer) if json else show_image_speed(answer)
        judge_image_speed(answer)
        return
    document = run_speed(Path(binary) if binary else None, whole("rounds", rounds) or 15)
    show_json(document) if json else show_speed(document)
    judge(document)


@task(
    help={
        "mutants": "how many damaged files to try, those of earlier runs among them (default 100000)",
        "seed": "seed of the damage: the same seed gives the same files (default 1)",
        "minutes": "stop after this many minutes; the next run goes on from there",
        "only": "try one damaged file again, by the number that a finding names",
        "arch": "the processor that the programs are built for: amd64 (default), or arm64",
        "images": "damage container images instead of binaries",
        "again": "also try again what was tried before with the same programs and patcher",
        "markdown": "also write the counts to this file, as a page",
        "fleet": FLEET_HELP,
        "keys": FLEET_KEYS_HELP,
        "json": JSON_HELP,
    }
)
@front_door
def fuzz(
    _: Context,
    mutants: str = "100000",
    seed: str = "1",
    minutes: str | None = None,
    only: str | None = None,
    arch: str = "amd64",
    images: bool = False,
    again: bool = False,
    markdown: str | None = None,
    json: bool = False,
    fleet: str | None = None,
    keys: str | None = None,
) -> None:
    """Try damaged binaries: each must end in one of our errors or in a correct patch."""
    from nanonap.base.errors import UsageError
    from nanonap.base.files import check_place
    from nanonap.toolchain.targets import target_named
    from nanonap.trials.fuzz.campaign import Campaign, run_fuzz
    from nanonap.trials.fuzz.show import check_found, document_of, show_fuzz, write_page

    page, number = Path(markdown) if markdown else None, whole("only", only)
    if page is not None:
        check_place(page)
        if images or number is not None:
            raise UsageError("--markdown: the page is of a campaign of binaries; leave --images and --only out")
    campaign = Campaign(whole("seed", seed) or 0, target_named(arch), images)
    if number is None:
        elsewhere = None
        if (spread := fleet_of(fleet, keys)) is not None:
            from nanonap.trials.fuzz.there import judged_there

            elsewhere = partial(judged_there, spread)
        count = whole("mutants", mutants) or 0
        tally = run_fuzz(campaign, count, whole("minutes", minutes), again=again, elsewhere=elsewhere)
    else:
        tally = campaign.one(number)
    show_json(document_of(campaign, tally)) if json else show_fuzz(campaign, tally)
    if page is not None:
        write_page(page, campaign, tally)
    check_found(tally)
