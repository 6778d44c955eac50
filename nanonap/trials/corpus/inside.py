"""What runs in a machine for another processor: the work of a program that came with it."""

import json
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from nanonap.trials.corpus.counting import tracing, waits_in
from nanonap.trials.corpus.processes import Processes
from nanonap.trials.corpus.workplace import WorkFailed, Workplace
from nanonap.trials.errors import CorpusIncomplete


def main() -> None:
    """Arguments: the work's module and function, "counted" or "", the programs. One JSON line on stdout.

    What is counted is done twice: as it is, and with its waits traced.
    """
    module, name, counted, *programs = sys.argv[1:]
    job = getattr(import_module(module), name)
    log = Path("log").absolute() / "waits"  # in a folder: what lies here itself is told, at length
    log.parent.mkdir()
    try:
        evidence = job(_place("work", programs))
        if counted:
            job(_place("traced", programs, tracing(log)))
        waits = asdict(waits_in(log)) if counted else None
    except (WorkFailed, CorpusIncomplete, OSError) as error:
        sys.exit(str(error) or repr(error))
    print(json.dumps({"evidence": evidence, "waits": waits}))


def _place(name: str, programs: list[str], before: tuple[str, ...] = ()) -> Workplace:
    folder = Path(name).absolute()
    folder.mkdir()
    return Workplace(folder, tuple(map(Path, programs)), Processes(), before=before)


if __name__ == "__main__":
    main()
