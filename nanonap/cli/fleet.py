"""The tasks of many machines: `fleet bench`, `fleet report`, `fleet hosts`, `fleet keys`, `fleet scheduler`, `fleet
worker`.
"""

import inspect
import platform
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from invoke.context import Context
from invoke.tasks import Task, task

from nanonap.base.errors import UsageError
from nanonap.base.terminal import say
from nanonap.cli import measuring
from nanonap.cli.shared import JSON_HELP, front_door, show_json, whole

SCHEDULER_HELP = "the scheduler's address, as in tcp://HOST:8786, or tls:// with --keys"
KEYS_HELP = "folder with the fleet's certificates, as `fleet keys` makes it"
#: Of a bench's options those that are about this side.
_OWN = ("out", "json", "tables")
_BENCH: Task[Any] = measuring.bench
_BENCH_OPTIONS = {
    name: each
    for name, each in inspect.signature(_BENCH.body).parameters.items()
    if name not in ("_", *_OWN) and each.default is not inspect.Parameter.empty
}


def _with_bench_options(body: Callable[..., None]) -> Callable[..., None]:
    """Give a task a bench's options beside its own: what Invoke reads is its signature."""
    own = [each for each in inspect.signature(body).parameters.values() if each.kind != inspect.Parameter.VAR_KEYWORD]
    body.__signature__ = inspect.Signature([*own, *_BENCH_OPTIONS.values()])  # type: ignore[attr-defined]  # inspect.signature asks for it, mypy knows it of no function
    return body


@task(
    auto_shortflags=False,
    help={
        **{name.replace("_", "-"): _BENCH.help[name.replace("_", "-")] for name in _BENCH_OPTIONS},
        "scheduler": SCHEDULER_HELP,
        "hosts": "instead of --scheduler: hosts to reach by SSH, comma-separated, as in a,user@b,c:2222",
        "nanonap-there": "with --hosts: the command that runs nanonap on them (default: nanonap)",
        "only": "only these hosts, by their workers' names, comma-separated",
        "keys": KEYS_HELP,
        "away": "how many seconds a lost host may be away before it counts as missing (default 300)",
        "out": "folder for the result (default: artifacts/results/fleet/<UTC>-<id>)",
        "json": JSON_HELP,
    },
)
@front_door
@_with_bench_options
def fleet_bench(
    _: Context,
    scheduler: str | None = None,
    hosts: str | None = None,
    nanonap_there: str = "nanonap",
    only: str | None = None,
    keys: str | None = None,
    away: str = "300",
    out: str | None = None,
    json: bool = False,
    **options: Any,  # noqa: ANN401 - handed on to run_bench, which has their types
) -> None:
    """Run a bench on every host of a fleet at once, and show them side by side."""
    from nanonap.lab.fleet.settings import settle

    if options["quick"] and options["full"]:
        raise UsageError("--quick and --full exclude each other: name one")
    if (scheduler is None) == (hosts is None):
        raise UsageError("name either --scheduler, or --hosts")
    settle()
    from nanonap.lab.fleet.bench import as_json, check_hosts, check_missing, run_fleet_bench
    from nanonap.lab.fleet.client import Fleet
    from nanonap.lab.fleet.report import print_report
    from nanonap.lab.fleet.ssh import fleet_over_ssh, remotes

    bench = {name: options[name] for name in ("arms", "requested", "quota", "load", "gomaxprocs", "backend", "go")}
    bench |= {name: options[name] for name in ("cpu_weight", "memory_max", "inside_limit")}
    bench |= {"size": "quick" if options["quick"] else "full" if options["full"] else "default"}
    bench |= {"named": options["conditions"], "seed": whole("seed", options["seed"])}
    with (
        fleet_over_ssh(remotes(hosts), nanonap_there)
        if hosts is not None
        else nullcontext(Fleet(scheduler or "", Path(keys) if keys else None))
    ) as fleet:
        report, folder = run_fleet_bench(
            fleet, bench, Path(out) if out else None, hosts=check_hosts(only), away_s=float(whole("away", away) or 0)
        )
    show_json(as_json(report, folder)) if json else print_report(report, folder)
    check_missing(report)


