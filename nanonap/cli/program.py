"""The command ``nanonap``: the tasks as an Invoke program, at home in any folder."""

import gc
import itertools
import sys
from pathlib import Path

from nanonap import INSTALLED, __version__
from nanonap.base.interrupts import end_at_once


def main() -> None:
    """Run the tasks that the command line names; the entry point of the installed command."""
    gc.disable()  # what is imported stays: to look for garbage among it takes a fifth of the start
    end_at_once()  # before Invoke is imported, which takes a while: Ctrl-C ends this, too, in one line

    _begin(sys.argv)  # before Invoke is imported, too: on the other core

    from invoke.config import Config
    from invoke.program import Program

    from nanonap.cli.executor import Executor
    from nanonap.cli.tasks import collection
    from nanonap.cli.usage import open_front_door

    class Settings(Config):
        """Not Invoke's own files and variables: what a user set for other projects is not for this command."""

        prefix = "nanonap"

    class Command(Program):
        """Invoke's program, with our front door opened where Invoke already tells of what is raised."""

        def create_config(self) -> None:
            """As Invoke's; the first step of a run."""
            open_front_door()
            super().create_config()

    command = Command(
        name="nanonap",
        binary="nanonap",
        binary_names=["nanonap"],
        version=__version__,
        namespace=collection(checkout=not INSTALLED),
        executor_class=Executor,
        config_class=Settings,
    )
    gc.freeze()
    gc.enable()
    command.run()


def _begin(words: list[str]) -> None:
    """What takes long and can be done before the command line is read, for a task that will need it: the first, since
    another before it may change the file.
    """
    if {"-h", "--help", "--complete"}.intersection(words):
        return
    rest = words[1:]
    while rest and rest[0].startswith("-"):
        rest = rest[1 + (rest[0] == "--search-root") :]
    task, rest = next(iter(rest), ""), rest[1:]
    if task == "patch" and (binary := _value_of("--binary", rest)):
        from patcher import patching

        patching.begin(Path(binary))
    elif task == "inspect" and not any(each.startswith("--image") for each in rest):
        from patcher import inspection

        binaries = (Path(each) for each in rest if not each.startswith("-"))
        inspection.begin(next(binaries, None))


def _value_of(option: str, words: list[str]) -> str | None:
    """``VALUE`` of ``--option VALUE`` or ``--option=VALUE``; None without one."""
    for word, behind in itertools.pairwise([*words, ""]):
        if word == option or word.startswith(f"{option}="):
            return word.partition("=")[2] or behind
    return None
