"""The task that tells whether a patch is worth it, before there is one."""

import sys

from invoke.context import Context
from invoke.tasks import task

from nanonap.base.errors import UsageError
from nanonap.cli.shared import JSON_HELP, NO_PROCESS, front_door, process_number, show_json


@task(
    positional=["pid"],
    help={
        "pid": "the process, by its number; or a command behind --, which is run and watched",
        "for_": "watch for so long (default: 10s)",
        "json": JSON_HELP,
    },
)
@front_door
def advise(_: Context, pid: str = NO_PROCESS, for_: str = "10s", json: bool = False) -> None:
    """Tell what a patch would bring to a running program and cost it, by watching it; nothing of it is changed."""
    from nanonap.base.durations import parse_duration_ns
    from nanonap.lab.advise.advice import Advice
    from nanonap.lab.advise.asking import ask, started
    from nanonap.lab.advise.looking import Glances
    from nanonap.lab.advise.show import show_advice, show_glances
    from nanonap.toolchain.progress import progress_bar

    length_s = parse_duration_ns(for_) / 1e9
    words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    if bool(words) == (pid != NO_PROCESS):
        raise UsageError("name one: a process by its number, or a command behind --")

    def told(number: int) -> Advice | Glances:
        with progress_bar() as bar:
            row = bar.add_task("watching", total=length_s)
            return ask(number, length_s, lambda gone: bar.update(row, completed=gone))

    if words:
        with started(words) as number:
            answer, name = told(number), " ".join(words)
    else:
        answer, name = told(process_number(pid)), f"process {pid}"
    if json:
        show_json(answer.to_json())
    elif isinstance(answer, Advice):
        show_advice(name, answer)
    else:
        show_glances(name, answer)
