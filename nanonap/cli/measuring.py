"""The tasks of the measuring side: bench, compare, predict, quota, report, bundle, experiment, claims."""

from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

from nanonap.base.errors import UsageError
from nanonap.cli.shared import FLEET_KEYS_HELP, JSON_HELP, fleet_of, front_door, show_json, whole

INSIDE_HELP = "measure even inside a CPU limit that others set (a container's), and name it beside every figure"


@task(
    help={
        "quick": "at most 30 seconds",
        "full": "for publication: every arm, more runs, every load that shows costs (a quarter of an hour)",
        "arms": "only these arms (ways to run the program), comma-separated, or all (default: stock, the strategies, "
        "the floors, the rebuilt runtime)",
        "requested": "only these durations, comma-separated, as in 50us,1ms (default: 50us … 100ms)",
        "quota": "only these quotas, comma-separated: none, 50% of a CPU, 500m, 2cpu, 20%/10ms (with its period), "
        "50%+burst=50ms (default: none,50%)",
        "load": "only these loads, comma-separated: quiet, burn:1, sibling:1, gc:1, sleepers:50 (none in step), "
        "aligned:50 (all in step), idle (default: quiet,burn:1 and, without quota, sleepers:50)",
        "gomaxprocs": "only these values of GOMAXPROCS, comma-separated (default: the number of CPUs)",
        "conditions": "a named set of quotas and loads: article, kubernetes, cost",
        "backend": "how to set the quota: auto, cgroup2, cgroup1, systemd, systemd-user, docker, podman, guest, "
        "guest-backports, guest-systemd, guest-docker, guest-arm64 (default: auto; `invoke quota` shows what works "
        "here)",
        "cpu-weight": "cpu.weight of the group that is measured, 1 to 10000",
        "memory-max": "memory.max of the group that is measured: bytes, or with K, M, G",
        "inside-limit": INSIDE_HELP,
        "seed": "seed of the order of runs (default: drawn at random, and recorded)",
        "out": "folder for the result (default: artifacts/results/<UTC>-<id>)",
        "go": "the Go release whose arms are compared (default 1.27.3)",
        "tables": "print all tables at the end, not only the first screen",
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
    inside_limit: bool = False,
    seed: str | None = None,
    out: str | None = None,
    go: str = "1.27.3",
    tables: bool = False,
    json: bool = False,
) -> None:
    """Measure patched against stock programs, in turns (3 minutes)."""
    from nanonap.lab.main import run_bench

    if quick and full:
        raise UsageError("--quick and --full exclude each other: name one")
    run_bench(
        size="quick" if quick else "full" if full else "default",
        arms=arms,
        requested=requested,
        quota=quota,
        load=load,
        backend=backend,
        seed=whole("seed", seed),
        out=Path(out) if out else None,
        go=go,
        as_json=json,
        tables=tables,
        gomaxprocs=gomaxprocs,
        named=conditions,
        cpu_weight=cpu_weight,
        memory_max=memory_max,
        inside_limit=inside_limit,
    )


@task(
    help={
        "quota": "quotas, comma-separated: 50%, 20%/10ms, 500m, 50%+burst=50ms",
        "threads": "numbers of busy threads, comma-separated (default 1)",
        "cpus": "CPUs they may run on (default: those of this process)",
        "gomaxprocs": "GOMAXPROCS of the process that they are in (default: no limit)",
        "sleep": "how long a sleep lasts without a quota; with --wake-cpu: also predict what sleepers alone need",
        "wake-cpu": "CPU time of one wake-up, as in 15us",
        "sleepers": "how many sleepers (default 1)",
        "plot": "also draw the prediction over quotas and periods, to this PNG file",
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
    from nanonap.lab.show.predict import predictions_json, run_predict, show_predictions

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


@task(help={"all": "also try the ways that boot a machine (a minute)", "json": JSON_HELP})
@front_door
def quota(_: Context, all: bool = False, json: bool = False) -> None:
    """Show which ways to limit CPU work on this machine, and what the others need."""
    from msgspec import to_builtins

    from nanonap.lab.show.survey import show_survey, survey

    found = survey(all)
    show_json(to_builtins(found)) if json else show_survey(found)


@task(
    positional=["folder"],
    help={
        "folder": "a result folder, as bench wrote it, or a bundle of one",
        "format": "html (default), json, markdown or benchfmt",
        "out": "for a bundle and html: the folder to unpack it into and to draw in (default: its name without .zip)",
    },
)
@front_door
def report(_: Context, folder: str, format: str = "html", out: str | None = None) -> None:
    """Redraw a result's tables and plots from its raw samples."""
    from nanonap.lab.main import redraw
    from nanonap.lab.publish.unbundle import redraw_bundle

    if Path(folder).is_file():
        redraw_bundle(Path(folder), format, Path(out) if out else None)
    elif out:
        raise UsageError("--out is for bundles; a result folder is redrawn in its place: leave --out out")
    else:
        redraw(Path(folder), format)


@task(
    positional=["folder"],
    help={
        "folder": "a result folder, as bench wrote it",
        "out": "the file to write (default: the folder's name with .zip, beside it)",
        "json": JSON_HELP,
    },
)
@front_door
def bundle(_: Context, folder: str, out: str | None = None, json: bool = False) -> None:
    """Put a result into one file to publish: raw data, figures, manifests, environment, checksums, commands."""
    from msgspec import to_builtins

    from nanonap.lab.publish.bundle import write_bundle

    made = write_bundle(Path(folder), Path(out) if out else None)
    if json:
        show_json(to_builtins(made))
    else:
        print(f"{made.bundle}: {made.files} files, {made.bytes} bytes, sha256 {made.sha256}")


@task(
    positional=["first", "second"],
    help={"first": "a result folder", "second": "another result folder", "json": JSON_HELP},
)
@front_door
def compare(_: Context, first: str, second: str, json: bool = False) -> None:
    """Compare two results: of two kernels, machines or releases, or of one machine twice."""
    from nanonap.lab.judge.compare import compare as compared
    from nanonap.lab.show.compare_view import print_comparison

    found = compared(Path(first), Path(second))
    show_json(found.to_json()) if json else print_comparison(found)


@task(
    positional=["name"],
    help={
        "name": "which one: stretch, dilation, bandwidth, quota-limits, environments, small-quotas, engines, "
        "attribution, quantum, rival, bounded, wakeup, clocks, path, handoff, skew, minimum, polling, live, "
        "article-patch",
        "quick": "a few seconds: the same questions, wider intervals",
        "backend": "how to set the quota, as for `bench` (default: auto)",
        "inside-limit": INSIDE_HELP,
        "folder": "run nothing: judge the data in this folder again and show them",
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
    inside_limit: bool = False,
    folder: str | None = None,
    out: str | None = None,
    json: bool = False,
) -> None:
    """Run one experiment: a question, its data, a verdict computed from them."""
    from nanonap.lab.experiments.main import judged, run_experiment, show

    where = (
        Path(folder)
        if folder
        else run_experiment(
            name, quick=quick, backend=backend, out=Path(out) if out else None, inside_limit=inside_limit
        )
    )
    show_json(judged(where).to_json()) if json else show(where)


@task(
    help={
        "rerun": "run every experiment again (about 40 minutes); default: only those that take seconds",
        "redraw": "run nothing: compute the verdicts again from the recorded data and write the page",
        "only": "run only what answers these claims, or these experiments, comma-separated: D1,clocks,clocks-guest",
        "quick": "run the quick forms; needs --out",
        "inside-limit": f"{INSIDE_HELP}; needs --out",
        "out": "folder for page and data (default: the project's docs/)",
        "fleet": "run them on every host of a fleet, whose scheduler has this address: tcp://HOST:8786",
        "keys": FLEET_KEYS_HELP,
        "json": JSON_HELP,
    }
)
@front_door
def claims(
    _: Context,
    rerun: bool = False,
    redraw: bool = False,
    only: str | None = None,
    quick: bool = False,
    inside_limit: bool = False,
    out: str | None = None,
    fleet: str | None = None,
    keys: str | None = None,
    json: bool = False,
) -> None:
    """Write the table of published claims: each with its experiment's data and verdict."""
    from nanonap.lab.claims.main import run_claims, show_claims

    made = run_claims(
        rerun=rerun,
        redraw=redraw,
        quick=quick,
        only=only,
        out=Path(out) if out else None,
        inside_limit=inside_limit,
        fleet=fleet_of(fleet, keys),
    )
    show_json(made.to_json()) if json else show_claims(made)
