"""The planner asked: the parent reads the process's memory, the child reads the program's file."""

import json
import os
from pathlib import Path
from typing import Any, TypeVar

from patcher.answers import WrongShape
from patcher.errors import InputNotFound
from patcher.isolation import isolated, unlikely
from patcher.live.errors import NoSuchProcess
from patcher.live.process import entry_of
from patcher.live.script import Looked, Script, Spans
from patcher.source import readable
from patcher.wait import Wait

T = TypeVar("T")
#: What was said of a file, by what was asked: the processes of one program are planned once. The file is known by its
#: change time, which nobody can set, and cannot be written while it runs (execve(2), ETXTBSY).
_known: dict[tuple[int | str, ...], Any] = {}
_MOST_KNOWN = 64
_MACHINE = os.uname().machine

_WANTED = {"inject": "injected", "eject": "stock"}
_MOST_READ = 1 << 20  # bytes of a process's memory; its waits have some hundreds
_BEHIND_ALL = 1 << 63  # no process has such an address, and no file such an offset


def plan(pid: int, action: str, wait: Wait | None = None) -> Script:
    """The script for "inject" or "eject" of a process as it stands. Raises as ``planner.planned``."""
    memory = _memory(pid, _asked(pid, "spans", Spans))
    options = wait.to_json() if wait is not None else None
    script = _asked(pid, "planned", Script, memory=memory, action=action, wait=options)
    if not script.sites or any(each.wanted != _WANTED[action] or not each.windows for each in script.sites):
        raise unlikely(_program(pid), WrongShape("another script than was asked for"))
    return script


def look(pid: int) -> Looked:
    """How a process's program stands, as ``planner.looked`` tells it."""
    told = _asked(pid, "looked", Looked, memory=[])
    return told if told.spans is None else _asked(pid, "looked", Looked, memory=_memory(pid, told.spans))


def _asked(pid: int, job: str, kind: type[T], **arguments: Any) -> T:  # noqa: ANN401 - what JSON can hold
    """What the planner's job says. The parent opens the file, which the child may have no right to."""
    program = _program(pid)
    try:
        with program.open("rb") as stream, readable(stream, str(program)) as source:
            file = os.fstat(stream.fileno())
            key = (file.st_dev, file.st_ino, file.st_size, file.st_ctime_ns, job, json.dumps(arguments))
            if key not in _known:
                if len(_known) >= _MOST_KNOWN:
                    _known.clear()
                _known[key] = isolated(
                    source.path, f"patcher.live.planner:{job}", kind, keep=source.keep, machine=_MACHINE, **arguments
                )
            found: T = _known[key]
            return found
    except OSError as error:
        raise InputNotFound(f"{program}: cannot be read ({error})") from error


def _program(pid: int) -> Path:
    return Path(f"/proc/{pid}/exe")


def _memory(pid: int, asked: Spans) -> list[tuple[int, str]]:
    """What the process has in the spans that the planner must know, in hex."""
    bias = entry_of(pid) - asked.entry
    sizes = sum(size for _, size in asked.spans)
    if sizes > _MOST_READ or any(address + bias >= _BEHIND_ALL for address, _ in asked.spans):
        raise unlikely(_program(pid), WrongShape("memory that no wait has"))
    try:
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            return [(address, _read(memory.fileno(), address + bias, size)) for address, size in asked.spans]
    except OSError as error:
        raise NoSuchProcess(f"process {pid}: its memory cannot be read any more ({error}); did it end?") from error


def _read(descriptor: int, address: int, size: int) -> str:
    return os.pread(descriptor, size, address).hex()
