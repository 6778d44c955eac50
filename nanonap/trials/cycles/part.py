"""One process under strain: cycles of inject and eject, then kills of the agent. It works with one thread.

Nothing beside the agent's modules is needed, and no native library: it runs on another machine, too.
"""

import contextlib
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanonap.trials.cycles.plans import Plans
from nanonap.trials.cycles.subject import ACTIONS, Subject, subject
from patcher.live import agent

_LIMIT_S = 0.2
_QUANTILES = (0.5, 0.9, 0.99)
_KILLED_S = (0.0, 0.006)  # behind a try's begin
_APART_S = 0.01  # changes of a slow process, which else would do nothing but be changed


@dataclass(frozen=True)
class Strain:
    """What a process is under: its strains, and how many goroutines sleep."""

    names: str
    sleepers: int = 200

    @property
    def words(self) -> tuple[str, ...]:
        """For the program's command line."""
        return "-strains", self.names, "-sleepers", str(self.sleepers)


#: The strains of a cell's two processes: a collector that never pauses leaves few threads to wait, so one has none.
STRAINS = (Strain("exec,gc,http,prof,sleep,threads,urg"), Strain("exec,http,prof,sleep,threads,urg"))
#: An emulated processor has no time left for any to wait under these: two more processes have.
SLOW_STRAINS = (*STRAINS, Strain("sleep", 4), Strain("sleep,urg", 4))


def run_part(
    path: Path, strain: Strain, cycles: int, kills: int, dice: random.Random, plans: Plans | None = None
) -> dict[str, Any]:
    """One process: what came of it, as JSON holds it. With ``plans`` nothing is planned here."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)  # its processes' own
    with (
        tempfile.TemporaryDirectory() as folder,
        subject(path, Path(folder) / "record", *strain.words, plans=plans) as target,
    ):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, -20)
        told: dict[str, Any] = {"strains": strain.names, **_cycle(target, cycles, 0 if plans is None else _APART_S)}
        # On an emulated processor a try takes longer, and holds the process near its end.
        try_s = told["seconds"] / max(told["changes"], 1) - _APART_S
        told["kills"] = _kill(target, kills, dice, _KILLED_S if plans is None else (try_s / 2, try_s))
        told["process"] = target.end()
    return told


def _cycle(target: Subject, cycles: int, apart_s: float) -> dict[str, Any]:
    pauses: list[int] = []
    tries, moved, refused = 0, 0, None
    begun = time.monotonic()
    for number in range(2 * cycles):
        answer = agent.serve(target.request(ACTIONS[number % 2]))
        if "done" not in answer or not target.alive:
            refused = answer
            break
        done = answer["done"]
        pauses.append(done["pause_ns"])
        tries += done["tries"] - 1
        moved += done["moved"]
        if apart_s:
            time.sleep(apart_s)
    pauses.sort()
    return {
        "changes": len(pauses),
        "seconds": round(time.monotonic() - begun, 1),
        "retries": tries,
        "moved": moved,
        "refused": refused,
        "pause_ns": {f"p{100 * each:g}": pauses[int(each * len(pauses))] for each in _QUANTILES if pauses}
        | {"max": pauses[-1] if pauses else None},
    }


def _kill(target: Subject, kills: int, dice: random.Random, span_s: tuple[float, float]) -> dict[str, Any]:
    """Kill the agent's try at random moments, every other one in the write loop; recover by the next command."""
    states: Counter[str] = Counter()
    stopped = 0
    for number in range(kills):
        action = "eject" if target.state() == "injected" else "inject"
        request = target.request(action)
        stopped += _killed(target, request, dice, span_s, in_writes=number % 2 == 1)
        if not target.alive:
            return {"made": number + 1, "dead": 1, "after": dict(states), "held": stopped, "unrecovered": 0}
        states[target.state()] += 1
        answer = agent.serve(target.request(dice.choice(ACTIONS)))
        if "done" not in answer or target.state() == "staged":
            return {"made": number + 1, "dead": 0, "after": dict(states), "held": stopped, "unrecovered": 1}
    return {"made": kills, "dead": 0, "after": dict(states), "held": stopped, "unrecovered": 0}


def _killed(
    target: Subject, request: agent.Request, dice: random.Random, span_s: tuple[float, float], *, in_writes: bool
) -> int:
    """1 where the target stood when the try was killed."""
    writes = sum(len(each.writes) for each in request.script.sites)
    last = dice.randint(0, writes)
    worker = os.fork()
    if not worker:
        if in_writes:
            agent.os = _Ending(last)  # type: ignore[attr-defined, assignment]
        with contextlib.suppress(BaseException):
            agent.attempt(request, _LIMIT_S)
        os._exit(0)
    if not in_writes:
        time.sleep(dice.uniform(*span_s))
    else:
        time.sleep(0.001)
    standing = target.alive and _stands(target.pid)
    if not in_writes:
        os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    return int(standing)


def _stands(pid: int) -> bool:
    """Whether its leader is held by a tracer at this moment (proc_pid_stat(5), state t)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "t"
    except OSError:
        return False


class _Ending:
    """The module ``os`` for a worker that is killed in the write loop: before its write of this number, from 0."""

    def __init__(self, last: int) -> None:
        self._left = last

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """All else is as it is."""
        found: Callable[..., Any] = getattr(os, name)
        return found

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        """Write, or end without a word."""
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1
        return os.pwrite(descriptor, data, offset)