@task(auto_shortflags=False, positional=["folder"], help={"folder": "as `fleet bench` wrote it", "json": JSON_HELP})
@front_door
def fleet_report(_: Context, folder: str, json: bool = False) -> None:
    """Show a fleet's result again, from its hosts' bundles."""
    from nanonap.lab.fleet.report import print_report, read_report

    report = read_report(Path(folder))
    if json:
        from msgspec import to_builtins

        show_json({"result": folder, **to_builtins(report)})
    else:
        print_report(report, Path(folder))


@task(
    auto_shortflags=False,
    help={
        "scheduler": SCHEDULER_HELP,
        "keys": KEYS_HELP,
        "abilities": "also try what can be limited and traced on each: some seconds of CPU there",
        "json": JSON_HELP,
    },
)
@front_door
def fleet_hosts(
    _: Context, scheduler: str, keys: str | None = None, abilities: bool = False, json: bool = False
) -> None:
    """Show which hosts are there, with their versions, and what each can do."""
    from nanonap.lab.fleet.settings import settle

    settle()
    from nanonap.lab.fleet.client import Fleet
    from nanonap.lab.fleet.survey import show_hosts, survey_hosts

    found = survey_hosts(Fleet(scheduler, Path(keys) if keys else None), abilities=abilities)
    show_json({"hosts": found}) if json else show_hosts(found)


@task(auto_shortflags=False, positional=["folder"], help={"folder": "a new folder for them", "json": JSON_HELP})
@front_door
def fleet_keys(_: Context, folder: str, json: bool = False) -> None:
    """Make the certificates of a new fleet: who holds them may run code on its hosts."""
    from nanonap.lab.fleet.settings import make_keys

    made = make_keys(Path(folder))
    if json:
        show_json({"keys": [str(each) for each in made]})
    else:
        say(f"{folder}: ca.pem and a key each for the scheduler, the workers and you; copy what each needs, by SSH")


@task(
    auto_shortflags=False,
    help={
        "host": "the address to listen on (default 127.0.0.1: this machine alone)",
        "port": "the port (default 8786)",
        "keys": KEYS_HELP,
        "dashboard": "also serve Dask's dashboard, to this machine alone; needs bokeh",
    },
)
@front_door
def fleet_scheduler(
    _: Context, host: str = "127.0.0.1", port: str = "8786", keys: str | None = None, dashboard: bool = False
) -> None:
    """Run a fleet's scheduler until Ctrl-C."""
    from nanonap.lab.fleet.settings import settle

    settle()
    from nanonap.lab.fleet.serving import serve_scheduler

    serve_scheduler(host, whole("port", port) or 0, Path(keys) if keys else None, _listening, dashboard=dashboard)


@task(
    auto_shortflags=False,
    help={
        "scheduler": SCHEDULER_HELP,
        "name": "the host's name in the fleet (default: its own)",
        "host": "the address to listen on (default: the one that leads to the scheduler)",
        "port": "the port (default 8787); the same after each start",
        "keys": KEYS_HELP,
        "room": "folder for jobs that run here (default: artifacts/fleet)",
        "contact": "the address at which the scheduler reaches it, where that is another",
        "no-bench": "work for campaigns alone: one of several workers on this host",
        "with-scheduler": "end what is measured here when the scheduler is lost, too",
    },
)
@front_door
def fleet_worker(
    _: Context,
    scheduler: str,
    name: str | None = None,
    host: str | None = None,
    port: str = "8787",
    keys: str | None = None,
    room: str | None = None,
    contact: str | None = None,
    with_scheduler: bool = False,
    no_bench: bool = False,
) -> None:
    """Have this host measure for a fleet, one thing at a time, until the scheduler is lost or Ctrl-C."""
    from nanonap.lab.fleet.settings import settle

    settle()
    from nanonap.lab.fleet.hosted import ROOM
    from nanonap.lab.fleet.serving import end_process, serve_worker

    serve_worker(
        scheduler,
        name=name or platform.node(),
        room=(Path(room) if room else ROOM).resolve(),
        host=host,
        port=whole("port", port) or 0,
        keys=Path(keys) if keys else None,
        contact=contact,
        with_scheduler=with_scheduler,
        no_bench=no_bench,
        told=_listening,
    )
    end_process()


def _listening(address: str) -> None:
    say(address)
