"""A command in a guest of its own, as a command of the host: ``python -m nanonap.lab.guest.alone IMAGE COMMAND …``.

IMAGE is the folder of one whose kind is JOBS. The command's output and its end are given out as this one's own. Killed,
it takes the guest with it. Environment variables that begin with GO go along.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nanonap.base.errors import NanonapError
from nanonap.lab.guest.client import FAILED, end_as
from nanonap.lab.guest.image import Image
from nanonap.lab.guest.jobs import Job, run_jobs
from nanonap.lab.guest.kinds import JOBS


def main(arguments: Sequence[str]) -> int:
    """The command's exit status, or its signal as the caller's own end."""
    folder, *argv = arguments
    go_variables = {name: value for name, value in os.environ.items() if name.startswith("GO")}
    image = Image(Path(folder), JOBS)
    try:
        (outcome,) = run_jobs(image, [Job(tuple(argv), go_variables)], image.kind.architecture.target.name)
    except NanonapError as error:
        print(f"the guest ended or refused the run: {error}", file=sys.stderr)
        return FAILED
    sys.stdout.buffer.write(outcome.stdout)
    sys.stdout.buffer.flush()
    sys.stderr.buffer.write(outcome.stderr)
    sys.stderr.buffer.flush()
    return end_as(outcome.status)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
