"""Which processes are meant: by number, all that run Go programs, by a pattern, by a container's name."""

import re
import shutil
import subprocess
from pathlib import Path

from nanonap.base.errors import UsageError
from patcher.live.errors import NoSuchProcess
from patcher.live.injecting import Status, running

_ENGINES = ("docker", "podman")
_PATIENCE_S = 60.0


def of_container(name: str) -> list[int]:
    """The processes of a container, by their numbers here: those of its first process's cgroup and below.

    Raises NoSuchProcess where no engine here knows it, or it does not run, UsageError where there is no engine.
    """
    engines = [each for each in _ENGINES if shutil.which(each)]
    if not engines:
        raise UsageError(
            f"container {name}: neither {' nor '.join(_ENGINES)} is on PATH; name its process by PID",
            parameters=("container",),
        )
    said = []
    for engine in engines:
        done = subprocess.run(
            [engine, "container", "inspect", "-f", "{{.State.Pid}}", "--", name],
            capture_output=True, text=True, check=False, timeout=_PATIENCE_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        first = done.stdout.strip()
        if done.returncode == 0 and first.isdecimal() and int(first):
            return _beside(int(first))
        said.append(f"{engine}: {'it does not run' if done.returncode == 0 else 'none of that name'}")
    raise NoSuchProcess(f"container {name}: {'; '.join(said)}", parameters=("container",))


def _beside(first: int) -> list[int]:
    group = _group(first)
    if not group.strip("/"):
        return [first]  # no cgroup of its own here: its first process alone is surely its
    numbers = sorted(int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal())
    return [each for each in numbers if (_group(each) + "/").startswith(group + "/")]


def _group(pid: int) -> str:
    """The cgroup of a process: of v2, else of the first controller."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return min(lines, key=lambda line: not line.startswith("0::"), default="::").split(":", 2)[2].rstrip("/")


def chosen(*, match: str | None, container: str | None) -> list[Status]:
    """The processes that run Go programs, and of them those meant. Raises UsageError for a pattern that is none."""
    numbers = set(of_container(container)) if container is not None else None
    pattern = _pattern(match) if match is not None else None
    return [
        each
        for each in running()
        if (numbers is None or each.pid in numbers)
        and (pattern is None or pattern.search(each.program) or pattern.search(_words(each.pid)))
    ]


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"pattern {text}: not a regular expression ({error})", parameters=("match",)) from error


def _words(pid: int) -> str:
    """The command line, its words with blanks between."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""
