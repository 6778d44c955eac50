"""The tasks that only a checkout has: test, lint. CI runs both."""

import os
import subprocess
import sys

from invoke.context import Context
from invoke.tasks import task

from nanonap.cli.shared import front_door


@task(
    help={
        "only": "run the tests whose names match this pytest expression, wherever they belong",
        "long": "run the long tests instead: they boot machines, start container engines, or take long",
        "campaign": "run what neither does: more releases and modes of what those try in some",
    }
)
@front_door
def test(_: Context, only: str | None = None, long: bool = False, campaign: bool = False) -> None:
    """Run the tests, and set up what they need; with --long the long ones."""
    leg = "campaign" if campaign else "long and not campaign" if long else "not long and not campaign"
    chosen = ["-k", only] if only else ["-m", leg]
    # One worker more than CPUs, since tests wait now and then for what they started; of the long ones, which boot a
    # machine in each worker, none more. A worker that has no test left takes some of another's.
    workers = len(os.sched_getaffinity(0)) + (0 if long or campaign else 1)
    _exit_with(_python("pytest", "-n", str(workers), "--dist", "worksteal", *chosen))


@task
@front_door
def lint(_: Context) -> None:
    """Run ruff and mypy."""
    checks = (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"])
    _exit_with(max(_python(*each) for each in checks))


def _python(module: str, *arguments: str) -> int:
    """The exit status of a module that runs in the project's root."""
    from nanonap.base.paths import PROJECT

    # The tests start some thousand commands: none is to compile anew what the one before has compiled.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=PROJECT, env=environment, check=False).returncode


def _exit_with(status: int) -> None:
    if status:
        sys.exit(status)
