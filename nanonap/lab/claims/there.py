"""Experiments on the hosts of a fleet: on each host all that are asked for, one at a time, each begun at most once."""

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
from nanonap.lab.fleet.campaign import Campaign, Members, Wanted, members
from nanonap.lab.fleet.client import Fleet, close
from nanonap.lab.fleet.errors import FleetUnreachable
from nanonap.toolchain.releases import NEWEST


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
        wanted = [_wanted(there, host, each, options) for host in there.hosts for each in sources]
        campaign = Campaign(fleet, client, wanted)
        for ended in campaign.answers():
            host = ended.wanted.host if len(there.hosts) > 1 else ""
            source = replace(named[ended.wanted.what], host=host)
            if ended.answer.bundle is not None:
                keep(ended.answer.bundle, results / source.experiment, source.at)
            ran.append((source, ended.problem or ""))
    except KeyboardInterrupt as error:
        if campaign is not None:
            campaign.stop()
        raise Interrupted(f"interrupted; the results of {len(ran)} runs are kept in {results}") from error
    finally:
        close(campaign.client if campaign is not None else client)
    return ran


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
