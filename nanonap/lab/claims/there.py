"""Experiments on the hosts of a fleet: on each host all that are asked for, one at a time, each begun at most once."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.markup import escape

from nanonap.base.errors import Interrupted, UsageError
from nanonap.base.terminal import messages
from nanonap.lab.claims.data import Source
from nanonap.lab.experiments.bundled import keep, measure
from nanonap.lab.experiments.main import make_experiment
from nanonap.lab.fleet.bench import files_of
from nanonap.lab.fleet.campaign import Campaign, Ended, Members, Wanted, members
from nanonap.lab.fleet.client import Fleet, close
from nanonap.lab.fleet.errors import FleetUnreachable
from nanonap.lab.ground.errors import BadResult
from nanonap.lab.main import with_code
from nanonap.toolchain.releases import NEWEST
from nanonap.toolchain.targets import Target


def run_there(
    fleet: Fleet, sources: Sequence[Source], results: Path, *, several: bool, quick: bool, inside_limit: bool
) -> list[tuple[Source, str]]:
    """Run each source on each host that measures, and keep what they give below ``results``, as ``run_experiment``.

    (a source, with its host where the fleet has several; why there is no result of it, or an empty word). Several
    hosts are refused unless ``several``. Raises UsageError, NothingBuilt, FleetUnreachable, FleetDiffers, Interrupted.
    """
    client, campaign, ran = fleet.connect(), None, list[tuple[Source, str]]()
    try:
        there = members(client)
        _check(there, several=several)
        named = {each.name: each for each in sources}
        options = {"quick": quick, "inside_limit": inside_limit}
        of_host = {name: name if len(there.hosts) > 1 else "" for name in there.hosts}
        wanted = []
        for host, each in itertools.product(there.hosts, sources):
            if lacking := _without_code(there.target(host, each.backend), each):
                ran.append((replace(each, host=of_host[host]), lacking))
            else:
                wanted.append(_wanted(there, host, each, options))
        campaign = Campaign(fleet, client, wanted)
        for ended in campaign.answers():
            source = replace(named[ended.wanted.what], host=of_host[ended.wanted.host])
            ran.append((source, _kept(ended, results / source.experiment, source.at)))
    except KeyboardInterrupt as error:
        if campaign is not None:
            campaign.stop()
        kept = sum(not problem for _, problem in ran)
        told = "" if quick else f"; the results of {kept} runs are kept in {results}"
        raise Interrupted(f"interrupted{told}") from error
    finally:
        close(campaign.client if campaign is not None else client)
    return ran


def _without_code(target: Target, source: Source) -> str:
    """Why an experiment cannot be run on a kind of host; else empty."""
    notes: list[str] = []
    with_code(make_experiment(source.experiment).arms, target, notes, named=False)
    return f"it cannot be run there: {'; '.join(notes)}" if notes else ""


def _kept(ended: Ended, results: Path, at: str) -> str:
    """Keep what a host sent; why there is nothing to keep, or an empty word. Raises DiskFull, OutputNotWritable."""
    if ended.answer.bundle is None:
        return ended.problem or ""
    try:
        keep(ended.answer.bundle, results, at)
    except BadResult as error:
        return str(error)
    return ""


def _check(there: Members, *, several: bool) -> None:
    """Tell who cannot measure. Raises UsageError, FleetUnreachable."""
    for name, why in there.missing.items():
        messages().print(f"[yellow]note[/] {escape(f'{name} measures nothing: {why}')}", highlight=False)
    if not there.hosts:
        raise FleetUnreachable("no host of the fleet measures: its workers have --no-bench, or are unfit")
    if len(there.hosts) > 1 and not several:
        names = ", ".join(there.hosts)
        raise UsageError(f"the project's own page is of one machine, and {names} measure: give --out DIR")


def _wanted(there: Members, host: str, source: Source, options: dict[str, Any]) -> Wanted:
    names = ("stock", *make_experiment(source.experiment).arms)
    return Wanted(
        host,
        source.name,
        {"name": source.experiment, "backend": source.backend, **options},
        files_of(names, NEWEST, there.target(host, source.backend)),
        f"{measure.__module__}:{measure.__name__}",
    )
