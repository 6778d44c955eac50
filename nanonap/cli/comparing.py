"""The task that compares a user's own service with itself: ab."""

from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

from nanonap.base.errors import UsageError
from nanonap.cli.shared import JSON_HELP, front_door, show_json, whole


@task(
    iterable=["metric"],
    help={
        "binary": "the service's Go binary; it is copied, and never changed",
        "run": "the command that starts the service, {binary} standing for its file; no shell reads it",
        "pid": "instead of --binary: a running service, injected and ejected in turns and left as it was",
        "load": "the command that loads the service; it ends by itself, with status 0",
        "ready": "when the service is ready: tcp:PORT, url:http://HOST:PORT/PATH, or line:REGEX that it writes "
        "(default: when it has lived for a second)",
        "metric": "a figure in what the load writes, NAME=REGEX (its first group) or NAME=json:PATH; may be repeated",
        "per": "a metric by whose value CPU time and wake-ups are divided: what a request costs",
        "runs": "runs of each arm (default 10)",
        "arms": "arms to compare with stock, comma-separated, named as for `bench`; control is stock once more "
        "(default: netpoll+slack1)",
        "strategy": "one more arm, as for `patch`",
        "slack-ns": "as for `patch`",
        "quantum": "as for `patch`",
        "dense": "as for `patch`",
        "spin": "as for `patch`",
        "guard": "with --pid: how long to wait after each switch (default 1s)",
        "within": "how long the service may take to be ready (default 30s)",
        "limit": "how long one load may take (default 600s)",
        "seed": "seed of the order of runs (default: drawn at random, and recorded)",
        "out": "folder for the result (default: artifacts/results/ab/<UTC>-<id>)",
        "folder": "run nothing: judge the runs in this folder again and show them",
        "json": JSON_HELP,
    },
)
@front_door
def ab(
    _: Context,
    metric: list[str],
    binary: str | None = None,
    run: str | None = None,
    pid: str | None = None,
    load: str | None = None,
    ready: str | None = None,
    per: str | None = None,
    runs: str = "10",
    arms: str | None = None,
    strategy: str | None = None,
    slack_ns: str | None = None,
    quantum: str | None = None,
    dense: str | None = None,
    spin: str | None = None,
    guard: str = "1s",
    within: str = "30s",
    limit: str = "600s",
    seed: str | None = None,
    out: str | None = None,
    folder: str | None = None,
    json: bool = False,
) -> None:
    """Compare your own service, stock and patched, under your own load."""
    from msgspec import to_builtins

    from nanonap.lab.ab.main import Asked, judged, run_ab
    from nanonap.lab.ab.show import print_judged
    from patcher.wait import Wait

    if folder is not None:
        where = Path(folder)
    elif load is None:
        raise UsageError("--load is missing: the command that loads the service")
    else:
        asked = Asked(
            load=load,
            binary=Path(binary) if binary else None,
            run=run,
            pid=whole("pid", pid),
            ready=ready,
            metrics=metric,
            per=per,
            runs=whole("runs", runs) or 0,
            arms=arms,
            strategy=strategy,
            slack_ns=whole("slack-ns", slack_ns),
            wait=Wait(whole("quantum", quantum), whole("dense", dense), whole("spin", spin)),
            guard=guard,
            within=within,
            limit=limit,
            seed=whole("seed", seed),
            out=Path(out) if out else None,
        )
        where = run_ab(asked)
    found = judged(where)
    show_json({"result": str(where), **to_builtins(found)}) if json else print_judged(found, where)
