"""What is done on a worker's host, by name: Dask calls these functions there. The worker process has one ``Host``."""

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from nanonap import __version__
from nanonap.base.code import code_sha256
from nanonap.base.paths import ARTIFACTS, PROJECT
from nanonap.lab.fleet.hand import Done, Hand
from nanonap.lab.fleet.jobs import Answer, Asked, Host
from nanonap.lab.ground.host import Facts, facts

ROOM = ARTIFACTS / "fleet"
_COMPARED = ("dask", "distributed", "cloudpickle", "msgpack")
_SURVEY_S = 120
_SURVEY = """
import json, msgspec
from nanonap.lab.show.survey import survey
from nanonap.lab.attribution.recording import Recording
with Recording("nothing") as recording:
    no = recording.refusal
print(json.dumps({**msgspec.to_builtins(survey()), "no_tracing": None if no is None else no.reason}))
"""
_hosts: list[Host] = []
#: This process's own.
hand = Hand()


@dataclass(frozen=True)
class Described:
    """A host: its worker's name, what must be the same on all, and its facts."""

    name: str
    versions: dict[str, str]
    facts: Facts
    room: str


def settle(room: Path) -> Host:
    """In a worker, before it serves: where this host keeps its jobs."""
    room.mkdir(parents=True, exist_ok=True)
    (room / "files").mkdir(exist_ok=True)
    host = Host(room)
    host.tidy()
    versions()  # of the code that is loaded now, not of what lies there later
    _hosts[:] = [host]
    return host


def host() -> Host:
    """This process's."""
    return _hosts[0]


@cache
def versions() -> dict[str, str]:
    """What must be the same on all machines of a fleet: by name."""
    own = {"python": ".".join(platform.python_version_tuple()[:2]), "nanonap": __version__}
    code = code_sha256(("nanonap", "patcher"))[:12]
    return own | {"nanonap's code": code} | {name: metadata.version(name) for name in _COMPARED}


def describe(name: str) -> Described:
    """This host, whose worker has that name."""
    return Described(name, versions(), facts(), str(host().room))


def abilities() -> dict[str, Any]:
    """What can be limited and traced here, tried in a process of its own, which costs a second or two of CPU."""
    done = subprocess.run(
        [sys.executable, "-c", _SURVEY], capture_output=True, text=True, check=False, timeout=_SURVEY_S,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    return {"error": done.stderr[-300:]} if done.returncode or not lines else {"found": lines[-1]}


def missing(hashes: list[str]) -> list[str]:
    """Which of these files this host has not yet, or not whole."""
    return [each for each in hashes if not _is_whole(host().room / "files" / each)]


def put(sha256: str, content: bytes) -> None:
    """Keep a file by its hash."""
    target = host().room / "files" / sha256
    temporary = target.with_name(f".{sha256}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(target)


def _is_whole(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == path.name
    except OSError:
        return False


def measure(asked: Asked) -> Answer:
    """A task: see ``Host.measure``."""
    return host().measure(asked)


def work(batch: str, function: Callable[[Any], Any], items: list[Any]) -> list[Done]:
    """A task of a campaign: see ``Hand.work``."""
    return hand.work(batch, function, items)


def end(number: str) -> None:
    """Stop a job; see ``Host.end``."""
    host().end(number)
