"""Profiles for profile-guided builds: taken of the stress program as it waits, patched, when they are first needed.

A runtime that waits in its own ``netpoll`` makes that function hot, so the compiler inlines it into ``findRunnable``
(cmd/compile/internal/inline): the build whose sleepers a patch of the function alone would not reach.
"""

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from nanonap.base.files import beside
from nanonap.toolchain.errors import BuildFailed
from nanonap.toolchain.locks import locked
from patcher import patch

#: The program that can profile itself.
PROFILED = "survive"
_TICKS = ("-mode", "ticks", "-sleepers", "20", "-requested", "200us", "-for", "1s")
_LIMIT_S = 120


def profile(folder: Path, stock: Callable[[], Path]) -> Path:
    """The profile of a release in ``folder``, taken now if there is none; ``stock`` gives the program.

    Raises BuildFailed where the program does not run, and what patching can raise.
    """
    kept = folder / f"{PROFILED}.pprof"
    with locked(folder / f".{PROFILED}.pprof.lock"):
        if not kept.exists():
            with beside(kept) as temporary, tempfile.TemporaryDirectory(prefix="nanonap-profile-") as work:
                patched = patch(stock(), Path(work) / PROFILED).out
                _run([str(patched), *_TICKS, "-profile", str(temporary)])
    return kept


def _run(command: list[str]) -> None:
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=_LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildFailed(f"no profile to build with: {error}") from error
    if answer.returncode:
        raise BuildFailed(f"no profile to build with: {PROFILED} ended with {answer.returncode}: {answer.stderr[:200]}")
